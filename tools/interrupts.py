"""SIGTERM and Ctrl-C as one exception, for programs that have processes or servers to end."""

import contextlib
import signal

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def Raise():
  """From now on both signals raise KeyboardInterrupt(signum)."""

  def _Interrupt(signum, _):
    raise KeyboardInterrupt(signum)

  for signum in _SIGNALS:
    signal.signal(signum, _Interrupt)


@contextlib.contextmanager
def Held():
  """Context that a signal does not interrupt: KeyboardInterrupt comes at its end, so that what it starts is known by then."""
  came = []
  handlers = {signum: signal.signal(signum, lambda signum, _: came.append(signum)) for signum in _SIGNALS}
  try:
    yield
  finally:
    for signum, handler in handlers.items():
      signal.signal(signum, handler)
  if came:
    raise KeyboardInterrupt(came[0])
