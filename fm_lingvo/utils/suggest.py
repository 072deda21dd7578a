"""The nearest names that error messages suggest."""

import difflib

from fm_lingvo import errors


def Nearest(name, candidates, cutoff=0.6):
  """The candidate most like `name`, None if none is alike; case does not count."""
  by_lower = {}
  for candidate in candidates:
    by_lower.setdefault(candidate.lower(), candidate)
  found = difflib.get_close_matches(name.lower(), list(by_lower), 1, cutoff)
  return by_lower[found[0]] if found else None


def NearestPath(path, candidates, cutoff=0.6):
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


def DidYouMean(name, detail=''):
  """`; did you mean NAME (DETAIL)?`, empty if there is no name."""
  if not name:
    return ''
  return f'; did you mean {name}{f" ({detail})" if detail else ""}?'


def Hint(name, candidates, cutoff=0.6):
  """DidYouMean of the candidate nearest to a name, if one is alike."""
  return DidYouMean(Nearest(str(name), candidates, cutoff))


def Some(names, limit=8):
  """`a, b, c, ... (12 in all)`: the first names of many, for a message."""
  names = list(names)
  if len(names) <= limit:
    return ', '.join(names)
  return f'{", ".join(names[:limit])}, ... ({len(names)} in all)'


def CheckChoice(path, value, choices):
  """Raises ConfigError if `value` of the param at `path` is none of `choices`."""
  if value not in choices:
    expected = f'one of {", ".join(choices)}' if choices else 'None'
    raise errors.ConfigError(f'{path} = {value!r}: expected {expected}{Hint(value, choices)}')
