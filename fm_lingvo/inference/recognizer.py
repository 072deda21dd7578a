"""A trained run as a recogniser: waveforms -> transcripts, with the run's weights and tokenizer.

B: utterances, S: samples (16 kHz), N: encoded frames, K: hypotheses, L: labels of a hypothesis, V: vocabulary with
blank.
"""

import os
import threading
from typing import TYPE_CHECKING

import numpy as np

from fm_lingvo import errors
from fm_lingvo.decoding import confidence
from fm_lingvo.decoding import existence
from fm_lingvo.decoding import joined
from fm_lingvo.decoding import words as words_lib
from fm_lingvo.inference import encoded_parts
from fm_lingvo.inference import session_graph
from fm_lingvo.inference import transcript
from fm_lingvo.runtime import graph_memory
from fm_lingvo.utils import audio

if TYPE_CHECKING:
  from fm_lingvo.inference import run as run_lib
  from fm_lingvo.inference import stream_graph

CLOSED = session_graph.CLOSED
_PLACES = 4  # Of a word's probability.
_HOW_TO_STREAM = 'train a run with the knob streaming = True, such as asr.StreamingSupervised (docs/streaming.md)'

Word = transcript.Word
Hypothesis = transcript.Hypothesis


def Words(surfaces, labels, frames, frame_seconds: float) -> list[Word]:
  """Splits labels into words.

  Args:
    surfaces: List [V] of bytes: tokenizer.Tokenizer.surfaces.
    labels: Iterable of ints.
    frames: The encoded frame at which each label was emitted.
    frame_seconds: Seconds per encoded frame.

  Returns:
    List of Word. A word starts with the frame of its first label. It ends with the frame of its last label, or earlier
    if the next word starts in that frame.
  """
  spans = words_lib.Spans(surfaces, labels, frames)
  return _Timed(spans, [None] * len(spans), frame_seconds)


def _Timed(spans, probabilities, frame_seconds):
  """Returns the Word of each words.Span."""
  words = []
  for i, (span, probability) in enumerate(zip(spans, probabilities)):
    first, last = span.frames
    end = last + 1
    if i + 1 < len(spans) and first < spans[i + 1].frames[0]:
      end = min(end, spans[i + 1].frames[0])
    words.append(Word(span.text, round(first * frame_seconds, 3), round(end * frame_seconds, 3), probability))
  return words


