"""Checks that params are in their range."""

from typing import Any

from fm_lingvo import errors


def AtLeast(p: Any, **minima: float) -> None:
  """Raises errors.ConfigError for the first of the named params of Params `p` that is None or below its minimum."""
  for name, minimum in minima.items():
    value = p.Get(name)
    if value is None or not value >= minimum:  # NaN is not.
      raise errors.ConfigError(f'{p.name}.{name} = {value}: expected >= {minimum}')
