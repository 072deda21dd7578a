"""Streaming recognition: audio is recognised while it arrives.

  with model.stream() as stream:
    for samples in microphone:
      for event in stream.accept(samples, 16000):
        print(event.text)
    print(stream.finish())

The samples are processed in steps of a fixed length: a step is one call of the model, which continues from the state of
the step before. So the result does not depend on the sizes of the chunks in which the samples arrive.

C: encoded frames of a step, K: hypotheses, n: samples at 16 kHz.
"""

import dataclasses
import math
import threading
from collections.abc import Iterable
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import numpy as np

from fm_lingvo import errors
from fm_lingvo.audio import live
from fm_lingvo.audio import rejection
from fm_lingvo.inference import stream_events
from fm_lingvo.inference import transcript as transcript_lib
from fm_lingvo.utils import audio as audio_format

STEP_SECONDS = 0.16
ENDPOINT_SECONDS = 0.8
_PCM = 2  # Bytes of a sample.


@dataclasses.dataclass
class _Found:
  """A hypothesis: its labels since the last final, and the encoded frames of the stream at which they were emitted."""

  labels: list[int] = dataclasses.field(default_factory=list)
  frames: list[int] = dataclasses.field(default_factory=list)
  label_scores: list[float] = dataclasses.field(default_factory=list)
  score: float = 0.0  # Relative to that of the best one.
  final: float = 0.0  # Added to the score if the utterance ends here.

  def Extended(self, labels: np.ndarray, frames: np.ndarray, label_scores: np.ndarray) -> '_Found':
    """Returns the hypothesis with further labels [any number]."""
    return dataclasses.replace(
      self,
      labels=self.labels + labels.tolist(),
      frames=self.frames + frames.tolist(),
      label_scores=self.label_scores + label_scores.tolist(),
    )

  def After(self, other: '_Found') -> '_Found | None':
    """Returns the hypothesis without its first labels, those of `other`; None if it does not begin with them."""
    size = len(other.labels)
    if self.labels[:size] != other.labels:
      return None
    return dataclasses.replace(
      self, labels=self.labels[size:], frames=self.frames[size:], label_scores=self.label_scores[size:]
    )