class Recognizer:
  """A graph and a session that transcribe waveforms with a run's weights; threads may share it."""

  def __init__(self, run: 'run_lib.Run', n_best: int = 1, graph: session_graph.SessionGraph | None = None):
    """Builds the graph and restores the weights.

    Args:
      run: The run, see load_run.Load.
      n_best: Number of hypotheses to return, from 1 to the beam size.
      graph: Its graph with the weights, if there is one already (kept_graphs.py).

    Raises:
      errors.ConfigError: n_best is out of range, or the checkpoint lacks variables or was made with another front end
        or tokenizer.
    """
    if not 1 <= n_best <= run.beam_size:
      raise errors.ConfigError(f'n_best = {n_best}: expected 1 to {run.beam_size}, the beam size; set beam_size, too')
    if graph is None:
      from fm_lingvo.inference import decoding_graph  # Imports Lingvo's layers, which a kept graph does not need.

      graph = decoding_graph.Start(run)
    self._n_best = n_best
    self._run = run
    self._lock = threading.Lock()  # One batch at a time: it uses all cores, and its memory.
    self._graph: session_graph.SessionGraph | None = graph
    self._tokenizer = graph.tokenizer
    self._surfaces = self._tokenizer.surfaces
    # Adapters from a folder come with a decoder, and so with a calibration, of their own.
    calibrated = os.path.dirname(run.adapter_file) if run.adapter_file else run.path
    # Where one hypothesis alone was found, there is nothing to compare it with.
    self._calibrations = {
      several: confidence.Read(calibrated, words_lib.MEASURES if several else words_lib.OF_LABELS)
      for several in (False, True)
    }
    self._frame_seconds = graph.frame_samples / audio.SAMPLE_RATE
    self._engines: dict[tuple[int | None, int], stream_graph.Engine] = {}  # (beam size, frames of a step) ->

  @property
  def graph(self) -> session_graph.SessionGraph | None:
    """The graph and its session; None: the recogniser is closed."""
    return self._graph

  def Recognize(self, waveforms: list[np.ndarray]) -> list[list[Hypothesis]]:
    """Transcribes one batch.

    Args:
      waveforms: List of int16 [S] at 16 kHz; lengths may differ.

    Returns:
      For each waveform a list of Hypothesis, best first.

    Raises:
      errors.ConfigError: The recogniser is closed.
    """
    with self._lock:
      graph = self._graph
      if graph is None:
        raise errors.ConfigError(CLOSED)
      parts = (dict(zip(graph.inputs, part)) for part in encoded_parts.Parts(waveforms))
      encoded = joined.Joined([graph.session.run(graph.encoded, part) for part in parts])
      out = graph.session.run(graph.outputs, {graph.searched[key]: value for key, value in encoded.items()})
    return [self._Hypotheses(out, i) for i in range(len(waveforms))]

  def WhyNoStream(self) -> str:
    """Returns why the run cannot do streaming recognition, '' if it can."""
    return self._graph.why_no_stream if self._graph is not None else CLOSED

  def StreamEngine(self, beam_size: int | None, step_seconds: float, build: bool) -> 'stream_graph.Engine | None':
    """Returns what runs the steps of streams.

    Args:
      beam_size: Hypotheses, >= 1; None: the head's.
      step_seconds: Seconds of a step, > 0, rounded to whole encoded frames, or to whole chunks of the attention.
      build: Whether to build its graph if there is none yet, in GraphMode and in one thread at a time.

    Returns:
      The engine; None: there is none yet.

    Raises:
      errors.ConfigError: The run cannot stream, the head has no such beam, or the recogniser is closed.
    """
    graph = self._graph
    if graph is None:
      raise errors.ConfigError(CLOSED)
    if graph.why_no_stream:
      raise errors.ConfigError(f'{self._run.path}: {graph.why_no_stream}; {_HOW_TO_STREAM}')
    least = graph.task.encoder.stream_frames
    key = beam_size, least * max(1, round(step_seconds / (least * self._frame_seconds)))
    if build and key not in self._engines:
      from fm_lingvo.inference import decoding_graph
      from fm_lingvo.inference import stream_graph

      with graph.session.graph.as_default(), decoding_graph.Cluster(self._run):
        engine = stream_graph.Engine(graph.task, self._run.head, *key, self._Text, self._Best)
      engine.Start(graph.session)
      self._engines[key] = engine
    return self._engines.get(key)

  def _Text(self, labels: list[int], frames: list[int]) -> tuple[str, tuple[Word, ...]]:
    """Returns the text of labels, and their words without probabilities."""
    return self._tokenizer.DecodeIds(labels), tuple(Words(self._surfaces, labels, frames, self._frame_seconds))

  def _Best(self, hypotheses: list[tuple[list[int], list[int], list[float], float]]) -> Hypothesis:
    """Returns the first of the hypotheses that a stream found: labels, frames, scores of labels, score."""
    every = [
      words_lib.Found(score, scores, words_lib.Spans(self._surfaces, labels, frames))
      for labels, frames, scores, score in hypotheses
    ]
    return self._Hypothesis(hypotheses[0][0], every[0], every)

  def _Hypothesis(self, labels, found, every):
    """Returns the Hypothesis of a words.Found, one of `every`, with its labels."""
    calibration = self._calibrations[len(every) > 1]
    probabilities = [round(calibration.Probability(e), _PLACES) for e in words_lib.Evidence(found, every)]
    words = _Timed(found.spans, probabilities, self._frame_seconds)
    return Hypothesis(self._tokenizer.DecodeIds(labels), found.score, tuple(words))

  def Close(self) -> None:
    """Frees the graph and the weights, after the batch and the steps that run; may be called again."""
    with self._lock:
      for engine in self._engines.values():
        engine.Close()
      self._engines = {}
      if self._graph is not None:
        self._graph.session.close()
        graph_memory.ForgetGradients(self._graph.session.graph)
      self._graph = None

  def _Hypotheses(self, out, i):
    """Returns the hypotheses of row i of the graph's output, at most n_best."""
    places = np.flatnonzero(existence.AreFound(out['scores'][i])).tolist()
    every = words_lib.FoundOf(self._surfaces, out, i, places)
    found = []
    for k, hypothesis in zip(places, every):
      if k >= self._n_best:
        break
      labels = out['labels'][i, k, : out['lengths'][i, k]].tolist()
      found.append(self._Hypothesis(labels, hypothesis, every))
    return found
