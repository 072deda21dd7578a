"""Long recordings in windows: where to cut them, and how to join what is recognised.

A window is as long as the utterances that a model was trained on, and shares a margin
with the next one: each word near a cut is heard whole in one of the two.

S: samples (16 kHz) of a recording.
"""

import dataclasses

import numpy as np

from fm_lingvo.utils import audio

_MARGIN_SECONDS = 1.0  # On either side of a cut, at most an eighth of a window.
_QUIET_SECONDS = 0.2  # A cut lies in the middle of the quietest stretch of this length.
_HOP = audio.SAMPLE_RATE // 100  # Cuts are multiples of this many samples.
_SAME_SECONDS = 0.4  # How far apart two windows may hear the same word.


@dataclasses.dataclass(frozen=True)
class Window:
  """Samples [start, end) of a recording; the next window takes over at `cut`."""

  start: int
  end: int
  cut: int


def Windows(samples, max_seconds):
  """Cuts a recording where it is quietest.

  Args:
    samples: int16 [S].
    max_seconds: Longest window, > 0.

  Returns:
    List of Window, at least one. The last one's cut is S. Two cuts are at least three
    eighths of max_seconds apart.
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
  """Mean power of the stretch around each hop: float [S / _HOP + 1]."""
  hops = -(-len(samples) // _HOP)
  padded = np.zeros([hops * _HOP], np.float32)
  padded[: len(samples)] = samples
  # Of hop i: the samples from i * _HOP to (i + 1) * _HOP.
  power = np.square(padded / 32768.0).reshape([hops, _HOP]).mean(axis=1)
  width = int(_QUIET_SECONDS * audio.SAMPLE_RATE) // _HOP // 2
  total = np.concatenate([[0.0], np.cumsum(power, dtype=np.float64)])
  centers = np.arange(hops + 1)
  low, high = np.maximum(centers - width, 0), np.minimum(centers + width, hops)
  return (total[high] - total[low]) / (high - low)


def Join(windows, words):
  """Joins the words of all windows.

  Where both windows heard the same word near a cut, the first one's words up to it
  and the second one's after it are taken; elsewhere each window's own side of the cut.

  Args:
    windows: What Windows returned.
    words: For each window a sequence of recognizer.Word, in seconds from its start.

  Returns:
    List of recognizer.Word in seconds from the recording's start.
  """
  joined = []
  before = None
  for window, heard in zip(windows, words):
    offset = window.start / audio.SAMPLE_RATE
    heard = [dataclasses.replace(w, start=round(w.start + offset, 3), end=round(w.end + offset, 3)) for w in heard]
    if before is not None:
      joined, heard = _Meet(joined, heard, before.cut / audio.SAMPLE_RATE, offset, before.end / audio.SAMPLE_RATE)
    joined += heard
    before = window
  return joined


def _Middle(word):
  return (word.start + word.end) / 2


def _Same(first, second, low, high):
  """Pairs (index in first, index in second) of what is one word, heard twice.

  Each is the nearest of its text to the other: the same word may come twice in a row.
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
  return [(i, j) for i, j in nearest if apart[i, j] <= _SAME_SECONDS and of_first[i] == j and of_second[j] == i]


def _Meet(first, second, cut, low, high):
  """What to keep of the words of two windows that share the seconds low to high."""
  same = _Same(first, second, low, high)
  if same:
    i, j = min(same, key=lambda pair: abs(_Middle(first[pair[0]]) + _Middle(second[pair[1]]) - 2 * cut))
    return first[: i + 1], second[j + 1 :]
  return ([w for w in first if _Middle(w) < cut], [w for w in second if _Middle(w) >= cut])
