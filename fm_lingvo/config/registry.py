"""Experiments: Lingvo model params whose knobs Gin can bind, registered by name.

An experiment is a class whose annotated attributes are its knobs:

  @registry.RegisterExperiment
  class BestRqPretrain(registry.Experiment):
    num_codebooks: int = 1          # Gin: BestRqPretrain.num_codebooks = 4

    def Task(self): ...             # Params of the task, built from the knobs
    def Train(self): ...            # each public method is a data set

If it is defined in params/asr.py, its name is `asr.BestRqPretrain`, both in Lingvo's registry and for --model. Modules
outside the package of experiments are imported with --import_module, see user_modules.py; a class in my_experiments.py
is named `my_experiments.CLASS`.
"""

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

import gin
from lingvo import datasets
from lingvo import model_imports
from lingvo import model_registry
from lingvo.core import base_model_params

from fm_lingvo import errors
from fm_lingvo.config import params_copy
from fm_lingvo.utils import suggest

PACKAGE = 'fm_lingvo.params'

_EXPERIMENTS: dict[str, type] = {}  # Registry key, e.g. asr.BestRqPretrain -> class.


class Experiment(base_model_params.SingleTaskModelParams):
  """Base of all experiments.

  Subclasses define knobs (annotated, with a default), Task() and a public method
  without arguments for each data set; names of helper methods start with `_`. Dev and Test,
  which Lingvo's base class defines, are data sets only if they are overridden.
  """

  def _GinFiles(self) -> list[str]:
    """Returns the Gin files that the knobs imply, applied before the user's own.

    Returns:
      List of file names, absolute or as --gin_file takes them, such as the file with
      the model sizes that the knob `size` selects.
    """
    return []

  def _Idle(self) -> dict[str, str]:
    """Returns the knobs that have no effect with the values of the others; the trainer refuses to change them.

    Returns:
      dict: name of a knob -> why, such as {'noise_prob': 'without noise_dir'}.
    """
    return {}


def RegisterExperiment(cls: type | None = None, *, name: str | None = None) -> Any:
  """Class decorator that makes a class a dataclass, a Gin configurable and a Lingvo model.

  A subclass inherits the knobs of its parent, bound under the subclass's own name; it needs its own decorator.

  Args:
    cls: Subclass of Experiment; it may already be a dataclass.
    name: Name of the experiment for --model, with a dot in it, such as my.FromRadio; None: MODULE.CLASS, without the
      name of the package params, such as my_experiments.FromRadio for FromRadio in my_experiments.py.

  Returns:
    cls, or the decorator if no class is given.

  Raises:
    TypeError: cls is not an Experiment, a knob has no type or no default, or a public method cannot be a data set.
    ValueError: The name is already registered, or has no dot.
  """
  if cls is None:
    return lambda decorated: RegisterExperiment(decorated, name=name)
  cls = _AsDataclass(cls)
  key = name or _DefaultName(cls)
  if '.' not in key:
    raise ValueError(f'{cls.__name__}: name = {key!r}: expected a dot in it, such as my.{cls.__name__}')
  known = _Helper()._MODEL_PARAMS
  if key in known:
    raise ValueError(f'{cls.__module__}.{cls.__name__}: an experiment is already registered as {key}')
  gin.configurable(cls)
  known[key] = _Helper()._CreateWrapperClass(cls)
  _EXPERIMENTS[key] = cls
  return cls


def _AsDataclass(cls: type) -> type:
  """Returns the class as a dataclass; raises TypeError if it cannot be an experiment."""
  name = cls.__name__
  if not (isinstance(cls, type) and issubclass(cls, Experiment)):
    raise TypeError(f'{name}: expected a subclass of registry.Experiment')
  if not name[:1].isupper():
    raise TypeError(f'{name}: expected a name that begins with a capital; in Gin, others are paths of params')
  annotations = inspect.get_annotations(cls)
  for knob in getattr(cls, '__dataclass_fields__', {}):
    if knob in vars(cls) and knob not in annotations:
      raise TypeError(
        f'{name}.{knob} = {vars(cls)[knob]!r}: a knob needs its type, '
        f"or the parent's default is kept; write {knob}: <type> = ..."
      )
  if '__dataclass_params__' not in vars(cls):
    try:
      cls = dataclasses.dataclass(eq=False)(cls)
    except TypeError as e:  # A field without a default follows one with a default.
      raise TypeError(f'{name}: every knob needs a default; {e}') from e
  if cls.__hash__ is None:
    raise TypeError(f'{name}: Lingvo caches experiments; use dataclass(eq=False)')
  for field in dataclasses.fields(cls):
    if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
      raise TypeError(f'{name}.{field.name}: every knob needs a default')
    if field.name == 'experiment':
      raise TypeError(f"{name}.experiment: TensorBoard's HParams have this name for the experiment; expected another")
  by_lower: dict[str, str] = {}  # Folders of evaluations have lower-case names.
  for dataset in datasets.GetDatasets(cls, warn_on_error=False):
    other = by_lower.setdefault(dataset.lower(), dataset)
    if dataset == 'train':
      raise TypeError(f'{name}.train: rows of metrics.jsonl with this name are of training; expected another, or Train')
    if other != dataset:
      raise TypeError(f'{name}.{dataset}: differs from {other} in capitals alone; their evaluations would be mixed up')
    if dataset.startswith('Task_'):
      raise TypeError(f'{name}.{dataset}: Gin cannot bind task params of a single data set; define another experiment')
  return cls


