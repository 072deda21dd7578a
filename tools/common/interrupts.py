"""Turns SIGTERM and Ctrl-C into one exception, for programs that must stop processes or servers."""

import contextlib
import signal
from collections.abc import Callable
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def Raise() -> None:
  """Makes both signals raise KeyboardInterrupt(signum) from now on."""

  def _Interrupt(signum: int, _: FrameType | None) -> None:
    raise KeyboardInterrupt(signum)

  for signum in _SIGNALS:
    signal.signal(signum, _Interrupt)


@contextlib.contextmanager
def HandledBy(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
  """Context in which both signals call `handler(signum, frame)`."""
  before = {signum: signal.signal(signum, handler) for signum in _SIGNALS}
  try:
    yield
  finally:
    for signum, previous in before.items():
      signal.signal(signum, previous)


@contextlib.contextmanager
def Held() -> Iterator[None]:
  """Context that delays signals: KeyboardInterrupt is raised at its end.

  A process that is started inside is thereby always recorded before the interrupt is handled.
  """
  received = []
  with HandledBy(lambda signum, _: received.append(signum)):
    yield
  if received:
    raise KeyboardInterrupt(received[0])
