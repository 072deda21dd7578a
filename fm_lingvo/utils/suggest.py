"""Finds the most similar names, for suggestions in error messages."""

import difflib
from collections.abc import Collection
from collections.abc import Iterable

from fm_lingvo import errors


def Nearest(name: str, candidates: Iterable[str], cutoff: float = 0.6) -> str | None:
  """Returns the candidate most similar to `name`, ignoring case; None if none is similar."""
  by_lower: dict[str, str] = {}
  for candidate in candidates:
    by_lower.setdefault(candidate.lower(), candidate)
  matches = difflib.get_close_matches(name.lower(), list(by_lower), 1, cutoff)
  return by_lower[matches[0]] if matches else None


def NearestPath(path: str, candidates: Iterable[str], cutoff: float = 0.6) -> str | None:
  """Like Nearest, for dotted paths: the last component counts as much as the whole path.

  Args:
    path: Dotted path.
    candidates: Iterable of dotted paths, thousands of them at most.
    cutoff: Minimum similarity of the last components, in [0, 1].
  """
  last = path.rpartition('.')[2].lower()
  similarity = {}
  scored = []
  for candidate in candidates:
    name = candidate.rpartition('.')[2].lower()
    if name not in similarity:
      similarity[name] = difflib.SequenceMatcher(None, last, name).ratio()
    if similarity[name] >= cutoff:
      scored.append((similarity[name], candidate))
  scored.sort(key=lambda s: -s[0])
  return max(
    scored[:400],
    default=(0, None),
    key=lambda s: s[0] + difflib.SequenceMatcher(None, path.lower(), s[1].lower()).ratio(),
  )[1]


def DidYouMean(name: str | None, detail: str = '') -> str:
  """Returns `; did you mean NAME (DETAIL)?`, or '' if there is no name."""
  if not name:
    return ''
  return f'; did you mean {name}{f" ({detail})" if detail else ""}?'


def Hint(name: object, candidates: Iterable[str], cutoff: float = 0.6) -> str:
  """Returns DidYouMean of the candidate most similar to a name, '' if none is similar."""
  return DidYouMean(Nearest(str(name), candidates, cutoff))


def Some(names: Iterable[str], limit: int = 8) -> str:
  """Returns the first names of a list for a message: `a, b, c, ... (12 in all)`."""
  names = list(names)
  if len(names) <= limit:
    return ', '.join(names)
  return f'{", ".join(names[:limit])}, ... ({len(names)} in all)'


def CheckChoice(path: str, value: object, choices: Collection[str]) -> None:
  """Raises ConfigError unless `value` of the param at `path` is one of `choices`."""
  if value not in choices:
    expected = f'one of {", ".join(choices)}' if choices else 'None'
    raise errors.ConfigError(f'{path} = {value!r}: expected {expected}{Hint(value, choices)}')
