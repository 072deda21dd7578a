"""Types of knobs and params: checks, converts and formats Gin values.

Gin itself does not check types. A `Spec` defines which values a knob or a param
accepts; it is derived from an annotation (knobs) or from a default (params).
"""

import collections.abc
import dataclasses
import enum
import math
import types
import typing

import numpy as np
from lingvo import compat as tf

from fm_lingvo.utils import suggest

_UNIONS = (typing.Union, types.UnionType)
_SEQUENCES = (list, tuple)
_PLAIN = (bool, int, float, str, type(None))


class Mismatch(Exception):
  """Raised for a value that does not match a Spec.

  Attributes:
    expected: What the Spec accepts.
    detail: The rest of the message: the type that was given, or the nearest name.
  """

  def __init__(self, expected, detail=''):
    super().__init__(f'{expected}{detail}')
    self.expected = expected
    self.detail = detail

  def Message(self, *default):
    """Returns the end of an error message; shows `default`, if given, as the default value."""
    known = default and self.expected.startswith('expected')
    literal = Literal(default[0]) if known else None
    note = f' (default {literal})' if literal is not None else ''
    return f'{self.expected}{note}{self.detail}'


@dataclasses.dataclass(frozen=True)
class Spec:
  """The values that a knob or param accepts.

  Attributes:
    kinds: Set of types: bool, int, float, str, list, tuple, dict, type(None),
      tf.DType or an enum class; object means any plain value.
    element: Spec of the elements of a list or tuple; None: not checked.
    choices: Tuple of the accepted values; None: any.
    code: True if the value can only be set in code (classes, functions, ...).
    infinite: Whether infinity is accepted, which Gin reads from `1e999`: where the code's own value is infinite.
  """

  kinds: frozenset = frozenset()
  element: typing.Optional['Spec'] = None
  choices: tuple | None = None
  code: bool = False
  infinite: bool = False

  def __str__(self):
    if self.choices:
      return 'one of ' + ', '.join(map(repr, self.choices))
    if object in self.kinds:
      return 'any plain value'
    names = []
    for kind in sorted(self.kinds, key=lambda k: (k is type(None), k.__name__)):
      name = {type(None): 'None', tf.DType: 'name of a dtype'}.get(kind, kind.__name__)
      if issubclass(kind, enum.Enum):
        name = f'name in {kind.__name__} ({", ".join(kind.__members__)})'
      elif kind in _SEQUENCES and self.element:
        name += f' of {self.element}'
      names.append(name)
    return ' or '.join(names)

  def Convert(self, value):
    """Checks a value that Gin parsed.

    Args:
      value: Plain value: bool, int, float, str, None, or lists, tuples, dicts of them.

    Returns:
      The value converted to the param's type, if needed: int -> float, list <-> tuple,
      name -> dtype or enum member.

    Raises:
      Mismatch: The value does not match.
    """
    if not _IsPlain(value):
      raise Mismatch(f'expected {self}', f', got {type(value).__name__}')
    if self.code:
      raise Mismatch('its values come from code, not from Gin')
    if self.choices is not None:
      if value not in self.choices:
        raise Mismatch(f'expected {self}', suggest.DidYouMean(suggest.Nearest(str(value), map(str, self.choices))))
      return value
    if _IsInfinite(value) and float in self.kinds and not self.infinite:
      raise Mismatch('expected a finite number', f', got {Literal(value)}')
    if object in self.kinds or type(value) in self.kinds:
      return self._ConvertElements(value)
    if isinstance(value, int) and not isinstance(value, bool) and (float in self.kinds):
      return float(value)
    if isinstance(value, _SEQUENCES):
      for kind in _SEQUENCES:
        if kind in self.kinds:
          return kind(self._ConvertElements(value))
    if isinstance(value, str):
      for kind in self.kinds:
        if kind is tf.DType:
          return _DType(value)
        if issubclass(kind, enum.Enum) and value in kind.__members__:
          return kind[value]
    raise Mismatch(f'expected {self}', f', got {type(value).__name__}')

  def _ConvertElements(self, value):
    if self.element is None or not isinstance(value, _SEQUENCES):
      return value
    try:
      return type(value)(self.element.Convert(v) for v in value)
    except Mismatch as e:
      raise Mismatch(f'expected {self}', f'; an element: {e}') from e


ANY = Spec(kinds=frozenset({object}))
CODE = Spec(code=True)


