"""Which numbers can seed a random generator."""

from fm_lingvo import errors

END = 2**63  # TensorFlow's seeds are int64.


def Check(path: str, value: object, none: bool = True) -> None:
  """Raises errors.ConfigError unless `value` of the param at `path` is a seed, or None where `none` allows it."""
  is_seed = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < END
  if not (is_seed or (none and value is None)):
    raise errors.ConfigError(f'{path} = {value!r}: expected {"None or " if none else ""}an integer >= 0 and < 2**63')
