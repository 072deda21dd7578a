"""Experiments: Lingvo model params whose knobs Gin can bind, registered by name.

An experiment is a class whose annotated attributes are its knobs:

  @registry.RegisterExperiment
  class BestRqPretrain(registry.Experiment):
    num_codebooks: int = 1          # Gin: BestRqPretrain.num_codebooks = 4

    def Task(self): ...             # Params of the task, built from the knobs
    def Train(self): ...            # each public method is a data set

In params/asr.py it is `asr.BestRqPretrain`, in Lingvo's registry as in --model. Modules outside of the package of
experiments are imported by --import_module, see user_modules.py; a class in my_experiments.py is
`my_experiments.CLASS`.
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
from fm_lingvo.utils import suggest

PACKAGE = 'fm_lingvo.params'

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


def RegisterExperiment(cls: type | None = None, *, name: str | None = None) -> Any:
  """Class decorator: makes a class a dataclass, a Gin configurable and a Lingvo model.

  A subclass inherits the knobs of its parent, bindable under the subclass's own name, and needs its own decorator.

  Args:
    cls: Subclass of Experiment; a dataclass already or not.
    name: What --model calls it, with a dot in it; None: MODULE.CLASS, without the name of the package params. So
      FromRadio in my_experiments.py is `my_experiments.FromRadio`, or what RegisterExperiment(name='my.FromRadio')
      says.

  Returns:
    cls, or the decorator where no class is given.

  Raises:
    TypeError: cls is no Experiment, a knob has no type or no default, or a public method cannot be a data set.
    ValueError: The name is taken, or has no dot.
  """
  if cls is None:
    return lambda decorated: RegisterExperiment(decorated, name=name)
  cls = _AsDataclass(cls)
  key = name or _DefaultName(cls)
  if '.' not in key:
    raise ValueError(f'{cls.__name__}: name = {key!r}: expected a dot in it, such as my.{cls.__name__}')
  known = _Helper()._MODEL_PARAMS
  if key in known:
    raise ValueError(f'{cls.__module__}.{cls.__name__}: an experiment is registered as {key} already')
  gin.configurable(cls)
  known[key] = _Helper()._CreateWrapperClass(cls)
  _EXPERIMENTS[key] = cls
  return cls


def _AsDataclass(cls: type) -> type:
  """The class as a dataclass; raises TypeError if it could not be an experiment."""
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
  return cls


def _DefaultName(cls: type) -> str:
  """MODULE.CLASS, without the name of the package of experiments: asr.BestRqPretrain."""
  return f'{cls.__module__}.{cls.__name__}'.removeprefix(PACKAGE + '.')


def Import(model_name: str) -> type:
  """Finds an experiment, importing the module of the package of experiments that its name says.

  No other module is imported: a name may come from a run's folder. Experiments from elsewhere are there once
  user_modules.Import has imported them.

  Args:
    model_name: E.g. `asr.BestRqPretrain`.

  Returns:
    The class, as RegisterExperiment had it.

  Raises:
    GinError: No such experiment; names the nearest.
  """
  module = model_name.partition('.')[0]
  if model_name not in _EXPERIMENTS and module in _Modules():
    importlib.import_module(f'{PACKAGE}.{module}')
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


def _Modules() -> list[str]:
  """Names of the modules of the package of experiments."""
  return [m.name for m in pkgutil.iter_modules(importlib.import_module(PACKAGE).__path__)]


def ListExperiments() -> dict[str, str]:
  """dict: name -> first line of the docstring, of every experiment; imports the whole package of experiments."""
  for module in _Modules():
    importlib.import_module(f'{PACKAGE}.{module}')
  return {name: (inspect.getdoc(cls) or '').partition('\n')[0] for name, cls in sorted(_EXPERIMENTS.items())}


def Known() -> dict[str, type]:
  """dict: name -> class, of the experiments imported so far."""
  return dict(_EXPERIMENTS)


def DatasetNames(model_name: str) -> list[str]:
  """List of the names of an experiment's data sets, e.g. ['DevHuman', 'Train']."""
  cls = Import(model_name)
  stubs = base_model_params.SingleTaskModelParams
  return [name for name in datasets.GetDatasets(cls) if getattr(cls, name, None) is not getattr(stubs, name, cls)]


def Call(model_name: str, what: str, function: Callable[[], Any]) -> Any:
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


def _Key(cls: type) -> str:
  """Name under which a class is registered; Lingvo shows it in the params of a model."""
  for name, known in _EXPERIMENTS.items():
    if known is cls:
      return name
  return _LINGVO_KEY(cls)


_LINGVO_KEY = _Helper()._ModelParamsClassKey
_Helper()._ModelParamsClassKey = _Key


def _ImportParams(model_name: str, *args: Any, **kwargs: Any) -> bool:
  """Lingvo's ImportParams, which looks under lingvo.tasks only, for all others."""
  if model_name in _EXPERIMENTS:
    return True
  return _LINGVO_IMPORT_PARAMS(model_name, *args, **kwargs)


# model_registry.GetParams and Lingvo's trainer import a model again each time that
# they are asked for it; ours are imported already, from elsewhere.
_LINGVO_IMPORT_PARAMS = model_imports.ImportParams
model_imports.ImportParams = _ImportParams