class Stream:
  """Audio that is recognised while it arrives; model.stream() makes one.

  Each stream has its own state: a model may have many at once, in several threads. A single stream processes its
  chunks one after the other.
  """

  def __init__(self, engine: Any, endpoint_seconds: float | None, reset: bool, language: str | None = None) -> None:
    """Use model.stream.

    Args:
      engine: A stream_graph.Engine.
      endpoint_seconds: See model.stream.
      reset: See model.stream.
      language: The model's.
    """
    self._engine, self._reset, self._language = engine, reset, language
    self._endpoint = math.inf if endpoint_seconds is None else endpoint_seconds
    self._lock = threading.RLock()
    self._resampler = live.Resampler()
    self._odd_byte = b''  # The first byte of a sample whose second one has not arrived yet.
    self._pending = np.zeros([0], np.int16)  # Samples from encoded frame `_frames` on.
    self._num_samples = 0
    self._frames = 0  # Encoded frames so far.
    self._steps = 0
    self._is_finished = False
    self._finals: list[stream_events.Final] = []
    self._shown = ''  # Text of the last partial.
    self._score = 0.0  # Log-probability of the best hypothesis.
    self._final_score = 0.0  # Of that, what the finals have.
    self._Start()

  def _Start(self) -> None:
    """Sets the initial state of encoder and decoder, with one empty hypothesis."""
    self._state = self._engine.ZeroState()
    self._found: list[_Found | None] = [_Found()]  # By hypothesis of the state, best first; None: there is none.

  def accept(self, samples: Any, sampling_rate: int) -> list[stream_events.Event]:
    """Takes the next chunk of audio, of any length.

    Args:
      samples: [n] or [n, channels] of int16, or of float in -1 to 1; or bytes: int16 in little-endian order of one
        channel, where a chunk may end within a sample. Channels become one 0.1 s later: their mean, or one of them
        where they cancel each other.
      sampling_rate: Hz, the same for all chunks.

    Returns:
      The new events, Partial and Final, in order; often none.

    Raises:
      errors.ConfigError: The samples or the rate are of another kind, the stream has ended, or the model is closed.
      errors.AudioError: Samples are no numbers, or far beyond -1 to 1.
    """
    with self._lock:
      self._CheckOpen()
      if isinstance(samples, bytes | bytearray | memoryview):
        samples = self._Samples(bytes(samples))
      try:
        return self._Feed(self._resampler.Push(samples, sampling_rate))
      except rejection.Rejected as e:
        raise errors.AudioError('stream', e.reason, e.detail) from e

  def finish(self) -> list[stream_events.Event]:
    """Ends the stream.

    Returns:
      The last events; none if the stream has ended before.

    Raises:
      errors.ConfigError: The model is closed.
    """
    with self._lock:
      if self._is_finished:
        return []
      events = self._Feed(self._resampler.Finish())
      frames = self._engine.FramesOf(len(self._pending))
      if frames:
        padded = np.pad(self._pending, [0, self._engine.window_samples - len(self._pending)])
        events += self._Step(padded, frames)
      self._is_finished = True
      self._AddFinal()
      return events + self._End()

  def transcript(self) -> transcript_lib.Transcript:
    """The transcript of all Finals so far; after finish(), of the whole stream."""
    with self._lock:
      words = tuple(word for final in self._finals for word in final.words)
      text = ' '.join(final.text for final in self._finals)
      score = self._score if self._is_finished else self._final_score
      return transcript_lib.Transcript('', self.seconds, text, score, words, 1, language=self._language)

  @property
  def seconds(self) -> float:
    """Seconds of audio so far."""
    return self._num_samples / audio_format.SAMPLE_RATE

  @property
  def steps(self) -> int:
    """Number of steps so far: calls of the model."""
    return self._steps

  @property
  def step_seconds(self) -> float:
    """Seconds of audio in a step, a whole number of encoded frames."""
    return self._engine.step_samples / audio_format.SAMPLE_RATE

  @property
  def latency(self) -> float:
    """Algorithmic latency: seconds of audio that must follow a sample before its frame is computed, at most."""
    return self._engine.window_samples / audio_format.SAMPLE_RATE

  def close(self) -> None:
    """Ends the stream without its last events, and frees its state."""
    with self._lock:
      self._is_finished = True
      self._state = None

  def __enter__(self) -> 'Stream':
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    self.close()

  def _CheckOpen(self) -> None:
    if self._is_finished:
      raise errors.ConfigError('the stream has ended; start another one with model.stream()')

  def _Samples(self, data: bytes) -> np.ndarray:
    """Returns whole samples; keeps a byte that begins another one."""
    data = self._odd_byte + data
    whole = len(data) // _PCM * _PCM
    self._odd_byte = data[whole:]
    return np.frombuffer(data[:whole], '<i2').astype(np.int16)

  def _Feed(self, samples: np.ndarray) -> list[stream_events.Event]:
    """Adds samples int16 [n], and recognises all complete steps."""
    self._num_samples += len(samples)
    self._pending = np.concatenate([self._pending, samples])
    events: list[stream_events.Event] = []
    window, step = self._engine.window_samples, self._engine.step_samples
    while len(self._pending) >= window:
      events += self._Step(self._pending[:window], self._engine.step_frames)
      self._pending = self._pending[step:]
    return events

  def _Step(self, samples: np.ndarray, frames: int) -> list[stream_events.Event]:
    """Recognises the next `frames` <= C encoded frames, those of the samples of a step."""
    out, self._state = self._engine.Step(samples, frames, self._state)
    self._steps += 1
    before, self._found = self._found, []
    for k, count in enumerate(out.counts):
      found = before[out.ancestors[k]] if out.exists[k] else None
      if found is not None:
        found = found.Extended(out.labels[k, :count], out.frames[k, :count] + self._frames, out.label_scores[k, :count])
        found.score, found.final = float(out.scores[k]), float(out.final[k])
      self._found.append(found)
    self._score += float(out.score)
    self._frames += frames
    best = self._found[0]
    assert best is not None, 'the first hypothesis always exists'
    if best.frames and (self._frames - best.frames[-1] - 1) * self._engine.frame_seconds >= self._endpoint:
      if self._reset:
        self._AddFinal()
      return self._End()
    text, words = self._engine.Text(best.labels, best.frames)
    if text == self._shown:
      return []
    self._shown = text
    return [stream_events.Partial(text, words, *self._Times(words))]

  def _AddFinal(self) -> None:
    """Adds the final scores, such as those of a language model's end of sentence, and sorts the hypotheses by score."""
    every = [f for f in self._found if f is not None]
    for found in every:
      found.score += found.final
    every.sort(key=lambda f: f.score, reverse=True)
    self._score += every[0].score
    self._found = [*every]

  def _End(self) -> list[stream_events.Event]:
    """Makes the words of the best hypothesis final; drops all hypotheses that do not begin with its labels."""
    every = [f for f in self._found if f is not None]
    best = every[0]
    found = self._engine.Best([(f.labels, f.frames, f.label_scores, f.score) for f in every])
    if self._reset:
      self._Start()
    else:
      self._found = [f and f.After(best) for f in self._found]
      self._state = self._engine.Keep(self._state, [k for k, f in enumerate(self._found) if f is not None])
    shown, self._shown = self._shown, ''
    if not found.words:
      return [stream_events.Partial('', (), *self._Times(()))] if shown else []
    final = stream_events.Final(found.text, found.words, *self._Times(found.words), self._score - self._final_score)
    self._final_score = self._score
    self._finals.append(final)
    return [final]

  def _Times(self, words: tuple[transcript_lib.Word, ...]) -> tuple[float, float]:
    """Returns start and end of words in seconds, now if there are none."""
    if words:
      return words[0].start, words[-1].end
    now = round(self._frames * self._engine.frame_seconds, 3)
    return now, now


def Events(stream: Stream, chunks: Iterable[Any], sampling_rate: int | None) -> Iterator[stream_events.Event]:
  """Yields the events of a stream of chunks, each samples or (samples, sampling_rate), see model.transcribe_stream."""
  with stream:
    for chunk in chunks:
      samples, rate = chunk if isinstance(chunk, tuple) else (chunk, sampling_rate)
      if rate is None:
        raise errors.ConfigError('a chunk without a sampling rate; set sampling_rate')
      yield from stream.accept(samples, rate)
    yield from stream.finish()
