"""Measured results, docs/results/NAME.json: reading, merging and writing them.

A result is {"form": FORM, "rows": [...]}. Every row has the fields of ORIGIN and those of its form, see forms.py.
docs/results/README.md says what they mean. tables.py shows results in Markdown.
"""

import contextlib
import datetime
import fcntl
import json
import os
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

from fm_lingvo import errors
from fm_lingvo.utils import files as file_system

from ..common import this_machine
from . import forms

ROOT = this_machine.ROOT
Row = forms.Row


def Path(name: str, root: str = ROOT) -> str:
  """File of the result `name`."""
  return os.path.join(root, 'docs', 'results', f'{name}.json')


def Origin(command: str, commit: str = '', date: str = '', root: str = ROOT) -> Row:
  """The fields of ORIGIN for figures measured now, here.

  Args:
    command: That gives the figures.
    commit: Of the code; default: git's.
    date: YYYY-MM-DD; default: today.
    root: Of the checkout.

  Raises:
    errors.ConfigError: Git does not know the commit and none is given.
  """
  return {
    'command': command,
    'date': date or datetime.date.today().isoformat(),
    'machine': this_machine.Machine(),
    'versions': this_machine.Versions(root, commit),
  }


def Load(path: str) -> Row:
  """The checked content of a result's file.

  Raises:
    errors.ConfigError: It is not JSON, or does not have the form.
  """
  with open(path, encoding='utf-8') as f:
    try:
      result = json.load(f)
    except ValueError as e:
      raise errors.ConfigError(f'{os.path.basename(path)}: not JSON: {e}') from e
  forms.Check(result, path)
  return result


def Rows(path: str) -> list[Row]:
  """Rows of a result's file, of an older form too; none if there is no file.

  Raises:
    errors.ConfigError: The file is no result.
  """
  if not os.path.exists(path):
    return []
  with open(path, encoding='utf-8') as f:
    try:
      return [dict(row) for row in json.load(f)['rows']]
    except (ValueError, KeyError, TypeError) as e:
      raise errors.ConfigError(f'{path}: not a file of results: {e!r}') from e


def Write(path: str, form: str, rows: list[Row], **extra: Any) -> Row:
  """Writes a result, whole or not at all; returns it.

  Raises:
    errors.ConfigError: It does not have the form.
  """
  result = {'form': form, 'rows': rows, **extra}
  forms.Check(result, path)
  os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
  with file_system.Replacing(path) as f:
    f.write(json.dumps(result, indent=2, ensure_ascii=False) + '\n')
  return result


def Merge(
  path: str,
  form: str,
  rows: list[Row],
  *,
  keep: Callable[[Row], bool] = lambda row: True,
  order: Callable[[Row], Any] | None = None,
  extra: Callable[[list[Row]], Row] = lambda rows: {},
) -> Row:
  """Puts rows into a file, in place of those with the same key. Several processes may do so at a time.

  Args:
    path: Of the file; it is made if it is not there.
    form: Of the result, a name in forms.FORMS.
    rows: The new rows; those of keys that the file does not have come last.
    keep: Whether a row of the file that is not replaced stays. It may be of an older form.
    order: Sort key of the rows, if they have an order.
    extra: Makes the result's further fields from all rows.

  Returns:
    The whole result.

  Raises:
    errors.ConfigError: The file or a row does not have the form.
  """

  key = forms.FORMS[form].key

  def _Key(row):
    return tuple(row.get(field) for field in key)

  folder = os.path.dirname(os.path.abspath(path))
  os.makedirs(folder, exist_ok=True)
  with _Locked(folder):
    new = {_Key(row): row for row in rows}
    if len(new) < len(rows):
      raise errors.ConfigError(f'{os.path.basename(path)}: two new rows of the same {", ".join(key)}')
    merged = [new.pop(_Key(row), row) for row in Rows(path) if _Key(row) in new or keep(row)] + [*new.values()]
    if order:
      merged.sort(key=order)
    return Write(path, form, merged, **extra(merged))


@contextlib.contextmanager
def _Locked(folder: str) -> Iterator[None]:
  """Context in which no other process holds the lock of the same folder."""
  handle = os.open(folder, os.O_RDONLY)
  try:
    fcntl.flock(handle, fcntl.LOCK_EX)
    yield
  finally:
    os.close(handle)
