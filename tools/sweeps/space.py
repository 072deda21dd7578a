"""The space of a sweep: which knobs and params are searched, and over which values.

learning_rate: loguniform(1e-4, 3e-3)      real numbers, uniform in their logarithm
dropout_prob: uniform(0, 0.3)              real numbers
num_codebooks: int(1, 4)                   whole numbers, both ends included; logint: uniform in the logarithm
size: choice(tiny, small)                  one of several values, as Gin or plain words
"""

import ast
import re
from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

import yaml

from fm_lingvo import errors
from fm_lingvo.utils import files
from fm_lingvo.utils import suggest

KINDS = ('uniform', 'loguniform', 'int', 'logint', 'choice')
_FORM = re.compile(r'(?s)\s*(\w+)\((.*)\)\s*$')


class Dimension(NamedTuple):
  """One searched value.

  Attributes:
    kind: One of KINDS.
    values: The two ends, or the choices.
  """

  kind: str
  values: tuple

  def Suggest(self, trial: Any, name: str) -> Any:
    """Asks an Optuna trial for a value."""
    if self.kind == 'choice':
      return trial.suggest_categorical(name, self.values)
    low, high = self.values
    log = self.kind.startswith('log')
    if self.kind.endswith('int'):
      return trial.suggest_int(name, low, high, log=log)
    return trial.suggest_float(name, low, high, log=log)


def Parse(name: str, text: str) -> Dimension:
  """Reads a dimension such as `loguniform(1e-4, 3e-3)`.

  Raises:
    errors.ConfigError: The text has another form, or its ends do not fit its kind.
  """
  where = f'--search={name}={text}'
  match = _FORM.match(text)
  if not match:
    raise errors.ConfigError(f'{where}: expected KIND(VALUES), such as loguniform(1e-4, 3e-3) or choice(tiny, small)')
  kind, inside = match.groups()
  if kind not in KINDS:
    raise errors.ConfigError(f'{where}: no kind {kind}; expected one of {", ".join(KINDS)}{suggest.Hint(kind, KINDS)}')
  values = tuple(_Value(part.strip()) for part in _Split(inside))
  if kind == 'choice':
    if len(values) < 2:
      raise errors.ConfigError(f'{where}: expected at least two choices')
    return Dimension(kind, values)
  wanted: tuple[type, ...] = (int,) if kind.endswith('int') else (int, float)
  numbers = [v for v in values if isinstance(v, wanted) and not isinstance(v, bool)]
  low_enough = len(numbers) == len(values) == 2 and numbers[0] < numbers[1]
  if not low_enough or (kind.startswith('log') and numbers[0] <= 0):
    what = 'two whole numbers' if kind.endswith('int') else 'two numbers'
    above = ', the first above 0' if kind.startswith('log') else ''
    raise errors.ConfigError(f'{where}: expected {what}, the first the smaller{above}')
  return Dimension(kind, values)


def _Split(text: str) -> list[str]:
  """Parts of a text between commas that are in no brackets or quotes."""
  parts, depth, quote, start = [], 0, '', 0
  for i, character in enumerate(text):
    if quote:
      quote = '' if character == quote else quote
    elif character in '\'"':
      quote = character
    elif character in '([{':
      depth += 1
    elif character in ')]}':
      depth -= 1
    elif character == ',' and not depth:
      parts.append(text[start:i])
      start = i + 1
  return [part for part in [*parts, text[start:]] if part.strip()]


def _Value(text: str) -> Any:
  """A value in Gin's syntax; a bare word is a text."""
  try:
    value = ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return text
  # Optuna stores choices as JSON, which has no tuples: Gin reads their text.
  return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)


def Read(searches: list[str], path: str = '') -> dict[str, Dimension]:
  """Reads the space from flags and a YAML file; a flag replaces the file's dimension of the same name.

  Args:
    searches: Texts NAME=KIND(VALUES).
    path: YAML file with NAME: KIND(VALUES); '' for none.

  Raises:
    errors.ConfigError: A flag or the file is malformed, or there is nothing to search.
  """
  texts: dict[str, str] = {}
  if path:
    try:
      with files.Open(path) as f:
        read = yaml.safe_load(f)
    except OSError as e:
      raise errors.ConfigError(f'--space={path}: cannot be read ({errors.Reason(e)})') from e
    except yaml.YAMLError as e:
      raise errors.ConfigError(f'--space={path}: no YAML ({errors.Reason(e)})') from e
    if not isinstance(read, dict) or not all(isinstance(v, str) for v in read.values()):
      raise errors.ConfigError(f'--space={path}: expected lines NAME: KIND(VALUES)')
    texts.update({str(name): text for name, text in read.items()})
  for search in searches:
    name, equals, text = search.partition('=')
    if not equals or not name.strip():
      raise errors.ConfigError(f'--search={search}: expected NAME=KIND(VALUES)')
    texts[name.strip()] = text
  if not texts:
    raise errors.ConfigError('nothing to search: give --search=learning_rate=loguniform(1e-4, 3e-3), or --space=FILE')
  return {name: Parse(name, text) for name, text in texts.items()}


def Bindings(model: str, params: Mapping[str, Any]) -> list[str]:
  """Gin bindings of a trial: a name without a dot is a knob of the experiment.

  Args:
    model: Name of the experiment, such as asr.Supervised.
    params: Name -> value.
  """
  experiment = model.rpartition('.')[2]
  out = []
  for name, value in params.items():
    path = name if '.' in name else f'{experiment}.{name}'
    structure = isinstance(value, str) and value[:1] in '([{' and value[:1] != ''
    out.append(f'{path} = {value if structure else repr(value)}')
  return out
