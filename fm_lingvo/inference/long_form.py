"""Long recordings in windows: where to cut them, and how to join the words of the windows.

A window is as long as the utterances that the model was trained on. Adjacent windows overlap, so that each word near a
cut is complete in at least one of them.

S: samples (16 kHz) of a recording.
"""

import dataclasses

import numpy as np

from fm_lingvo.utils import audio

_MARGIN_SECONDS = 1.0  # Overlap on either side of a cut; at most an eighth of a window.
_QUIET_SECONDS = 0.2  # A cut is in the middle of the quietest stretch of this length.
_HOP = audio.SAMPLE_RATE // 100  # Cuts are multiples of this many samples.
_MAX_SAME_WORD_SECONDS = 0.4  # Largest difference in time between one word's occurrences in two windows.


@dataclasses.dataclass(frozen=True)
class Window:
  """Samples [start, end) of a recording; the words after `cut` are the next window's."""

  start: int
  end: int
  cut: int


def Cut(blocks, max_seconds):
  """Cuts a recording where it is quietest, while it is read.

  Args:
    blocks: Iterable of int16 [any n], which follow each other.
    max_seconds: Longest window in seconds, > 0.

  Yields:
    (Window, its samples int16 [end - start]), at least once. The cut of the last one is S. Two cuts are at least 3/8 of
    max_seconds apart. Holds no more than a window and a block.
  """
  longest = int(max_seconds * audio.SAMPLE_RATE) // _HOP * _HOP
  margin = int(min(_MARGIN_SECONDS, max_seconds / 8) * audio.SAMPLE_RATE)
  held = np.zeros([0], np.int16)  # Samples from `start` on.
  start = position = 0
  for block in blocks:
    held = np.concatenate([held, block])
    while len(held) > longest:
      furthest = position + longest - 2 * margin
      cut = _Quietest(held, start, (position + furthest) // 2 // _HOP, furthest // _HOP)
      yield Window(start, cut + margin, cut), held[: cut + margin - start].copy()
      position = cut
      held = held[max(0, cut - margin) - start :]
      start = max(0, cut - margin)
  yield Window(start, start + len(held), start + len(held)), held


def Windows(samples, max_seconds):
  """As Cut, for samples int16 [S]; returns the list of Window."""
  return [window for window, _ in Cut([samples], max_seconds)]


def _Quietest(held, start, first, last):
  """Returns the sample at the hop from `first` to before `last` around which _QUIET_SECONDS are quietest.

  Args:
    held: int16 [n], the samples of a recording from `start` on.
    start: Sample at which `held` begins.
    first: First hop of the recording that can be returned; hop i is at the sample i * _HOP.
    last: The hop after the last one.
  """
  width = int(_QUIET_SECONDS * audio.SAMPLE_RATE) // _HOP // 2
  low = max(first - width, -(-start // _HOP))
  hops = np.arange(first, last)
  stretch = held[low * _HOP - start : (last + width) * _HOP - start].astype(np.float32)
  stretch = stretch[: len(stretch) // _HOP * _HOP] / 32768.0
  power = np.square(stretch).reshape([-1, _HOP]).mean(axis=1)  # Of hop low + i.
  total = np.concatenate([[0.0], np.cumsum(power, dtype=np.float64)])
  left, right = np.maximum(hops - width, low) - low, np.minimum(hops + width - low, len(power))
  return int(first + np.argmin((total[right] - total[left]) / (right - left))) * _HOP


def Join(windows, words):
  """Joins the words of all windows.

  If two windows share a word near their cut, the words of the first up to and including it and those of the second
  after it are kept. If they share none, each window keeps the words on its own side of the cut.

  Args:
    windows: List of Window that Windows returned.
    words: For each window a sequence of recognizer.Word, in seconds from the window's start.

  Returns:
    List of recognizer.Word in seconds from the recording's start; neither starts nor ends go back.
  """
  joined = []
  before = None
  for window, found in zip(windows, words):
    offset = window.start / audio.SAMPLE_RATE
    found = [dataclasses.replace(w, start=round(w.start + offset, 3), end=round(w.end + offset, 3)) for w in found]
    if before is not None:
      joined, found = _DropRepeats(
        joined, found, before.cut / audio.SAMPLE_RATE, offset, before.end / audio.SAMPLE_RATE
      )
    joined += found
    before = window
  return _Ascending(joined)


def _Ascending(words):
  """Moves starts and ends that go back, as windows may tell the time of a word at their seam differently."""
  ascending, start, end = [], 0.0, 0.0
  for word in words:
    start, end = max(start, word.start), max(end, word.end)
    ascending.append(dataclasses.replace(word, start=start, end=end))
  return ascending


def _Middle(word):
  """Returns the middle of a word in seconds."""
  return (word.start + word.end) / 2


def _SharedWords(first, second, low, high):
  """Returns pairs (index in first, index in second) of words that two windows have in common.

  The two words of a pair have the same text and are each other's nearest match: a word may be said twice in a row.
  """
  apart = {}
  for i in range(len(first) - 1, -1, -1):
    if first[i].end < low:
      break
    for j, other in enumerate(second):
      if other.start > high:
        break
      if first[i].text == other.text:
        apart[i, j] = abs(_Middle(first[i]) - _Middle(other))
  nearest = sorted(apart, key=apart.get)
  of_first, of_second = {}, {}
  for i, j in nearest:
    of_first.setdefault(i, j)
    of_second.setdefault(j, i)
  return [
    (i, j) for i, j in nearest if apart[i, j] <= _MAX_SAME_WORD_SECONDS and of_first[i] == j and of_second[j] == i
  ]


def _DropRepeats(first, second, cut, low, high):
  """Returns the words to keep of two windows that overlap from `low` to `high` seconds, see Join."""
  same = _SharedWords(first, second, low, high)
  if same:
    i, j = min(same, key=lambda pair: abs(_Middle(first[pair[0]]) + _Middle(second[pair[1]]) - 2 * cut))
    return first[: i + 1], second[j + 1 :]
  return ([w for w in first if _Middle(w) < cut], [w for w in second if _Middle(w) >= cut])