def FromAnnotation(annotation, default):
  """Returns the Spec of a knob.

  Args:
    annotation: The type of the dataclass field, resolved (not a string).
    default: The field's default, whose type is used if the annotation is not supported.
  """
  origin, args = typing.get_origin(annotation), typing.get_args(annotation)
  if origin is typing.Literal:
    return Spec(choices=args)
  if origin in _UNIONS:
    specs = [FromAnnotation(a, default) for a in args]
    if any(s.choices for s in specs):
      return Spec(choices=sum((s.choices or ((None,) if type(None) in s.kinds else ()) for s in specs), ()))
    element = next((s.element for s in specs if s.element), None)
    return Spec(frozenset().union(*(s.kinds for s in specs)), element, infinite=_IsInfinite(default))
  base = origin or annotation
  if base is collections.abc.Sequence:
    kinds = frozenset(_SEQUENCES)
  elif base in (bool, int, float, str, list, tuple, dict, type(None), tf.DType) or (
    isinstance(base, type) and issubclass(base, enum.Enum)
  ):
    kinds = frozenset({base})
  else:
    return FromValues('', default, default)
  element = None
  if kinds & frozenset(_SEQUENCES):
    args = {a for a in args if a is not Ellipsis}
    if len(args) == 1:
      element = FromAnnotation(args.pop(), None)
  return Spec(kinds, element, infinite=_IsInfinite(default))


def FromValues(name, default, current):
  """Returns the Spec of a param.

  Args:
    name: Name of the param; a name that ends in `dtype` accepts names of dtypes.
    default: The default that the layer defined.
    current: The value that the experiment set. Both types are accepted, and None if either
      is None.
  """
  kinds = {_Kind(default), _Kind(current)}
  if None in kinds:
    return CODE
  if name.endswith('dtype') and kinds <= {type(None), tf.DType, str}:
    return Spec(frozenset(kinds - {str} | {tf.DType}))
  if kinds == {type(None)}:
    return ANY
  if type(None) in kinds:
    # The only hint at the type is one of the two values: accept related types, too.
    if kinds & {int, float}:
      kinds |= {int, float}
    elif kinds & {str, list, tuple, dict}:
      kinds |= {str, list, tuple, dict}
  infinite = _IsInfinite(default) or _IsInfinite(current)
  return Spec(frozenset(kinds), _ElementSpec(current) or _ElementSpec(default), infinite=infinite)


def _Kind(value):
  """Returns the type that represents a value in a Spec; None if the value can only be set in code."""
  if isinstance(value, enum.Enum):
    return type(value)
  if isinstance(value, tf.DType):
    return tf.DType
  for kind, numpy_kind in ((bool, np.bool_), (int, np.integer), (float, np.floating)):
    if isinstance(value, (kind, numpy_kind)):
      return kind
  if type(value) in (str, list, tuple, dict, type(None)) and _IsPlain(value):
    return type(value)
  return None


def _ElementSpec(value):
  """Returns the Spec of the elements of a list or tuple if they have one type, else None."""
  if not isinstance(value, _SEQUENCES) or not value:
    return None
  kinds = {_Kind(v) for v in value}
  if kinds <= {int, float}:
    return Spec(frozenset({int, float}), infinite=any(map(_IsInfinite, value)))
  if len(kinds) == 1 and kinds <= {str, bool}:
    return Spec(frozenset(kinds))
  return None


def _IsInfinite(value):
  return isinstance(value, float) and not math.isfinite(value)


def _IsPlain(value):
  """Whether Gin can write values of this type."""
  if isinstance(value, dict):
    return all(_IsPlain(k) and _IsPlain(v) for k, v in value.items())
  if type(value) in _SEQUENCES:
    return all(map(_IsPlain, value))
  return type(value) in _PLAIN


def _DType(name):
  """Returns the tf.DType with a name; raises Mismatch if there is none."""
  try:
    return tf.as_dtype(name)
  except TypeError as e:
    names = sorted({d.name for d in vars(tf).values() if isinstance(d, tf.DType)})
    raise Mismatch('expected name of a dtype', suggest.DidYouMean(suggest.Nearest(name, names))) from e


def Literal(value):
  """Returns the value as Gin text, or None if Gin cannot write it.

  Args:
    value: Any value that a knob or a param holds.
  """
  if isinstance(value, tf.DType):
    return repr(value.name)
  if isinstance(value, enum.Enum):
    return repr(value.name)
  if isinstance(value, (np.bool_, np.integer, np.floating)):
    value = value.item()
  if isinstance(value, float) and not math.isfinite(value):
    # Python, and hence Gin, reads an overflowing number as infinity.
    return None if math.isnan(value) else ('1e999' if value > 0 else '-1e999')
  if hasattr(value, 'GinText'):  # A macro.
    return value.GinText()
  if type(value) in _SEQUENCES:
    parts = list(map(Literal, value))
    if None in parts:
      return None
    if isinstance(value, list):
      return f'[{", ".join(parts)}]'
    return f'({", ".join(parts)}{"," if len(parts) == 1 else ""})'
  if type(value) is dict:
    parts = [(Literal(k), Literal(v)) for k, v in value.items()]
    if any(None in pair for pair in parts):
      return None
    return '{' + ', '.join(f'{k}: {v}' for k, v in parts) + '}'
  return repr(value) if type(value) in _PLAIN else None


def Describe(spec, default):
  """Returns the type and default of a knob or param for a message, such as `int, default 6`."""
  literal = Literal(default)
  return f'{spec}, default {literal}' if literal is not None else str(spec)
