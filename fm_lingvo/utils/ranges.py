"""Checks that params are in their range."""

from typing import Any

from fm_lingvo import errors


def IsWhole(value: object, minimum: int) -> bool:
  """Whether a value is an integer, not a bool, and >= minimum."""
  return isinstance(value, int) and not isinstance(value, bool) and value >= minimum


def WholeOrNone(p: Any, **minima: int) -> None:
  """Raises errors.ConfigError for the first of the named params of `p` that is neither None nor a whole number.

  Gin cannot check them: a default of None does not say that the others are integers.

  Args:
    p: Params.
    **minima: Smallest legal value of each.
  """
  for name, minimum in minima.items():
    value = p.Get(name)
    if value is not None and not IsWhole(value, minimum):
      raise errors.ConfigError(f'{p.name}.{name} = {value!r}: expected None or an integer >= {minimum}')


def AtLeast(p: Any, **minima: float) -> None:
  """Raises errors.ConfigError for the first of the named params of Params `p` that is None or below its minimum."""
  for name, minimum in minima.items():
    value = p.Get(name)
    if value is None or not value >= minimum:  # NaN is not.
      raise errors.ConfigError(f'{p.name}.{name} = {value}: expected >= {minimum}')
