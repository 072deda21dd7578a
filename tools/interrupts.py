"""SIGTERM and Ctrl-C as one exception, for programs that have processes or servers to end."""

import signal


def Raise():
  """From now on both signals raise KeyboardInterrupt(signum)."""

  def _Interrupt(signum, _):
    raise KeyboardInterrupt(signum)

  for signum in (signal.SIGINT, signal.SIGTERM):
    signal.signal(signum, _Interrupt)
