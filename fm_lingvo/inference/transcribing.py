"""Recognises recordings of any length while they are read: memory does not grow with their length.

A recording is cut into windows as its sound comes. Windows wait until there are enough of them to be sorted by length
and recognised in batches with little padding. S: samples of a recording at 16 kHz.
"""

import collections
import dataclasses
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

import numpy as np

from fm_lingvo.audio import rejection
from fm_lingvo.inference import long_form
from fm_lingvo.inference import transcript
from fm_lingvo.utils import audio as audio_format

_BATCH_SECONDS = 512.0  # Audio in a batch, padding included; see encoded_parts.py.
_WAITING_SECONDS = 1200.0  # Audio that is read, and sorted by length, before it is recognised.
WAITING_FILES = 64  # The same limit as a number of files.


@dataclasses.dataclass
class _Reading:
  """A recording that is being read and recognised."""

  name: str
  samples: int = 0
  windows: list[long_form.Window] = dataclasses.field(default_factory=list)
  hypotheses: dict[int, list[transcript.Hypothesis]] = dataclasses.field(
    default_factory=dict
  )  # Window -> its hypotheses, best first.
  is_read: bool = False
  rejected: rejection.Rejected | None = None

  @property
  def is_done(self) -> bool:
    return self.rejected is not None or self.is_read and len(self.hypotheses) == len(self.windows)

  def Result(self) -> transcript.Transcript | rejection.Rejected:
    if self.rejected is not None:
      return self.rejected
    hypotheses = [self.hypotheses[i] for i in range(len(self.windows))]
    best = [found[0] for found in hypotheses]
    n_best: tuple[transcript.Hypothesis, ...] = ()
    if len(best) == 1:
      text, words = best[0].text, best[0].words
      n_best = tuple(hypotheses[0]) if len(hypotheses[0]) > 1 else ()
    else:
      words = long_form.Join(self.windows, [b.words for b in best])
      text = ' '.join(w.text for w in words)
    seconds = self.samples / audio_format.SAMPLE_RATE
    return transcript.Transcript(self.name, seconds, text, sum(b.score for b in best), tuple(words), len(best), n_best)


@dataclasses.dataclass
class _Piece:
  """The samples int16 [n] of a window that waits to be recognised."""

  reading: _Reading
  window: int
  samples: np.ndarray


def Transcribe(
  model: Any,
  recordings: Iterable[tuple[str, Iterable[np.ndarray]]],
  max_seconds: float,
  waiting_files: int = WAITING_FILES,
) -> Iterator[list[transcript.Transcript | rejection.Rejected]]:
  """Transcribes recordings in batches of windows of similar length.

  Args:
    model: A recognizer.Recognizer.
    recordings: (name, blocks int16 [any n] of its sound) of each. Reading the blocks may raise Rejected.
    max_seconds: Longest window in seconds.
    waiting_files: Recordings that are read, at most, before they are recognised, >= 1.

  Yields:
    Lists of Transcript, or of the Rejected of a recording that cannot be read, in the order of the recordings.
  """
  readings: collections.deque[_Reading] = collections.deque()
  waiting: list[_Piece] = []
  for name, blocks in recordings:
    reading = _Reading(name)
    readings.append(reading)
    try:
      for window, samples in long_form.Cut(blocks, max_seconds):
        waiting.append(_Piece(reading, len(reading.windows), samples))
        reading.windows.append(window)
        reading.samples = window.cut
        if sum(len(p.samples) for p in waiting) >= _WAITING_SECONDS * audio_format.SAMPLE_RATE:
          _Recognize(model, waiting)
          waiting = []
      reading.is_read = True
    except rejection.Rejected as e:
      reading.rejected = e
      waiting = [p for p in waiting if p.reading is not reading]
    if len(readings) >= waiting_files:
      _Recognize(model, waiting)
      waiting = []
    done = _Done(readings)
    if done:
      yield done
  _Recognize(model, waiting)
  done = _Done(readings)
  if done:
    yield done


def _Done(readings: 'collections.deque[_Reading]') -> list[transcript.Transcript | rejection.Rejected]:
  """Removes the first readings as far as they are done; returns their results."""
  done = []
  while readings and readings[0].is_done:
    done.append(readings.popleft().Result())
  return done


def _Recognize(model: Any, pieces: list[_Piece]) -> None:
  """Recognises pieces, and gives the hypotheses to their recordings."""
  order = sorted(range(len(pieces)), key=lambda i: (len(pieces[i].samples), i))
  for batch in _Batches([(len(pieces[i].samples), i) for i in order], int(_BATCH_SECONDS * audio_format.SAMPLE_RATE)):
    found = model.Recognize([pieces[i].samples for _, i in batch])
    for (_, i), hypotheses in zip(batch, found):
      # An n-best list is returned for recordings of one window only.
      keep = hypotheses if len(pieces[i].reading.windows) == 1 else hypotheses[:1]
      pieces[i].reading.hypotheses[pieces[i].window] = keep


def _Batches(pieces: Iterable[tuple[int, int]], size: int) -> Iterator[list[tuple[int, int]]]:
  """Yields batches: lists of pieces (length, ...) with at most `size` samples including padding, or a single piece.

  Args:
    pieces: Tuples that begin with the length in samples, shortest first.
    size: Maximum number of samples in a batch.
  """
  batch: list[tuple[int, int]] = []
  for piece in pieces:
    if batch and piece[0] * (len(batch) + 1) > size:
      yield batch
      batch = []
    batch.append(piece)
  if batch:
    yield batch
