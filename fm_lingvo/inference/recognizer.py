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
from lingvo.core import cluster_factory
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.checkpoints import reader
from fm_lingvo.decoding import confidence
from fm_lingvo.decoding import search
from fm_lingvo.decoding import words as words_lib
from fm_lingvo.inference import transcript
from fm_lingvo.runtime import graph_memory
from fm_lingvo.runtime import quiet
from fm_lingvo.runtime import session
from fm_lingvo.utils import audio

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
    self._lock = threading.Lock()  # One batch at a time: it uses all cores, and its memory.
    with tf.Graph().as_default() as graph:
      self._inputs = Inputs()
      task, self._outputs = BuildGraph(run, *self._inputs)
      self._session = tf.Session(graph=graph, config=session.Config())
      Restore(self._session, task, run.checkpoint, run.averages)
    self._tokenizer = task.Head(run.head).tokenizer
    self._surfaces = self._tokenizer.surfaces
    self._calibration = confidence.Read(run.path, words_lib.MEASURES if beam_size > 1 else words_lib.OF_LABELS)
    self._frame_seconds = task.encoded_frame_samples / audio.SAMPLE_RATE

  def Recognize(self, waveforms: list[np.ndarray]) -> list[list[Hypothesis]]:
    """Transcribes one batch.

    Args:
      waveforms: List of int16 [S] at 16 kHz; lengths may differ.

    Returns:
      For each waveform a list of Hypothesis, best first.

    Raises:
      errors.ConfigError: The recogniser is closed.
    """
    num_samples = [len(w) for w in waveforms]
    batch = np.zeros([len(waveforms), max(num_samples)], np.float32)
    for row, waveform in zip(batch, waveforms):
      row[: len(waveform)] = waveform.astype(np.float32) / 32768.0
    with self._lock:
      if self._session is None:
        raise errors.ConfigError('the model is closed; load it again')
      out = self._session.run(self._outputs, dict(zip(self._inputs, (batch, num_samples))))
    return [self._Hypotheses(out, i) for i in range(len(waveforms))]

  def Close(self) -> None:
    """Frees the graph and the weights, after the batch that runs; may be called again."""
    with self._lock:
      if self._session is not None:
        self._session.close()
        graph_memory.ForgetGradients(self._session.graph)
      self._session = self._inputs = self._outputs = None

  def _Hypotheses(self, out, i):
    """Returns the hypotheses of row i of the graph's output, at most n_best."""
    places = np.flatnonzero(search.AreFound(out.scores[i])).tolist()
    every = words_lib.FoundOf(self._surfaces, out, i, places)
    found = []
    for k, hypothesis in zip(places, every):
      if k >= self._n_best:
        break
      evidence = words_lib.Evidence(hypothesis, every)
      probabilities = [round(self._calibration.Probability(e), 4) for e in evidence]
      words = _Timed(hypothesis.spans, probabilities, self._frame_seconds)
      text = self._tokenizer.DecodeIds(out.labels[i, k, : out.lengths[i, k]].tolist())
      found.append(Hypothesis(text, hypothesis.score, tuple(words)))
    return found


def Inputs() -> tuple[tf.Tensor, tf.Tensor]:
  """Returns placeholders (waveforms float32 [B, S] in [-1, 1], num_samples int32 [B])."""
  return (tf.placeholder(tf.float32, [None, None], 'waveforms'), tf.placeholder(tf.int32, [None], 'num_samples'))


def BuildGraph(run, waveforms, num_samples):
  """Builds a run's task for evaluation, and its decoding, in the current graph.

  Args:
    run: A load_run.Run.
    waveforms: float32 [B, S] in [-1, 1]; samples after num_samples are ignored.
    num_samples: int32 [B].

  Returns:
    (task, hypotheses): a HydraTask, and the output of its head's Decode.
  """
  py_utils.GetOrCreateGlobalStepVar()
  # Plain TensorFlow does not know the ops of Lingvo's assertions.
  cluster = run.cluster.Copy().Set(do_eval=True, enable_asserts=False)
  with cluster_factory.Cluster(cluster):
    task = run.params.Instantiate()
    ((name, branch),) = task.branches
    batch = py_utils.NestedMap({branch.stream: py_utils.NestedMap(waveforms=waveforms, num_samples=num_samples)})
    return task, task.Decode(batch)[name]


def Restore(sess, task, checkpoint: str, averages: bool = True) -> None:
  """Restores the variables of a session's graph.

  Args:
    sess: Session of the graph that `task` was built in.
    task: A HydraTask.
    checkpoint: Prefix of the checkpoint's files.
    averages: See reader.Checkpoint.

  Raises:
    errors.ConfigError: The checkpoint lacks a variable, has one of another shape, or was made with another front end
      or tokenizer.
  """
  variables = {v.op.name: v for v in task.vars.Flatten()}
  sess.run(tf.global_variables_initializer())
  reader.Match(reader.Checkpoint(checkpoint, averages), variables).Restore(task, sess)
