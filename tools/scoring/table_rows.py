"""Rows of CSV and TSV tables with a header as JSON lines have them, read as the importer of tables reads them."""

from collections.abc import Iterator
from typing import Any

from fm_lingvo import errors
from fm_lingvo.data import manifest_keys
from fm_lingvo.utils import suggest

from ..prepare.import_helpers import tables

EXTENSIONS = ('.csv', '.tsv')


class _Refusing:
  """In the place of an importer's listing: nothing may be left out of a score."""

  def Reject(self, utt_id: str, where: str, reason: str, detail: str) -> None:
    """Raises DatasetError."""
    del utt_id, reason
    raise errors.DatasetError(f'{where}: {detail}')


def Objects(path: str, texts: tuple[str, ...]) -> Iterator[tuple[int, dict[str, Any]]]:
  """Yields (line number, dict) of a table; an empty field is left out, but for a text.

  Args:
    path: Local or remote file.
    texts: Names of columns with texts, beside `text` and its other names.

  Raises:
    errors.DatasetError: The table is malformed, or its first line has no name of a column of docs/data_formats.md.
  """
  delimiter = tables.Delimiter(path)
  for number, row in tables.Rows(_Refusing(), path, delimiter=delimiter, quoted=tables.IsQuoted(path, delimiter)):
    if not any(manifest_keys.KeyOf(name) for name in row):
      raise errors.DatasetError(
        f'{path}: expected a table whose first line names its columns, such as utt_id and text; found '
        f'{suggest.Some([name[:40] for name in row], 4)}; lines `ID TEXT` are --ref_format=text or --hyp_format=text'
      )
    yield number, {name: value or '' for name, value in row.items() if value or _IsText(name, texts)}


def _IsText(name: str, texts: tuple[str, ...]) -> bool:
  return name in texts or manifest_keys.KeyOf(name) == 'text'
