"""The nearest names that error messages suggest."""

import difflib
from collections.abc import Collection
from collections.abc import Iterable

from fm_lingvo import errors


def Nearest(name: str, candidates: Iterable[str], cutoff: float = 0.6) -> str | None:
  """The candidate most like `name`, None if none is alike; case does not count."""
  by_lower: dict[str, str] = {}
  for candidate in candidates:
    by_lower.setdefault(candidate.lower(), candidate)
  found = difflib.get_close_matches(name.lower(), list(by_lower), 1, cutoff)
  return by_lower[found[0]] if found else None


def NearestPath(path: str, candidates: Iterable[str], cutoff: float = 0.6) -> str | None:
  """As Nearest, for dotted paths: the last part counts as much as the whole.

  Args:
    path: Dotted path.
    candidates: Iterable of dotted paths, thousands of them at most.
    cutoff: How alike, in [0, 1], the last parts must be.
  """
  last = path.rpartition('.')[2].lower()
  likeness = {}
  scored = []
  for candidate in candidates:
    name = candidate.rpartition('.')[2].lower()
    if name not in likeness:
      likeness[name] = difflib.SequenceMatcher(None, last, name).ratio()
    if likeness[name] >= cutoff:
      scored.append((likeness[name], candidate))
  scored.sort(key=lambda s: -s[0])
  return max(
    scored[:400],
    default=(0, None),
    key=lambda s: s[0] + difflib.SequenceMatcher(None, path.lower(), s[1].lower()).ratio(),
  )[1]


def DidYouMean(name: str | None, detail: str = '') -> str:
  """`; did you mean NAME (DETAIL)?`, empty if there is no name."""
  if not name:
    return ''
  return f'; did you mean {name}{f" ({detail})" if detail else ""}?'


def Hint(name: object, candidates: Iterable[str], cutoff: float = 0.6) -> str:
  """DidYouMean of the candidate nearest to a name, if one is alike."""
  return DidYouMean(Nearest(str(name), candidates, cutoff))


def Some(names: Iterable[str], limit: int = 8) -> str:
  """`a, b, c, ... (12 in all)`: the first names of many, for a message."""
  names = list(names)
  if len(names) <= limit:
    return ', '.join(names)
  return f'{", ".join(names[:limit])}, ... ({len(names)} in all)'


def CheckChoice(path: str, value: object, choices: Collection[str]) -> None:
  """Raises ConfigError if `value` of the param at `path` is none of `choices`."""
  if value not in choices:
    expected = f'one of {", ".join(choices)}' if choices else 'None'
    raise errors.ConfigError(f'{path} = {value!r}: expected {expected}{Hint(value, choices)}')
