"""Knobs: the fields of an experiment, bound in Gin before the experiment is instantiated."""

import dataclasses
import os
import typing

import gin

from fm_lingvo import errors
from fm_lingvo.config import bindings
from fm_lingvo.config import gin_reader
from fm_lingvo.config import registry
from fm_lingvo.config import spelling
from fm_lingvo.config import value_types
from fm_lingvo.utils import suggest

GinError = errors.GinError
DidYouMean = suggest.DidYouMean


@dataclasses.dataclass(frozen=True)
class Setting:
  """A knob (bound or not) or a bound param.

  Attributes:
    name: Full path with its scope.
    value: The converted value.
    default: The value without the binding.
    binding: The bindings.Binding that set the value; None for a knob at its default.
  """

  name: str
  value: typing.Any
  default: typing.Any
  binding: bindings.Binding | None = None

  @property
  def changed(self):
    """Whether the value or its type differs from the default."""
    return repr(self.value) != repr(self.default)


class Knobs:
  """The knobs of one experiment.

  Attributes:
    settings: Name of each knob -> Setting.
  """

  def __init__(self, model_name):
    """Starts with all knobs at their defaults."""
    self._model_name = model_name
    self._cls = registry.Import(model_name)
    self._fields = {}  # Name -> (Spec, default).
    hints = typing.get_type_hints(self._cls)
    for f in dataclasses.fields(self._cls):
      default = f.default if f.default is not dataclasses.MISSING else f.default_factory()
      self._fields[f.name] = value_types.FromAnnotation(hints[f.name], default), default
    self.settings = {}
    self._SetDefaults()

  def Bind(self, bindings, macros):
    """Binds the knobs in Gin; ignores bindings that do not name an experiment.

    Args:
      bindings: List of bindings.Binding; the last one of a name wins.
      macros: The bindings.Macros of the same list.

    Returns:
      List of the names of the Gin files that the knobs imply.

    Raises:
      GinError: The knob does not exist, has a wrong value or belongs to another experiment.
    """
    self._SetDefaults()
    for binding in bindings:
      if self.Claims(binding):
        self._Bind(binding, macros)
    gin.clear_config()
    selector = f'{self._cls.__module__}.{self._cls.__name__}'
    for name, setting in self.settings.items():
      if setting.binding:
        macros.CheckRequired(setting.binding)
        gin.bind_parameter(('', selector, name), setting.value)
    experiment = registry.Call(self._model_name, 'the experiment', registry.Registered(self._model_name))
    return list(registry.Call(self._model_name, '_GinFiles()', experiment._GinFiles))

  def Claims(self, binding):
    """Whether a binding names a knob of any known experiment."""
    return bool(binding.arg) and self._Experiment(binding.selector) is not None

  def Nearest(self, name, cutoff=0.6):
    """Returns `Class.knob (int, default 1)` for the knob most similar to `name`, '' if none is similar."""
    knob = suggest.Nearest(name, self._fields, cutoff)
    if not knob:
      return ''
    return f'{self._cls.__name__}.{knob} ({value_types.Describe(*self._fields[knob])})'

  def NoSuchExperiment(self, binding):
    """Returns the GinError for a selector that looks like an experiment but is none."""
    selector = binding.selector.rpartition('.')[2]
    name = self._cls.__name__
    others = [cls.__name__ for cls in registry.Known().values()]
    near = suggest.Nearest(selector, [name]) or suggest.Nearest(selector, others)
    if near == name:
      return binding.Error('no such experiment' + DidYouMean(self.Nearest(binding.arg) or name))
    return binding.Error(f'no such experiment; --model={self._model_name} has knobs {name}.NAME' + DidYouMean(near))

  def MissingFile(self, file_name):
    """Returns the GinError for a Gin file that the knobs imply but that does not exist."""
    stem = os.path.splitext(os.path.basename(file_name))[0]
    stems = [f[: -len('.gin')] for f in gin_reader.FilesBeside(file_name)]
    message = f'no file {gin_reader.Shown(file_name)}'
    if stems:
      message += f' (available: {suggest.Some(stems)})'
    near = suggest.Nearest(stem, stems)
    message += DidYouMean(repr(near)) if near else '; values of your own go into a --gin_file'
    for setting in self.settings.values():
      if setting.value == stem:  # The knob that names the file.
        if setting.binding:
          return setting.binding.Error(message)
        return GinError(f'{setting.name} = {stem!r}, its default: {message}')
    return GinError(f'--model={self._model_name}: its knobs imply a file: {message}')

  def _SetDefaults(self):
    self.settings = {
      name: Setting(f'{self._cls.__name__}.{name}', default, default) for name, (_, default) in self._fields.items()
    }

  def _Experiment(self, selector):
    """Returns the class of the experiment that a selector names, this experiment first; None if there is none."""
    for key, cls in [(self._model_name, self._cls), *registry.Known().items()]:
      full = f'.{cls.__module__}.{cls.__name__}'
      if selector == key or full.endswith('.' + selector):
        return cls
    return None

  def _Bind(self, binding, macros):
    """Checks the binding of a knob and stores it as the knob's setting."""
    named = self._Experiment(binding.selector)
    if named is not self._cls:
      raise binding.Error(
        f'a knob of {named.__name__}, but --model={self._model_name} runs'
        + DidYouMean(self.Nearest(binding.arg, cutoff=0.95))
      )
    if binding.scope:
      raise binding.Error('knobs have no data-set scope' + DidYouMean(binding.path))
    if binding.arg not in self._fields:
      near = self.Nearest(binding.arg)
      raise binding.Error(
        f'no such knob of {self._model_name}'
        + (DidYouMean(near) or f'; its knobs are {suggest.Some(self._fields, 20)}')
      )
    spec, default = self._fields[binding.arg]
    value = macros.Resolve(binding)
    if not bindings.IsRequired(value):
      try:
        value = spelling.Convert(spec.Convert, spec, value)
      except value_types.Mismatch as e:
        how_to = spelling.HowTo(binding, spec, value, default, e)
        raise binding.Error(e.Message(default) + how_to + macros.Note(binding)) from e
    self.settings[binding.arg] = Setting(self.settings[binding.arg].name, value, default, binding)
