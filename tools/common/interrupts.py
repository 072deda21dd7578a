"""SIGTERM and Ctrl-C as one exception, for programs that have processes or servers to end."""

import contextlib
import signal
from collections.abc import Callable
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def Raise() -> None:
  """From now on both signals raise KeyboardInterrupt(signum)."""

  def _Interrupt(signum: int, _: FrameType | None) -> None:
    raise KeyboardInterrupt(signum)

  for signum in _SIGNALS:
    signal.signal(signum, _Interrupt)


@contextlib.contextmanager
def HandledBy(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
  """Context in which both signals call handler(signum, frame)."""
  before = {signum: signal.signal(signum, handler) for signum in _SIGNALS}
  try:
    yield
  finally:
    for signum, previous in before.items():
      signal.signal(signum, previous)


@contextlib.contextmanager
def Held() -> Iterator[None]:
  """Context that a signal does not interrupt: KeyboardInterrupt comes at its end, once what it starts is known."""
  came = []
  with HandledBy(lambda signum, _: came.append(signum)):
    yield
  if came:
    raise KeyboardInterrupt(came[0])
