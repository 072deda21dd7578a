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


def Windows(samples, max_seconds):
  """Cuts a recording where it is quietest.

  Args:
    samples: int16 [S].
    max_seconds: Longest window in seconds, > 0.

  Returns:
    List of Window, at least one. The cut of the last one is S. Two cuts are at least 3/8 of max_seconds apart.
  """
  longest = int(max_seconds * audio.SAMPLE_RATE) // _HOP * _HOP
  margin = int(min(_MARGIN_SECONDS, max_seconds / 8) * audio.SAMPLE_RATE)
  windows, position = [], 0
  loudness = None
  while len(samples) - max(0, position - margin) > longest:
    if loudness is None:
      loudness = _Loudness(samples)
    furthest = position + longest - 2 * margin
    first, last = (position + furthest) // 2 // _HOP, furthest // _HOP
    cut = int(first + np.argmin(loudness[first:last])) * _HOP
    windows.append(Window(max(0, position - margin), cut + margin, cut))
    position = cut
  windows.append(Window(max(0, position - margin), len(samples), len(samples)))
  return windows


def _Loudness(samples):
  """Returns the mean power of _QUIET_SECONDS around each hop: float [S / _HOP + 1]."""
  hops = -(-len(samples) // _HOP)
  padded = np.zeros([hops * _HOP], np.float32)
  padded[: len(samples)] = samples
  # Hop i: samples i * _HOP to (i + 1) * _HOP.
  power = np.square(padded / 32768.0).reshape([hops, _HOP]).mean(axis=1)
  width = int(_QUIET_SECONDS * audio.SAMPLE_RATE) // _HOP // 2
  total = np.concatenate([[0.0], np.cumsum(power, dtype=np.float64)])
  centers = np.arange(hops + 1)
  low, high = np.maximum(centers - width, 0), np.minimum(centers + width, hops)
  return (total[high] - total[low]) / (high - low)


def Join(windows, words):
  """Joins the words of all windows.

  If two windows share a word near their cut, the words of the first up to and including it and those of the second
  after it are kept. If they share none, each window keeps the words on its own side of the cut.

  Args:
    windows: List of Window that Windows returned.
    words: For each window a sequence of recognizer.Word, in seconds from the window's start.

  Returns:
    List of recognizer.Word in seconds from the recording's start.
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
  return joined


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
