"""Transcribes speech while it is heard: what `tools.transcribe --stream` does once the model is loaded."""

import os
import shutil
import sys
import time
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

import numpy as np

from fm_lingvo import audio
from fm_lingvo import errors
from fm_lingvo.audio import frames as audio_frames
from fm_lingvo.inference import stream_events
from fm_lingvo.inference import streaming
from fm_lingvo.utils import audio as audio_format

from ..common import interrupts
from ..common import recordings as recordings_lib
from . import live_input

FORMATS = ('text', 'json')
_CLEAR = '\r\x1b[K'  # Back to the start of the line, which is emptied.


def CheckArgs(args: Any, defaults: dict[str, Any]) -> None:
  """Raises ConfigError where the flags of tools.transcribe contradict each other.

  Args:
    args: The flags.
    defaults: The values of those that streaming does not have.
  """
  if not args.stream:
    for flag in ('rate', 'step_seconds', 'endpoint_seconds'):
      if getattr(args, flag) is not None:
        raise errors.ConfigError(f'--{flag}={getattr(args, flag):g}: expected with --stream only')
    return
  if len(args.audio) != 1 or os.path.isdir(args.audio[0]):
    raise errors.ConfigError(f'--stream: expected one recording, - or a file, not {" ".join(args.audio)}')
  if args.rate is not None and args.audio != [recordings_lib.STDIN]:
    raise errors.ConfigError(f'--rate={args.rate}: expected with {recordings_lib.STDIN} only; a file says its own')
  if args.format not in FORMATS:
    raise errors.ConfigError(f'--format={args.format}: --stream writes {" or ".join(FORMATS)}')
  for flag, value in defaults.items():
    if getattr(args, flag) != value:
      raise errors.ConfigError(f'--{flag}={getattr(args, flag)}: expected without --stream')


def Run(model: Any, args: Any, tell: Any) -> int:
  """Transcribes standard input or a file while it is read; returns the exit code.

  Args:
    model: A Model.
    args: The flags of tools.transcribe.
    tell: Called with a line for standard error.

  Raises:
    errors.ConfigError: The run cannot stream, or the sound is none.
  """
  given = {name: getattr(args, name) for name in ('step_seconds', 'endpoint_seconds')}
  stream = model.stream(**{name: value for name, value in given.items() if value is not None})
  timer = _Timer()
  pipe = live_input.Pipe(sys.stdin.fileno())
  losses = audio_frames.Losses()
  show = _Json() if args.format == 'json' else _Terminal() if sys.stdout.isatty() else _Lines()

  def _Stop(signum: int, _: Any) -> None:
    if pipe.stopped:
      raise KeyboardInterrupt(signum)
    pipe.Stop()

  with interrupts.HandledBy(_Stop), stream:
    (name,) = args.audio
    if name == recordings_lib.STDIN:
      rate, channels, pieces = live_input.Pieces(pipe, args.rate)
      sound: Iterable[tuple[np.ndarray, int]] = _Whole(pieces, rate, channels)
    else:
      blocks = audio.Stream(name, 3600 * args.max_hours, losses)
      sound = ((block, audio_format.SAMPLE_RATE) for block in blocks)
    try:
      for samples, rate in sound:
        if pipe.stopped:
          break
        for piece in _Cut(samples, rate, stream.step_seconds):
          show.Events(timer.Accept(stream, piece, rate))
    except audio.Rejected as e:
      show.End()
      tell(f'{name}: {e.reason}: {e.detail}')
      return 1
    show.Events(stream.finish())
    show.End()
  if losses:
    tell(f'{name}: {losses}')
  tell(timer.Report(stream))
  return 0


def _Whole(pieces: Iterable[bytes], rate: int, channels: int) -> Iterator[tuple[np.ndarray, int]]:
  """Yields (samples int16 [n, channels], rate) of bytes that may be cut within a sample."""
  left = b''
  for data in pieces:
    data = left + data
    whole = len(data) - len(data) % (2 * channels)
    left = data[whole:]
    yield np.frombuffer(data[:whole], '<i2').reshape([-1, channels]).astype(np.int16), rate


def _Cut(samples: np.ndarray, rate: int, seconds: float) -> Iterator[np.ndarray]:
  """Yields samples in pieces of at most so many seconds, so that each piece costs one step of the model at most."""
  size = max(1, int(rate * seconds))
  for start in range(0, len(samples), size):
    yield samples[start : start + size]


class _Timer:
  """How long recognition takes."""

  def __init__(self) -> None:
    self._steps: list[float] = []  # Seconds of each step.
    self._began: float | None = None  # When the first piece came.
    self._first: tuple[float, float] | None = None  # Seconds heard until the first text, and passed.

  def Accept(self, stream: streaming.Stream, piece: np.ndarray, rate: int) -> list[stream_events.Event]:
    """Hears a piece; returns its events."""
    start, steps = time.perf_counter(), stream.steps
    self._began = self._began or start
    events = stream.accept(piece, rate)
    end = time.perf_counter()
    if stream.steps > steps:
      self._steps.append(end - start)
    if self._first is None and events:
      self._first = stream.seconds, end - self._began
    return events

  def Report(self, stream: streaming.Stream) -> str:
    """Returns a line on latency and speed."""
    heard = max(stream.seconds, 1e-9)
    line = f'{stream.seconds:.1f} s heard'
    if self._steps:
      middle, high = np.percentile(self._steps, [50, 90]) * 1000
      line += f', real-time factor {sum(self._steps) / heard:.3f}; {stream.step_seconds * 1000:.0f} ms of speech take '
      line += f'{middle:.1f} ms (median), {high:.1f} ms (90 %)'
    if self._first is not None:
      line += f'; first text after {self._first[0]:.2f} s of speech, {self._first[1]:.2f} s after it began to come'
    return line


class _Lines:
  """Final texts, one a line."""

  def Events(self, events: Iterable[stream_events.Event]) -> None:
    for event in events:
      self.Event(event)
    with errors.Writing('standard output'):
      sys.stdout.flush()

  def Event(self, event: stream_events.Event) -> None:
    if isinstance(event, stream_events.Final):
      print(event.text)

  def End(self) -> None:
    """Called after the last event."""


class _Json(_Lines):
  """Each event as a line of JSON."""

  def Event(self, event: stream_events.Event) -> None:
    print(event.to_json())


class _Terminal(_Lines):
  """Final texts, one a line, and below them the end of the partial one, which is written in place."""

  def Event(self, event: stream_events.Event) -> None:
    if isinstance(event, stream_events.Final):
      print(f'{_CLEAR}{event.text}')
    else:
      width = shutil.get_terminal_size().columns - 1
      text = event.text if len(event.text) <= width else '...' + event.text[3 - width :]
      print(f'{_CLEAR}{text}', end='')

  def End(self) -> None:
    print(_CLEAR, end='', flush=True)
