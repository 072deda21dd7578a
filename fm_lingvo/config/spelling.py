"""What to write instead of a wrong Gin value: the nearest one that is right, or an example of one."""

import re
import shlex

from fm_lingvo.config import value_types

FLAG = '--gin_bindings'  # The place of bindings from the command line.
_CONSTANTS = {'true': True, 'false': False, 'none': None, 'null': None}
# What people write for a constant where only a constant is right.
_WORDS = dict(_CONSTANTS, yes=True, no=False, on=True, off=False, nil=None)
_WORDS.update({'1': True, '0': False, '': None})
_MULTIPLES = {'': 1, 'k': 1_000, 'm': 1_000_000, 's': 1, 'ms': 1}
_PLAIN = {bool, int, float, str, list, tuple, dict, type(None)}
_LONGEST = 60  # Characters of a default that is shown as an example.


def Constant(word: str) -> str | None:
  """Returns Gin's spelling of a constant: `False` for `false` or `FALSE`, `None` for `null`; None for other words."""
  word = word.strip().lower()
  return repr(_CONSTANTS[word]) if word in _CONSTANTS else None


def Number(text: str) -> int | float | None:
  """Returns the number that a text means, such as 1000 for `1,000`, `1_000` or `1k`; None if it means none."""
  found = re.fullmatch(r'([+-]?\d{1,3}(?:,\d{3})+|[+-]?[\d_]*\.?\d+(?:e[+-]?\d+)?)\s*(k|m|s|ms|)', text.strip().lower())
  if not found:
    return None
  digits = found.group(1).replace(',', '').replace('_', '')
  number = (float(digits) if re.search('[.e]', digits) else int(digits)) * _MULTIPLES[found.group(2)]
  return number


def Sequence(text: str) -> list | None:
  """Returns the elements of a text with commas between them, with or without brackets and quotes; None if none."""
  text = text.strip()
  if text[:1] in ('(', '[') and text[-1:] in (')', ']'):
    text = text[1:-1]
  parts = [part.strip() for part in text.split(',') if part.strip()]
  if not parts or any(set(part.strip('\'"')) & set('()[]{}\'"%@') for part in parts):
    return None
  return [_Element(part) for part in parts]


def Convert(convert, spec, value):
  """Returns convert(value), the value as a knob or param holds it.

  Args:
    convert: Function that raises value_types.Mismatch for a wrong value.
    spec: value_types.Spec of the knob or param.
    value: What Gin parsed, without macros.

  Raises:
    value_types.Mismatch: The value is wrong, or a text such as `none` where None is right, too.
  """
  converted = convert(value)
  word = value.strip().lower() if isinstance(value, str) else None
  if word in _CONSTANTS and spec.choices is None and {object, type(_CONSTANTS[word])} & spec.kinds:
    raise value_types.Mismatch(f'expected {spec}', f', got the text {value!r}')
  return converted


def HowTo(binding, spec, value, default, error) -> str:
  """Returns `; write NAME = VALUE` with the value nearest to a wrong one, or `; for example ...`; '' if nothing helps.

  Args:
    binding: The bindings.Binding.
    spec: value_types.Spec of its knob or param.
    value: The wrong value, without macros.
    default: The default of the knob or param.
    error: The value_types.Mismatch of the value.
  """
  if spec.code or spec.choices is not None or not error.expected.startswith('expected'):
    return ''  # Their messages say it.
  nearest = Nearest(spec, value)
  if nearest:
    return f'; write {_Statement(binding, nearest)}'
  if not spec.kinds <= _PLAIN:
    return ''  # The message lists the names, or has the nearest.
  example = 'True' if spec.kinds == {bool} else value_types.Literal(default)
  if example is None or default in (None, '', (), [], {}) and example != 'True' or len(example) > _LONGEST:
    return ''
  return f'; for example {_Statement(binding, example)}'


def Nearest(spec, value) -> str | None:
  """Returns the Gin text of the value nearest to a wrong one that a value_types.Spec accepts; None if none is near."""
  for candidate in _Candidates(spec, value):
    try:
      text = value_types.Literal(spec.Convert(candidate))
    except value_types.Mismatch:
      continue
    if text is not None:
      return text
  return None


def _Candidates(spec, value):
  """Yields what the writer of a wrong value may have meant, the likeliest first."""
  if isinstance(value, str):
    word = value.strip().lower()
    if word in _WORDS:
      yield _WORDS[word]
    number = Number(value)
    if number is not None:
      yield number
      yield from _Whole(number)
    elements = Sequence(value)
    if elements is not None:
      yield elements
      yield [str(e) for e in elements]
  elif isinstance(value, (list, tuple)):
    if len(value) == 1:
      yield value[0]
    if spec.element is not None:
      yield [_Converted(spec.element, v) for v in value]
  elif value is None:
    yield ''
  elif not isinstance(value, dict):
    if not isinstance(value, bool):
      yield from _Whole(value)
      if value in (0, 1):
        yield bool(value)
    yield str(value)
    yield [value]


def _Converted(spec, value):
  """Returns an element as it is, or the nearest one that its Spec accepts."""
  try:
    return spec.Convert(value)
  except value_types.Mismatch:
    for candidate in _Candidates(spec, value):
      try:
        return spec.Convert(candidate)
      except value_types.Mismatch:
        continue
  return value


def _Whole(number):
  """Yields the int that equals a float."""
  if isinstance(number, float) and number.is_integer():
    yield int(number)


def _Element(text):
  """Returns an element of a sequence: what is quoted is a text, and what looks like a number is one."""
  if text[0] in '\'"':
    return text.strip('\'"')
  number = Number(text)
  return text if number is None else number


def _Statement(binding, text):
  """Returns the statement that binds the value `text`, as the user wrote this binding: in a file or as an argument."""
  if binding.UsesMacros():
    return text  # Its macro is named in the message.
  if binding.place == FLAG:
    return f'--gin.{binding.name}={ShellWord(text)}'
  return f'{binding.name} = {text}'


def ShellWord(text: str) -> str:
  """Returns a text as a part of a shell's word, in double quotes where it needs quotes and they suffice."""
  if re.fullmatch(r'[\w./:,+@%^=-]+', text):
    return text
  return shlex.quote(text) if re.search(r'["$`\\!]', text) else f'"{text}"'