def _DefaultName(cls: type) -> str:
  """Returns MODULE.CLASS, without the name of the package of experiments, such as asr.BestRqPretrain."""
  return f'{cls.__module__}.{cls.__name__}'.removeprefix(PACKAGE + '.')


def Import(model_name: str) -> type:
  """Returns the class of an experiment; imports its module from the package of experiments if needed.

  No other module is imported, since the name may come from a run's folder. Experiments from other modules must have
  been imported by user_modules.Import before.

  Args:
    model_name: E.g. `asr.BestRqPretrain`.

  Returns:
    The class that RegisterExperiment registered.

  Raises:
    GinError: No such experiment; the message suggests the nearest name.
  """
  module = model_name.partition('.')[0]
  if model_name not in _EXPERIMENTS and module in _Modules():
    importlib.import_module(f'{PACKAGE}.{module}')
  if model_name not in _EXPERIMENTS:
    names = ListExperiments()
    # A class name without its module is a full match, too.
    nearest = next(
      (n for n in names if n.rpartition('.')[2] == model_name),
      suggest.Nearest(model_name, names) or suggest.NearestPath(model_name, names),
    )
    raise errors.GinError(
      f'--model={model_name}: no such experiment'
      + (suggest.DidYouMean(nearest) or f'; expected one of {suggest.Some(names)}')
    )
  return _EXPERIMENTS[model_name]


def _Modules() -> list[str]:
  """Returns the names of the modules in the package of experiments."""
  return [m.name for m in pkgutil.iter_modules(importlib.import_module(PACKAGE).__path__)]


def ListExperiments() -> dict[str, str]:
  """Returns dict name -> first docstring line of all experiments; imports the whole package of experiments."""
  for module in _Modules():
    importlib.import_module(f'{PACKAGE}.{module}')
  return {name: (inspect.getdoc(cls) or '').partition('\n')[0] for name, cls in sorted(_EXPERIMENTS.items())}


def Known() -> dict[str, type]:
  """Returns dict name -> class of the experiments imported so far."""
  return dict(_EXPERIMENTS)


def DatasetNames(model_name: str) -> list[str]:
  """Returns the names of an experiment's data sets, e.g. ['DevHuman', 'Train']."""
  cls = Import(model_name)
  stubs = base_model_params.SingleTaskModelParams
  return [name for name in datasets.GetDatasets(cls) if getattr(cls, name, None) is not getattr(stubs, name, cls)]


def Call(model_name: str, what: str, function: Callable[[], Any]) -> Any:
  """Calls an experiment's code and reports a ValueError as a GinError.

  Args:
    model_name: Name of the experiment.
    what: Name of the called code, for the message.
    function: Called without arguments.

  Returns:
    The function's result.

  Raises:
    GinError: The code raised a ValueError, which means that it rejects a value of the user.
  """
  try:
    return function()
  except errors.GinError:
    raise
  except ValueError as e:
    first = (str(e).strip().splitlines() or [type(e).__name__])[0]
    raise errors.GinError(f'--model={model_name}: {what}: {first}') from e


def ReplaceClass(model_name: str, make: Callable[[type], type] | None = None) -> None:
  """Replaces the class that Lingvo has registered for an experiment.

  Args:
    model_name: Name of an experiment.
    make: Function that is called with the class that Lingvo registered, and returns a
      subclass of it; None restores the registered class.
  """
  helper = _Helper()
  registered = _REGISTERED.setdefault(model_name, helper._MODEL_PARAMS[model_name])
  helper._MODEL_PARAMS[model_name] = make(registered) if make else registered
  helper.GetCachedObject.cache_clear()
  base_model_params.GetCachedAllDatasetParams.cache_clear()


def ModelClass(model_name: str) -> type:
  """Returns the class that Lingvo's registry currently has for an experiment."""
  return _Helper().GetClass(model_name)


def Registered(model_name: str) -> type:
  """Returns the class that Lingvo originally registered for an experiment, even if it has been replaced."""
  return _REGISTERED.get(model_name) or ModelClass(model_name)


_REGISTERED: dict[str, type] = {}  # Registry key -> the class that ReplaceClass replaced.


def _Helper() -> Any:
  """Returns Lingvo's registry, a private class of model_registry."""
  return model_registry._ModelRegistryHelper


def _Key(cls: type) -> str:
  """Returns the name under which a class is registered; Lingvo shows it in the params of a model."""
  for name, known in _EXPERIMENTS.items():
    if known is cls:
      return name
  return _LINGVO_KEY(cls)


_LINGVO_KEY = _Helper()._ModelParamsClassKey
_Helper()._ModelParamsClassKey = _Key
params_copy.Install()


def _ImportParams(model_name: str, *args: Any, **kwargs: Any) -> bool:
  """Finds our experiments, and calls Lingvo's ImportParams, which searches lingvo.tasks only, for all others."""
  if model_name in _EXPERIMENTS:
    return True
  return _LINGVO_IMPORT_PARAMS(model_name, *args, **kwargs)


# model_registry.GetParams and Lingvo's trainer import a model again each time they need
# it; our experiments are not under lingvo.tasks and already imported.
_LINGVO_IMPORT_PARAMS = model_imports.ImportParams
model_imports.ImportParams = _ImportParams
