"""Recognises the windows of several threads together, in batches that form as the windows come.

A batch costs less than its windows one by one. A calling thread queues its windows and waits for the results; the
thread of SharedBatches takes batches from the queue. S: samples of a window at 16 kHz.
"""

import concurrent.futures
import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from fm_lingvo import errors
from fm_lingvo.inference import transcript
from fm_lingvo.utils import audio as audio_format

BATCH_SECONDS = 128.0  # Audio in a batch, padding included, unless it is a single window.
_LEAST_SHARE = 0.5  # A window is not put into a batch whose longest is more than twice as long: it would be padding.
_Found = list[transcript.Hypothesis]


class Cancelled(Exception):
  """The caller was cancelled: its windows are not recognised."""


@dataclasses.dataclass(eq=False)
class _Piece:
  """A window int16 [S] that waits to be recognised."""

  caller: 'Caller'
  samples: np.ndarray
  since: float  # When it came, on the monotonic clock.
  found: 'concurrent.futures.Future[_Found]' = dataclasses.field(default_factory=concurrent.futures.Future)


class SharedBatches:
  """Recognises windows in batches, in a thread of its own.

  Each batch has the window that waits longest, so none waits for ever, and those nearest to it in length.
  """

  def __init__(
    self,
    recognizer: Any,
    max_batch: int = 16,
    max_wait: float = 0.01,
    watch: Callable[[int, float], object] = lambda size, seconds: None,
  ) -> None:
    """Starts the thread.

    Args:
      recognizer: A recognizer.Recognizer, or another object with its method Recognize.
      max_batch: Windows in a batch, >= 1.
      max_wait: Seconds that a window waits for others, >= 0; a full batch does not wait.
      watch: Called after each batch with its number of windows and the seconds that it took.

    Raises:
      errors.ConfigError: A number is out of range.
    """
    if max_batch < 1 or not 0 <= max_wait < 60:
      raise errors.ConfigError(f'max_batch = {max_batch}, max_wait = {max_wait:g} s: expected >= 1, and 0 to 60 s')
    self._recognizer = recognizer
    self._max_batch = max_batch
    self._max_wait = max_wait
    self._watch = watch
    self._changed = threading.Condition()  # Guards what follows.
    self._waiting: list[_Piece] = []  # In the order in which they came.
    self._is_closed = False
    self._thread = threading.Thread(target=self._Run, name='shared batches', daemon=True)
    self._thread.start()

  @property
  def waiting(self) -> int:
    """Number of windows that wait."""
    return len(self._waiting)

  def Close(self) -> None:
    """Cancels what waits and ends the thread, after the batch that runs; may be called again."""
    self._CancelAll()
    self._thread.join()

  def _CancelAll(self) -> None:
    """Cancels what waits, and whatever is added from now on."""
    with self._changed:
      self._is_closed = True
      dropped, self._waiting = self._waiting, []
      self._changed.notify_all()
    _Fail(dropped, Cancelled())

  def Add(self, pieces: list[_Piece]) -> None:
    """Puts a caller's pieces in the queue."""
    with self._changed:
      is_dropped = self._is_closed or pieces[0].caller.is_cancelled
      if not is_dropped:
        self._waiting += pieces
        self._changed.notify_all()
    if is_dropped:
      _Fail(pieces, Cancelled())

  def Drop(self, caller: 'Caller') -> None:
    """Takes the pieces of a cancelled caller out of the queue."""
    with self._changed:
      dropped = [p for p in self._waiting if p.caller is caller]
      self._waiting = [p for p in self._waiting if p.caller is not caller]
    _Fail(dropped, Cancelled())

  def _Run(self) -> None:
    """The thread: recognises batches until Close."""
    try:
      while batch := self._Next():
        started = time.monotonic()
        try:
          found = list(zip(batch, self._recognizer.Recognize([p.samples for p in batch]), strict=True))
        except Exception as e:  # It is raised in the threads that wait for it.
          _Fail(batch, e)
        else:
          for piece, hypotheses in found:
            piece.found.set_result(hypotheses)
        self._watch(len(batch), time.monotonic() - started)
    finally:  # Also if `watch` raises: no caller may wait for a thread that has ended.
      self._CancelAll()

  def _Next(self) -> list[_Piece]:
    """Waits for the next batch and takes it out of the queue; it is empty after Close."""
    with self._changed:
      while not self._is_closed:
        if self._waiting:
          batch = Choose([len(p.samples) for p in self._waiting], self._max_batch)
          left = self._waiting[0].since + self._max_wait - time.monotonic()
          if left <= 0 or len(batch) == self._max_batch:
            chosen = [self._waiting[i] for i in batch]
            self._waiting = [p for i, p in enumerate(self._waiting) if i not in batch]
            return chosen
        self._changed.wait(left if self._waiting else None)
    return []


class Caller:
  """One user of SharedBatches, such as a request: recognises, or is cancelled, as a whole."""

  def __init__(self, batches: SharedBatches) -> None:
    self._batches = batches
    self.is_cancelled = False

  def Recognize(self, waveforms: list[np.ndarray]) -> list[_Found]:
    """As recognizer.Recognizer.Recognize, for waveforms int16 [S]; waits for its turn.

    Raises:
      Cancelled: Cancel was called, by any thread, or the batches are closed.
    """
    now = time.monotonic()
    pieces = [_Piece(self, waveform, now) for waveform in waveforms]
    self._batches.Add(pieces)
    return [piece.found.result() for piece in pieces]

  def Cancel(self) -> None:
    """Ends Recognize, now and later, with Cancelled; a window whose batch runs is still recognised."""
    self.is_cancelled = True
    self._batches.Drop(self)


def Choose(lengths: list[int], max_batch: int) -> set[int]:
  """Returns which of the waiting windows are recognised next.

  Args:
    lengths: Samples of each, in the order in which they came; at least one.
    max_batch: Most windows in a batch.

  Returns:
    Indices: that of the first, and of those nearest to it in length, as far as the batch has room.
  """
  chosen, shortest, longest = {0}, lengths[0], lengths[0]
  for i in sorted(range(1, len(lengths)), key=lambda i: (abs(lengths[i] - lengths[0]), i)):
    low, high = min(shortest, lengths[i]), max(longest, lengths[i])
    if len(chosen) == max_batch or high * (len(chosen) + 1) > BATCH_SECONDS * audio_format.SAMPLE_RATE:
      break
    if low >= _LEAST_SHARE * high:
      chosen.add(i)
      shortest, longest = low, high
  return chosen


def _Fail(pieces: list[_Piece], error: Exception) -> None:
  for piece in pieces:
    piece.found.set_exception(error)
