"""Starts recognition with a run: imports what it needs, and builds its graph or loads a cached one (kept_graphs.py).

Does not import TensorFlow at the top level.
"""

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Any

from fm_lingvo.inference import live_model
from fm_lingvo.runtime import garbage
from fm_lingvo.runtime import quiet

if TYPE_CHECKING:
  from fm_lingvo.inference import recognizer as recognizer_lib
  from fm_lingvo.inference import run as run_lib


def Recognizer(path: str, n_best: int, **options: Any) -> 'tuple[run_lib.Run, recognizer_lib.Recognizer]':
  """Loads a run for recognition.

  Args:
    path: Folder of the run.
    n_best: Number of hypotheses to return.
    **options: The other arguments of load_run.Load, all of them.

  Returns:
    (the run, its recogniser).

  Raises:
    errors.ConfigError: See load_run.Load and recognizer.Recognizer.
  """
  ImportTensorFlow()
  from fm_lingvo.inference import kept_graphs
  from fm_lingvo.inference import recognizer

  with live_model.LOADING, quiet.RootLogger(), garbage.CollectedRarely():
    place = kept_graphs.PlaceOf(path, **options)
    kept = kept_graphs.Find(place) if place else None
    if kept:
      run, graph = kept
      return run, recognizer.Recognizer(run, n_best, graph)
    ImportLingvo()
    from fm_lingvo.inference import graph_mode
    from fm_lingvo.inference import load_run

    with graph_mode.GraphMode():
      run = load_run.Load(path, **options)
      found = recognizer.Recognizer(run, n_best)
    if place and found.graph:
      kept_graphs.Keep(place, run, found.graph, options['language'])
    return run, found


def ImportTensorFlow() -> None:
  """Imports TensorFlow without the messages that it writes on start-up."""
  with _Importing('tensorflow'):
    from fm_lingvo.inference import recognizer  # noqa: F401


def ImportLingvo() -> None:
  """Imports TensorFlow and Lingvo without the messages that they write on start-up."""
  with _Importing('lingvo.core'):
    from fm_lingvo.inference import decoding_graph  # noqa: F401
    from fm_lingvo.inference import load_run  # noqa: F401


@contextlib.contextmanager
def _Importing(module: str) -> Iterator[None]:
  """Context for imports that import `module`, if it is not imported yet."""
  with (
    live_model.LOADING,
    quiet.RootLogger(),
    garbage.CollectedRarely(),
    contextlib.nullcontext() if module in sys.modules else quiet.Imports(),
  ):
    yield
