"""SIGTERM and SIGINT end a run after the step in progress, with a checkpoint."""

import os
import signal
from collections.abc import Callable


class Interrupted(Exception):
  """A signal ended the run after a checkpoint was saved; `exit_code` is 128 + the signal's number."""

  def __init__(self, signum, step):
    super().__init__(
      f'{signal.Signals(signum).name}: checkpoint at step {step} saved; the same command resumes from there'
    )
    self.exit_code = 128 + signum


class Caught:
  """Context in which SIGTERM and SIGINT end the run after a checkpoint; a second signal ends it immediately.

  `request_stop` is called with the number of the first signal.
  """

  _SIGNALS = (signal.SIGTERM, signal.SIGINT)

  def __init__(self, request_stop: Callable[[int], None]):
    self._request_stop = request_stop
    self._previous = {}

  def __enter__(self):
    def _Handle(signum, unused_frame):
      # Not print, which is not reentrant: the signal may have arrived during one.
      os.write(
        1, f'{signal.Signals(signum).name}: saving a checkpoint and ending; send it again to end immediately\n'.encode()
      )
      self._request_stop(signum)
      self._Restore()

    self._previous = {s: signal.signal(s, _Handle) for s in self._SIGNALS}

  def _Restore(self):
    for signum, handler in self._previous.items():
      signal.signal(signum, handler)

  def __exit__(self, *unused):
    self._Restore()
