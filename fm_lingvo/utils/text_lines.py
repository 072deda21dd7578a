r"""Lines of text files, the one reader of data that is text: transcripts, manifests, texts to speak or to learn from.

A line ends at \n or \r\n, and nowhere else. `str.splitlines()` also splits at U+2028, U+0085, vertical tabs and form
feeds, which occur inside transcripts, and would cut them there without a word.
"""

import contextlib
import gzip
import json
import zlib
from collections.abc import Iterator
from typing import IO
from typing import Any

from fm_lingvo import errors
from fm_lingvo.utils import files

_BOM = '\ufeff'
_OTHER_ENCODINGS = {  # First bytes -> encoding; those of UTF-32 begin like those of UTF-16.
  b'\xff\xfe\0\0': 'UTF-32',
  b'\0\0\xfe\xff': 'UTF-32',
  b'\xff\xfe': 'UTF-16',
  b'\xfe\xff': 'UTF-16',
}


def Lines(path: str) -> Iterator[tuple[int, str]]:
  r"""Yields (number from 1, line without its end) of a text file in UTF-8, with or without a byte order mark.

  A byte order mark at the start of any line is left out, since files with one are also concatenated.

  Args:
    path: Local or remote file; decompressed with gzip if the name ends in .gz.

  Raises:
    errors.DatasetError: The file is in another encoding, binary or damaged; the message has the line, too.
    OSError: The file cannot be read.
  """
  with _OpenBytes(path) as f:
    for number, raw in enumerate(f, 1):
      if number == 1:
        _CheckStart(path, raw)
      try:
        line = raw.decode('utf-8')
      except UnicodeDecodeError as e:
        raise errors.DatasetError(f'{path}:{number}: expected text in UTF-8 ({e.reason})') from e
      if '\0' in line:
        raise errors.DatasetError(f'{path}:{number}: expected text in UTF-8, found a null byte')
      yield number, line.removesuffix('\n').removesuffix('\r').removeprefix(_BOM)


def Objects(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
  """Yields (number from 1, dict) of a file with a JSON object in each line; skips empty lines.

  Args:
    path: See Lines.

  Raises:
    errors.DatasetError: A line is no JSON object, or see Lines.
    OSError: The file cannot be read.
  """
  for number, line in Lines(path):
    if not line.strip():
      continue
    try:
      row = json.loads(line)
    except (RecursionError, ValueError) as e:
      raise errors.DatasetError(f'{path}:{number}: expected a JSON object ({e})') from e
    if not isinstance(row, dict):
      raise errors.DatasetError(f'{path}:{number}: expected a JSON object, got {line[:40]}')
    yield number, row


def Json(row: dict[str, Any]) -> str:
  r"""Returns an object as a line of JSON that can be written as UTF-8.

  Bytes of a file name that are not UTF-8, lone surrogates in Python, are escaped as \udce9 and the like: reading the
  line gives the same name.
  """
  line = json.dumps(row, ensure_ascii=False)
  return line if files.Printable(line) == line else json.dumps(row)


def _CheckStart(path: str, raw: bytes) -> None:
  r"""Raises DatasetError for another encoding that a mark gives away, and for lines that all end in \r."""
  for mark, encoding in _OTHER_ENCODINGS.items():
    if raw.startswith(mark):
      raise errors.DatasetError(
        f'{path}: expected text in UTF-8, found {encoding}; convert it: iconv -f {encoding} -t UTF-8'
      )
  if not raw.endswith(b'\n') and b'\r' in raw.strip():
    raise errors.DatasetError(f'{path}: expected lines that end in \\n or \\r\\n, found only \\r')


@contextlib.contextmanager
def _OpenBytes(path: str) -> Iterator[IO[bytes]]:
  """Context with a file, open for reading and decompressed if its name ends in .gz."""
  with files.Open(path, 'rb') as f:
    if not path.endswith('.gz'):
      yield f
      return
    try:
      with gzip.GzipFile(fileobj=f) as unpacked:
        yield unpacked  # type: ignore[misc]
    except (EOFError, gzip.BadGzipFile, zlib.error) as e:
      raise errors.DatasetError(f'{path}: expected data of gzip ({e})') from e
