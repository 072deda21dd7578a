"""Loads modules that Lingvo imports and that few commands use when they are first used: a twentieth of the first step.

They bring matplotlib, scikit-learn and SciPy.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

# Nothing may use them while modules are imported; `import x.y` uses x.
_LAZY = ('lingvo.core.plot', 'lingvo.core.metrics', 'model_pruning.python.pruning')


class _Finder(importlib.abc.MetaPathFinder):
  """Finds the modules in _LAZY as PathFinder does, with a loader that waits for the first use."""

  def find_spec(
    self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
  ) -> importlib.machinery.ModuleSpec | None:
    if fullname not in _LAZY:
      return None
    spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
    if spec is not None and spec.loader is not None:
      spec.loader = importlib.util.LazyLoader(spec.loader)
    return spec


def Install() -> None:
  """Makes later imports of the modules lazy; may be called again."""
  if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
    sys.meta_path.insert(0, _Finder())
