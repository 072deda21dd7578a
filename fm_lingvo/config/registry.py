"""Experiments: Lingvo model params whose knobs Gin can bind, registered by name.

An experiment is a class whose annotated attributes are its knobs:

  @registry.RegisterExperiment
  class BestRqPretrain(registry.Experiment):
    num_codebooks: int = 1          # Gin: BestRqPretrain.num_codebooks = 4

    def Task(self): ...             # Params of the task, built from the knobs
    def Train(self): ...            # each public method is a data set

In params/asr.py it is `asr.BestRqPretrain`, in Lingvo's registry as in --model.
"""

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any
from typing import TypeVar

import gin
from lingvo import datasets
from lingvo import model_imports
from lingvo import model_registry
from lingvo.core import base_model_params

from fm_lingvo import errors
from fm_lingvo.utils import suggest

PACKAGE = 'fm_lingvo.params'
T = TypeVar('T')

_EXPERIMENTS: dict[str, type] = {}  # Registry key, e.g. asr.BestRqPretrain -> class.


class Experiment(base_model_params.SingleTaskModelParams):
  """Base of all experiments.

  Subclasses define knobs (annotated, with a default), Task() and a public method
  without arguments for each data set; prefix any helper with `_`. Dev and Test, which
  Lingvo's base class has, count only where they are redefined.
  """

  def _GinFiles(self) -> list[str]:
    """Gin files that the knobs imply, applied before the user's own.

    Returns:
      List of file names, absolute or as --gin_file takes them; e.g. the one with the
      sizes that the knob `size` names.
    """
    return []


def RegisterExperiment(cls: type) -> type:
  """Class decorator: makes `cls` a dataclass, a Gin configurable and a Lingvo model.

  A subclass inherits the knobs of its parent, bindable under the subclass's own name,
  and needs its own decorator.

  Args:
    cls: Subclass of Experiment; a dataclass already or not.

  Returns:
    cls.

  Raises:
    TypeError: cls is no Experiment, a knob has no type or no default, or a public
      method cannot be a data set.
    ValueError: The name is taken.
  """
  name = cls.__name__
  if not (isinstance(cls, type) and issubclass(cls, Experiment)):
    raise TypeError(f'{name}: expected a subclass of registry.Experiment')
  annotations = inspect.get_annotations(cls)
  for knob in getattr(cls, '__dataclass_fields__', {}):
    if knob in vars(cls) and knob not in annotations:
      raise TypeError(
        f'{name}.{knob} = {vars(cls)[knob]!r}: a knob needs its type, '
        f"or the parent's default stays; write {knob}: <type> = ..."
      )
  if '__dataclass_params__' not in vars(cls):
    try:
      cls = dataclasses.dataclass(eq=False)(cls)
    except TypeError as e:  # A field without default after one with.
      raise TypeError(f'{name}: every knob needs a default; {e}') from e
  if cls.__hash__ is None:
    raise TypeError(f'{name}: Lingvo caches experiments; use dataclass(eq=False)')
  for field in dataclasses.fields(cls):
    if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
      raise TypeError(f'{name}.{field.name}: every knob needs a default')
  for dataset in datasets.GetDatasets(cls, warn_on_error=False):
    if dataset.startswith('Task_'):
      raise TypeError(
        f'{name}.{dataset}: task params of a single data set would escape Gin; make it another experiment'
      )
  model_registry.RegisterSingleTaskModel(cls)
  key = _Helper()._ModelParamsClassKey(cls)
  _EXPERIMENTS[key] = cls
  gin.configurable(cls)
  return cls


def Import(model_name: str) -> type:
  """Finds an experiment, importing the module under params/ that its name says.

  Args:
    model_name: E.g. `asr.BestRqPretrain`.

  Returns:
    The class, as RegisterExperiment had it.

  Raises:
    GinError: No such experiment; names the nearest.
  """
  parts = model_name.split('.')
  if model_name not in _EXPERIMENTS and len(parts) > 1 and all(p.isidentifier() for p in parts):
    _ImportModule(model_name)
  if model_name not in _EXPERIMENTS:
    names = ListExperiments()
    # A bare class name is worth as much as one with its module.
    nearest = next(
      (n for n in names if n.rpartition('.')[2] == model_name),
      suggest.Nearest(model_name, names) or suggest.NearestPath(model_name, names),
    )
    raise errors.GinError(
      f'--model={model_name}: no such experiment'
      + (suggest.DidYouMean(nearest) or f'; expected one of {suggest.Some(names)}')
    )
  return _EXPERIMENTS[model_name]


