"""Types of the arguments of the Python API."""

from typing import Any

from fm_lingvo import errors


def Check(name: str, value: Any, types: Any, expected: str) -> None:
  """Raises errors.ConfigError, with what is `expected`, unless an argument is of one of some types."""
  if not isinstance(value, types):
    shown = ' '.join(repr(value).split())
    raise errors.ConfigError(f'{name} = {shown[:60]}: expected {expected}, got {type(value).__name__}')
