"""Reads n-gram language models in ARPA files into arrays that a graph can look up.

W: words, C: contexts, A: n-grams.

A context is the empty one, 0, or an n-gram that is not of the highest order. What follows a context is found under the
key context * W + word. Where there is no such n-gram, the context's back-off weight is added, and its longest suffix
that is a context takes its place: the probabilities are those of the file.
"""

import dataclasses
import math
import re
from collections.abc import Iterator

import numpy as np

from fm_lingvo import errors
from fm_lingvo.utils import text_lines

START, END, UNKNOWN = '<s>', '</s>', '<unk>'
_UNKNOWN_NAMES = ('<unk>', '<UNK>')
# What KenLM gives words that the file has not, if it has no <unk>; log10.
_UNKNOWN_LOG10 = -100.0
_MOST_NGRAMS = 50_000_000
_COUNT = re.compile(r'ngram\s+(\d+)\s*=\s*(\d+)')
_SECTION = re.compile(r'\\(\d+)-grams:')


@dataclasses.dataclass(frozen=True)
class Ngrams:
  """A model; scores are natural logarithms."""

  words: dict[str, int]  # Word -> id, from 0 to W - 1; UNKNOWN is among them.
  order: int
  keys: np.ndarray  # int64 [A], ascending.
  scores: np.ndarray  # float32 [A]
  following: np.ndarray  # int32 [A], the context after each n-gram.
  backoff: np.ndarray  # float32 [C]
  shorter: np.ndarray  # int32 [C], the longest suffix that is a context; of the empty one 0.
  start: int  # The context of START, or 0.


def Read(path: str) -> Ngrams:
  """Reads a file.

  Args:
    path: Local or remote file, decompressed if its name ends in .gz.

  Raises:
    errors.DatasetError: The file is no ARPA file, is cut off, or an n-gram has a word or a context that is not there;
      the message has the line.
    OSError: The file cannot be read.
  """
  lines = ((number, line.strip()) for number, line in text_lines.Lines(path))
  counts = _Header(path, lines)
  if sum(counts) > _MOST_NGRAMS:
    raise errors.DatasetError(f'{path}: {sum(counts)} n-grams, expected at most {_MOST_NGRAMS}; prune the model')
  return _Builder(path, counts).Build(lines)


def _Header(path: str, lines: Iterator[tuple[int, str]]) -> list[int]:
  """Reads up to the line \\1-grams: and returns the number of n-grams of each order."""
  counts: list[int] = []
  if not any(line == '\\data\\' for _, line in lines):
    raise errors.DatasetError(f'{path}: no line \\data\\; expected an n-gram model in ARPA format')
  for number, line in lines:
    found = _COUNT.fullmatch(line)
    if found and int(found[1]) == len(counts) + 1:
      counts.append(int(found[2]))
    elif line == '\\1-grams:' and counts:
      return counts
    elif line:
      raise errors.DatasetError(f'{path}:{number}: expected ngram {len(counts) + 1}=COUNT, got {line[:60]!r}')
  raise errors.DatasetError(f'{path}: ends before \\1-grams:')


class _Builder:
  """Collects n-grams in the order of the file, which is that of their lengths."""

  def __init__(self, path: str, counts: list[int]) -> None:
    self._path, self._counts, self._order = path, counts, len(counts)
    self._words: dict[str, int] = {}
    self._base = counts[0] + 1  # W at most: UNKNOWN may be missing.
    self._found: dict[int, int] = {}  # Key -> number of the n-gram.
    self._contexts: dict[int, int] = {}  # Key -> context.
    self._scores: list[float] = []
    self._following: list[int] = []
    self._backoff, self._shorter = [0.0], [0]

  def Build(self, lines: Iterator[tuple[int, str]]) -> Ngrams:
    """Reads the n-grams up to the line \\end\\."""
    length = 1
    seen = 0
    for number, line in lines:
      section = _SECTION.fullmatch(line)
      if section or line == '\\end\\':
        if seen != self._counts[length - 1]:
          raise errors.DatasetError(
            f'{self._path}:{number}: {seen} {length}-grams, expected {self._counts[length - 1]} as the header says'
          )
        self._AddUnknown()
        if not section:
          break
        length, seen = length + 1, 0
        if int(section[1]) != length or length > self._order:
          raise errors.DatasetError(f'{self._path}:{number}: {line}: expected \\{length}-grams: or \\end\\')
      elif line:
        try:
          self._Add(line.split(), length)
        except ValueError as e:
          raise errors.DatasetError(f'{self._path}:{number}: {e}; got {line[:60]!r}') from e
        seen += 1
    else:
      raise errors.DatasetError(f'{self._path}: cut off: no line \\end\\')
    if length < self._order:
      raise errors.DatasetError(f'{self._path}: ends before \\{length + 1}-grams:, which the header lists')
    return self._Finish()

  def _AddUnknown(self) -> None:
    if UNKNOWN not in self._words:
      self._Add([str(_UNKNOWN_LOG10), UNKNOWN], 1)

  def _Add(self, fields: list[str], length: int) -> None:
    """Adds an n-gram; raises ValueError, which says what is wrong."""
    if len(fields) not in (length + 1, length + 2):
      raise ValueError(f'expected a number, {length} words and perhaps a back-off weight')
    try:
      score = float(fields[0]) * math.log(10.0)
      backoff = float(fields[length + 1]) * math.log(10.0) if len(fields) > length + 1 else 0.0
    except ValueError as e:
      raise ValueError(f'expected numbers before and after the words ({e})') from e
    if math.isnan(score) or math.isnan(backoff):
      raise ValueError('expected numbers, found nan')
    names = [UNKNOWN if name in _UNKNOWN_NAMES else name for name in fields[1 : length + 1]]
    if length == 1:
      if names[0] in self._words:
        raise ValueError(f'{names[0]!r} appears twice')
      self._words[names[0]] = len(self._words)
    context = 0
    for name in names[:-1]:
      if name not in self._words:
        raise ValueError(f'{name!r} is no 1-gram')
      following = self._contexts.get(context * self._base + self._words[name])
      if following is None:
        raise ValueError('the n-gram without its last word is missing')
      context = following
    if names[-1] not in self._words:
      raise ValueError(f'{names[-1]!r} is no 1-gram')
    word = self._words[names[-1]]
    key = context * self._base + word
    if key in self._found:
      raise ValueError('the n-gram appears twice')
    self._found[key] = len(self._scores)
    self._scores.append(max(score, -1e4))
    shorter = self._LongestContext(self._shorter[context], word) if length > 1 else 0
    if length < self._order:
      self._contexts[key] = len(self._backoff)
      self._following.append(len(self._backoff))
      self._backoff.append(max(backoff, -1e4))
      self._shorter.append(shorter)
    else:
      self._following.append(shorter)

  def _LongestContext(self, context: int, word: int) -> int:
    """Returns the longest context that is a suffix of `context` followed by a word."""
    while True:
      found = self._contexts.get(context * self._base + word)
      if found is not None or not context:
        return found or 0
      context = self._shorter[context]

  def _Finish(self) -> Ngrams:
    keys = np.fromiter(self._found, np.int64, len(self._found))
    order = np.argsort(keys)
    contexts, words = np.divmod(keys[order], self._base)
    return Ngrams(
      words=self._words,
      order=self._order,
      keys=contexts * len(self._words) + words,
      scores=np.array(self._scores, np.float32)[order],
      following=np.array(self._following, np.int32)[order],
      backoff=np.array(self._backoff, np.float32),
      shorter=np.array(self._shorter, np.int32),
      start=self._contexts.get(self._words.get(START, -1), 0),
    )