def ListExperiments() -> dict[str, str]:
  """dict: name -> first line of the docstring, of every experiment; imports params/."""
  package = importlib.import_module(PACKAGE)
  for module in pkgutil.iter_modules(package.__path__, PACKAGE + '.'):
    importlib.import_module(module.name)
  return {name: (inspect.getdoc(cls) or '').partition('\n')[0] for name, cls in sorted(_EXPERIMENTS.items())}


def Known() -> dict[str, type]:
  """dict: name -> class, of the experiments imported so far."""
  return dict(_EXPERIMENTS)


def DatasetNames(model_name: str) -> list[str]:
  """List of the names of an experiment's data sets, e.g. ['DevHuman', 'Train']."""
  cls = Import(model_name)
  stubs = base_model_params.SingleTaskModelParams
  return [name for name in datasets.GetDatasets(cls) if getattr(cls, name, None) is not getattr(stubs, name, cls)]


def Call(model_name: str, what: str, function: Callable[[], T]) -> T:
  """Calls an experiment's code.

  Args:
    model_name: Name of the experiment.
    what: What is called, for the message.
    function: Called without arguments.

  Returns:
    What the function returns.

  Raises:
    GinError: The code raised a ValueError: it refuses what the user set.
  """
  try:
    return function()
  except errors.GinError:
    raise
  except ValueError as e:
    first = (str(e).strip().splitlines() or [type(e).__name__])[0]
    raise errors.GinError(f'--model={model_name}: {what}: {first}') from e


def ReplaceClass(model_name: str, make: Callable[[type], type] | None = None) -> None:
  """Puts another class in the place of Lingvo's registered one.

  Args:
    model_name: Name of an experiment.
    make: Called with the class that Lingvo registered, returns a subclass of it.
      None: the registered class comes back.
  """
  helper = _Helper()
  registered = _REGISTERED.setdefault(model_name, helper._MODEL_PARAMS[model_name])
  helper._MODEL_PARAMS[model_name] = make(registered) if make else registered
  helper.GetCachedObject.cache_clear()
  base_model_params.GetCachedAllDatasetParams.cache_clear()


def ModelClass(model_name: str) -> type:
  """The class that Lingvo's registry has for an experiment now."""
  return _Helper().GetClass(model_name)


def Registered(model_name: str) -> type:
  """The class that Lingvo registered for an experiment, whatever replaced it."""
  return _REGISTERED.get(model_name) or ModelClass(model_name)


_REGISTERED: dict[str, type] = {}  # Registry key -> the class that ReplaceClass replaced.


def _Helper() -> Any:
  """Lingvo's registry; its decorators are methods of a class that it hides."""
  return model_registry._ModelRegistryHelper


def _ClassKey(cls: type) -> str:
  """Lingvo's registry key of an experiment, without the name of this package: asr.BestRqPretrain."""
  return _LINGVO_CLASS_KEY(cls).removeprefix('fm_lingvo.')


_LINGVO_CLASS_KEY = _Helper()._ModelParamsClassKey
_Helper()._ModelParamsClassKey = _ClassKey


def _ImportModule(model_name: str) -> None:
  """Lingvo's search for the module of a model, without its lines on stderr."""
  model_imports.print = lambda *args, **kwargs: None
  try:
    _LINGVO_IMPORT_PARAMS(model_name, task_root=PACKAGE, require_success=False)
  finally:
    del model_imports.print


def _ImportParams(model_name: str, *args: Any, **kwargs: Any) -> bool:
  """Lingvo's ImportParams, which looks under lingvo.tasks only, for all others."""
  if model_name in _EXPERIMENTS:
    return True
  return _LINGVO_IMPORT_PARAMS(model_name, *args, **kwargs)


# model_registry.GetParams and Lingvo's trainer import a model again each time that
# they are asked for it; ours are imported already, from elsewhere.
_LINGVO_IMPORT_PARAMS = model_imports.ImportParams
model_imports.ImportParams = _ImportParams
