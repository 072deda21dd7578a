"""The pages that show results (results.py) between their markers: README.md and docs/*.md."""

import glob
import os
import re
from collections.abc import Callable
from collections.abc import Mapping
from typing import NamedTuple

from fm_lingvo import errors
from fm_lingvo.utils import suggest

from . import results

_MARKER = re.compile(r'<!-- results:([^\s:]+):(begin|end) -->')


class Shown(NamedTuple):
  """How results of a form are shown: functions of a result that return Markdown; None: not in this way."""

  table: Callable[[results.Row], str]
  short: Callable[[results.Row], str] | None = None  # A table of what matters most.
  lines: Callable[[results.Row], str] | None = None  # A few list items, for the front page.


def Regenerate(text: str, directory: str, page: str, shown: Mapping[str, Shown]) -> tuple[str, list[str], list[str]]:
  """Puts tables between their markers.

  Args:
    text: Markdown with pairs of `<!-- results:NAME:begin -->` and `<!-- results:NAME:end -->`; NAME/short and
      NAME/lines are the other ways of Shown.
    directory: Of the NAME.json.
    page: The text's file, for messages.
    shown: Form of a result -> how it is shown.

  Returns:
    (new text, names of the tables that differ, names of all tables).

  Raises:
    errors.ConfigError: A marker without its pair, no such result, or one that is not shown in this way.
  """
  known = sorted(
    os.path.basename(path).removesuffix('.json') for path in glob.glob(os.path.join(glob.escape(directory), '*.json'))
  )
  markers = list(_MARKER.finditer(text))
  pieces, stale, names, position = [], [], [], 0
  for begin, end in zip(markers[::2], [*markers[1::2], None]):
    name, which = begin.groups()
    if which != 'begin' or end is None or end.groups() != (name, 'end'):
      line = text.count('\n', 0, begin.start()) + 1
      raise errors.ConfigError(f'{page} line {line}: {begin.group(0)} without its pair')
    result, _, way = name.partition('/')
    if result not in known:
      raise errors.ConfigError(f'{page}: results:{name}: no docs/results/{result}.json{suggest.Hint(result, known)}')
    loaded = results.Load(os.path.join(directory, f'{result}.json'))
    ways = {key: show for key, show in shown[loaded['form']]._asdict().items() if show}
    if (way or 'table') not in ways:
      raise errors.ConfigError(
        f'{page}: results:{name}: the form {loaded["form"]} has no {way}; expected {" or ".join(ways)}'
      )
    table = f'\n{ways[way or "table"](loaded)}\n'
    if text[begin.end() : end.start()] != table:
      stale.append(name)
    names.append(name)
    pieces += [text[position : begin.end()], table]
    position = end.start()
  return ''.join(pieces) + text[position:], stale, names


def Pages(root: str, shown: Mapping[str, Shown], check: bool = False) -> tuple[list[str], int]:
  """Writes the tables of README.md and docs/*.md.

  Args:
    root: Of the checkout.
    shown: See Regenerate.
    check: Only compare.

  Returns:
    (`PAGE: TABLE` of each that changed or, with `check`, is stale; how many tables there are).

  Raises:
    errors.ConfigError: See Regenerate; or there is no README.md.
  """
  changed, count = [], 0
  for path in [os.path.join(root, 'README.md'), *sorted(glob.glob(os.path.join(glob.escape(root), 'docs', '*.md')))]:
    page = os.path.relpath(path, root)
    if not os.path.exists(path):
      raise errors.ConfigError(f'{page}: no such file')
    with open(path, encoding='utf-8') as f:
      text = f.read()
    new, stale, names = Regenerate(text, os.path.join(root, 'docs', 'results'), page, shown)
    count += len(names)
    changed += [f'{page}: {table}' for table in stale]
    if new != text and not check:
      with open(path, 'w', encoding='utf-8') as f:
        f.write(new)
  return changed, count
