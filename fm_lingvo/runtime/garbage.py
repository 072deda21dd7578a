"""Python's garbage collector while modules are imported and graphs are built: nearly all objects made then stay."""

import contextlib
import gc
from collections.abc import Iterator

_RARE = (50_000, 20, 100)


def CollectRarely() -> None:
  """Sets thresholds for a process that builds graphs: collecting at Python's took a tenth of the start-up time."""
  gc.set_threshold(*_RARE)


@contextlib.contextmanager
def CollectedRarely() -> Iterator[None]:
  """Context with these thresholds, for a library that is called from other programs."""
  before = gc.get_threshold()
  CollectRarely()
  try:
    yield
  finally:
    gc.set_threshold(*before)
