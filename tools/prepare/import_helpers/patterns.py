"""--input of importers that read many files: SPLIT=PATTERN,... with braces and globs."""

import glob
import os
import re
from collections.abc import Iterator

from fm_lingvo.utils import files as file_system

from ...common import exit_codes
from . import inputs

_NEMO_BRACES = re.compile(r'_OP_(.*?)_CL_')  # Shells leave them alone.
_BRACES = re.compile(r'\{([^{}]*)\}')
_RANGE = re.compile(r'(\d+)\.\.(\d+)')
_MAX_RANGE = 1_000_000


def Parts(value: str) -> list[str]:
  """Splits a value at the commas that are not in braces."""
  parts, depth = [''], 0
  for char in _NEMO_BRACES.sub(r'{\1}', value):
    depth += (char == '{') - (char == '}')
    if char == ',' and depth <= 0:
      parts.append('')
    else:
      parts[-1] += char
  return parts


def Expand(pattern: str) -> Iterator[str]:
  """Yields what a pattern with braces stands for: `{000..012}` with leading zeros, `{a,b}`."""
  for match in _BRACES.finditer(pattern):
    numbers = _RANGE.fullmatch(match[1])
    if numbers:
      first, last = int(numbers[1]), int(numbers[2])
      if not first <= last < first + _MAX_RANGE:
        raise exit_codes.UsageError(f'{pattern}: {match[0]}: expected a range such as {{000..012}}')
      width = len(numbers[1]) if numbers[1].startswith('0') else 0
      values = [f'{i:0{width}d}' for i in range(first, last + 1)]
    elif ',' in match[1]:
      values = match[1].split(',')
    else:
      continue
    for value in values:
      yield from Expand(pattern[: match.start()] + value + pattern[match.end() :])
    return
  yield pattern


def Files(importer: str, value: str | None, expected: str) -> list[tuple[str | None, str]]:
  """Returns (split that --input gives, or None, path) of each file or folder that it names, in its order, globs sorted.

  Args:
    importer: Its name, for messages.
    value: Value of --input: comma-separated PATTERN or SPLIT=PATTERN.
    expected: What the importer reads, for messages.

  Raises:
    exit_codes.UsageError: The value is missing, a split is unknown or a file does not exist.
  """
  if not value:
    raise exit_codes.UsageError(f'--importer={importer} needs --input={expected}')
  result = []
  for part in Parts(value):
    split, pattern = inputs.SplitOf(part)
    result += [(split, path) for path in Paths(pattern, expected)]
  return result


def Paths(pattern: str, expected: str, flag: str = 'input') -> list[str]:
  """Returns the paths that a pattern with braces and globs stands for; raises UsageError if one does not exist."""
  if pattern and file_system.Exists(pattern):
    return [pattern]
  found, missing = [], []
  for path in Expand(pattern):
    matches = Glob(path) if glob.has_magic(path) else [path] if path and file_system.Exists(path) else []
    found += matches
    missing += [] if matches else [path]
  if missing:
    more = f' and {len(missing) - 1} more' if len(missing) > 1 else ''
    raise exit_codes.UsageError(f'--{flag}={pattern}: no such file: {missing[0]}{more}; expected {expected}')
  return found


def Glob(pattern: str) -> list[str]:
  """Returns the sorted local or remote paths that match a glob."""
  return file_system.Glob(file_system.LiteralFolder(pattern))


def Prefixes(paths: list[str]) -> dict[str, str]:
  """Returns path -> prefix of its utterances' ids: the file's name without extension, after its folder if they differ.

  Args:
    paths: All files of the input.
  """
  folders = {os.path.dirname(path) for path in paths}
  root = ''
  if len(folders) == 1:
    root = folders.pop()
  elif not any(file_system.IsRemote(path) for path in paths):
    root = os.path.commonpath([os.path.abspath(folder) for folder in folders])
    return {path: _Stem(os.path.relpath(path, root)) for path in paths}
  return {path: _Stem(path[len(root) :].lstrip('/')) for path in paths}


def _Stem(path):
  return re.sub(r'\.(tar|tgz|parquet|arrow)(\.\w+)?$', '', path)
