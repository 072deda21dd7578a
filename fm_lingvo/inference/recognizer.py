"""A trained run as a recogniser: waveforms -> transcripts, with the run's weights and tokenizer.

B: utterances, S: samples (16 kHz), N: encoded frames, K: hypotheses, L: labels of a hypothesis, V: vocabulary with
blank.
"""

import contextlib
import threading
from collections.abc import Iterator

import numpy as np
from absl import flags
from absl import logging
from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.decoding import confidence
from fm_lingvo.decoding import search
from fm_lingvo.decoding import words as words_lib
from fm_lingvo.inference import decoding_graph
from fm_lingvo.inference import encoded_parts
from fm_lingvo.inference import stream_graph
from fm_lingvo.inference import transcript
from fm_lingvo.runtime import graph_memory
from fm_lingvo.runtime import quiet
from fm_lingvo.runtime import session
from fm_lingvo.utils import audio

CLOSED = stream_graph.CLOSED
_HOW_TO_STREAM = 'train a run with the knob streaming = True, such as asr.StreamingSupervised (docs/streaming.md)'

Word = transcript.Word
Hypothesis = transcript.Hypothesis


def Start() -> None:
  """Puts TensorFlow and Lingvo into graph mode and silences Lingvo's log; call it first."""
  py_utils.SetEagerMode(False)
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(['inference'])  # Lingvo reads its flags; all keep their defaults.
  logging.set_verbosity(logging.ERROR)
  _FindDevices()


def _FindDevices():
  """Finds the devices that Lingvo's cluster asks for."""
  with quiet.HoldStderr():  # Without a GPU, TensorFlow 2.21 says so here, regardless of TF_CPP_MIN_LOG_LEVEL.
    tf.config.list_logical_devices()


@contextlib.contextmanager
def GraphMode() -> Iterator[None]:
  """Context in which Lingvo builds graphs as after Start; afterwards the process is as before."""
  eager, verbosity, parsed = py_utils.IsEagerMode(), logging.get_verbosity(), flags.FLAGS.is_parsed()
  seeds = py_utils._STEP_SEED_DICT.dict  # A tensor for each graph, which keeps the graph in memory.
  graphs = set(seeds)
  py_utils.SetEagerMode(False, test_mode=True)  # Lingvo's own flag: a graph that is entered is no eager mode anyway.
  logging.set_verbosity(logging.ERROR)
  if not parsed:
    flags.FLAGS(['inference'])
  _FindDevices()
  try:
    with tf.Graph().as_default():
      yield
  finally:
    for graph in set(seeds) - graphs:
      del seeds[graph]
    if not parsed:
      flags.FLAGS.unparse_flags()
    logging.set_verbosity(verbosity)
    py_utils.SetEagerMode(eager, test_mode=True)


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

  def __init__(self, run, n_best: int = 1):
    """Builds the graph and restores the weights.

    Args:
      run: A load_run.Run.
      n_best: Number of hypotheses to return, from 1 to the beam size.

    Raises:
      errors.ConfigError: n_best is out of range, or the checkpoint lacks variables or was made with another front end
        or tokenizer.
    """
    head = run.params.heads.Get(run.head)
    beam_size = head.beam_size if 'beam_size' in head else 1
    if not 1 <= n_best <= beam_size:
      raise errors.ConfigError(f'n_best = {n_best}: expected 1 to {beam_size}, the beam size; set beam_size, too')
    self._n_best = n_best
    self._run = run
    self._lock = threading.Lock()  # One batch at a time: it uses all cores, and its memory.
    graph, self._inputs, self._task, self._encoded, self._searched, self._outputs = decoding_graph.New(run)
    with graph.as_default():
      self._session = tf.Session(graph=graph, config=session.Config())
      decoding_graph.Restore(self._session, self._task, run.Weights())
    self._tokenizer = self._task.Head(run.head).tokenizer
    self._surfaces = self._tokenizer.surfaces
    # Where one hypothesis alone was found, there is nothing to compare it with.
    self._calibrations = {
      several: confidence.Read(run.path, words_lib.MEASURES if several else words_lib.OF_LABELS)
      for several in (False, True)
    }
    self._frame_seconds = self._task.encoded_frame_samples / audio.SAMPLE_RATE
    self._engines: dict[tuple[int, int], stream_graph.Engine] = {}  # (beam size, frames of a step) ->

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
      if self._session is None:
        raise errors.ConfigError(CLOSED)
      parts = (dict(zip(self._inputs, part)) for part in encoded_parts.Parts(waveforms))
      encoded = encoded_parts.Joined([self._session.run(self._encoded, part) for part in parts])
      out = self._session.run(self._outputs, {self._searched[key]: value for key, value in encoded.items()})
    return [self._Hypotheses(out, i) for i in range(len(waveforms))]

  def WhyNoStream(self) -> str:
    """Returns why the run cannot recognise speech while it is heard, '' if it can."""
    return stream_graph.WhyNot(self._task, self._run.head) if self._task is not None else CLOSED

  def StreamEngine(self, beam_size: int | None, step_seconds: float, build: bool) -> stream_graph.Engine | None:
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
    why = self.WhyNoStream()
    if why:
      raise errors.ConfigError(why if why == CLOSED else f'{self._run.path}: {why}; {_HOW_TO_STREAM}')
    least = self._task.encoder.stream_frames
    key = beam_size, least * max(1, round(step_seconds / (least * self._frame_seconds)))
    if build and key not in self._engines:
      sess = self._session
      with sess.graph.as_default(), decoding_graph.Cluster(self._run):
        engine = stream_graph.Engine(self._task, self._run.head, *key, self._Text, self._Best)
      engine.Start(sess)
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
    probabilities = [round(calibration.Probability(e), 4) for e in words_lib.Evidence(found, every)]
    words = _Timed(found.spans, probabilities, self._frame_seconds)
    return Hypothesis(self._tokenizer.DecodeIds(labels), found.score, tuple(words))

  def Close(self) -> None:
    """Frees the graph and the weights, after the batch and the steps that run; may be called again."""
    with self._lock:
      for engine in self._engines.values():
        engine.Close()
      self._engines = {}
      self._task = None
      if self._session is not None:
        self._session.close()
        graph_memory.ForgetGradients(self._session.graph)
      self._session = self._inputs = self._encoded = self._searched = self._outputs = None

  def _Hypotheses(self, out, i):
    """Returns the hypotheses of row i of the graph's output, at most n_best."""
    places = np.flatnonzero(search.AreFound(out.scores[i])).tolist()
    every = words_lib.FoundOf(self._surfaces, out, i, places)
    found = []
    for k, hypothesis in zip(places, every):
      if k >= self._n_best:
        break
      labels = out.labels[i, k, : out.lengths[i, k]].tolist()
      found.append(self._Hypothesis(labels, hypothesis, every))
    return found
