"""Bindings parsed from Gin text, and their macros."""

import dataclasses
import typing

from fm_lingvo import errors
from fm_lingvo.config import value_types
from fm_lingvo.utils import suggest

REQUIRED = 'gin.REQUIRED'  # `NAME = %gin.REQUIRED`: a later binding must set it.


@dataclasses.dataclass(frozen=True)
class Macro:
  """`%NAME` in a value."""

  name: str

  def GinText(self):
    return f'%{self.name}'

  __repr__ = GinText


@dataclasses.dataclass(frozen=True)
class Reference:
  """`@name` or `@name()` in a value, which gin_reader rejects."""

  text: str

  def GinText(self):
    return self.text

  __repr__ = GinText


@dataclasses.dataclass(eq=False)
class Binding:
  """One statement: `scope/selector.arg = value`, or `NAME = value`, which defines a macro.

  Attributes:
    scope: The text before the last `/`, or ''.
    selector: Such as `task.encoder`; for a macro its name.
    arg: Such as `num_layers`; '' for a macro.
    value: Plain value that may contain Macros.
    place: `file:line` or the name of the flag.
    user: Whether the user gave the file or flag; False for files that the experiment's knobs imply.
  """

  scope: str
  selector: str
  arg: str
  value: typing.Any
  place: str
  user: bool = True

  @property
  def path(self):
    """The name without its scope."""
    return f'{self.selector}.{self.arg}' if self.arg else self.selector

  @property
  def name(self):
    """The name with its scope, as written."""
    return f'{self.scope}/{self.path}' if self.scope else self.path

  def UsesMacros(self):
    """Whether the value contains macros."""
    return any(isinstance(part, Macro) for part in Walk(self.value))

  def Error(self, message):
    """Returns a GinError whose message starts with the place and the statement."""
    text = value_types.Literal(self.value)
    text = repr(self.value) if text is None else text
    return errors.GinError(f'{self.place}: {self.name} = {text}: {message}')


class Macros:
  """The macros defined by a list of bindings; the last definition of a name wins, as in Gin."""

  def __init__(self, bindings):
    self._defined = {b.name: b for b in bindings if not b.arg}
    self._used = {part.name for b in bindings for part in Walk(b.value) if isinstance(part, Macro)}

  def __getitem__(self, name):
    return self._defined[name]

  def __iter__(self):
    return iter(self._defined)

  def Orphans(self):
    """Returns the bindings that define unused macros."""
    return [b for name, b in self._defined.items() if name not in self._used]

  def Resolve(self, binding):
    """Returns the value of a binding with all macros replaced by their values.

    Raises:
      GinError: A macro is undefined, or its definition refers to itself.
    """
    return self._Value(binding.value, binding, ())

  def Reached(self, value):
    """Returns the names of all macros that a value uses, each after the macros that it uses itself."""
    names = {}
    for part in Walk(value):
      if isinstance(part, Macro) and part.name in self._defined:
        names.update(dict.fromkeys(self.Reached(self._defined[part.name].value)))
        names[part.name] = None
    return list(names)

  def Note(self, binding):
    """Returns `; place: NAME = value` for each macro that a binding uses, to append to a message."""
    sources = [self._defined[name] for name in self.Reached(binding.value)]
    return ''.join(f'; {s.place}: {s.name} = {value_types.Literal(s.value)}' for s in sources)

  def CheckRequired(self, binding):
    """Raises GinError if the value of a binding is still `%gin.REQUIRED`."""
    for name in [None, *self.Reached(binding.value)]:
      source = self._defined[name] if name else binding
      if any(part == Macro(REQUIRED) for part in Walk(source.value)):
        raise source.Error(f"a value is required; set it, e.g. --gin_bindings='{source.name} = ...'")

  def _Value(self, value, binding, stack):
    """Returns `value` of `binding` with macros replaced; `stack` has the names being resolved."""
    if isinstance(value, Macro):
      if value.name == REQUIRED:
        return value
      if value.name in stack:
        raise binding.Error(f'the definition of macro {value.name} refers to itself')
      if value.name not in self._defined:
        raise binding.Error(
          f'macro {value.name} is not defined' + suggest.DidYouMean(suggest.Nearest(value.name, self._defined))
        )
      source = self._defined[value.name]
      return self._Value(source.value, source, stack + (value.name,))
    if isinstance(value, dict):
      return {self._Value(k, binding, stack): self._Value(v, binding, stack) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
      return type(value)(self._Value(v, binding, stack) for v in value)
    return value


def IsRequired(value):
  """Whether a resolved value is, or contains, `%gin.REQUIRED`."""
  return any(isinstance(part, Macro) for part in Walk(value))


def Walk(value):
  """Yields a value and, recursively, all its elements, dict keys included."""
  yield value
  if isinstance(value, dict):
    for key, part in value.items():
      yield from Walk(key)
      yield from Walk(part)
  elif isinstance(value, (list, tuple)):
    for part in value:
      yield from Walk(part)
