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
from fm_lingvo.decoding import search
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


def Surfaces(tokenizer) -> list[bytes]:
  """Returns a list [V] of bytes: the text of each label of a Tokenizer."""
  import sentencepiece

  processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model)

  def _Surface(label):
    piece = processor.id_to_piece(label)
    if processor.is_unknown(label):
      return processor.decode([label]).encode()  # The model's own symbol for unknown characters.
    if processor.is_control(label):
      return b''
    if processor.is_byte(label):  # <0x41>
      return bytes([int(piece[3:-1], 16)])
    return piece.replace('\u2581', ' ').encode()

  return [_Surface(label) for label in range(tokenizer.vocab_size)]


def Words(surfaces, labels, frames, frame_seconds: float) -> list[Word]:
  """Splits labels into words.

  Args:
    surfaces: List of bytes that Surfaces returned.
    labels: Iterable of ints.
    frames: The encoded frame at which each label was emitted.
    frame_seconds: Seconds per encoded frame.

  Returns:
    List of Word. A word starts with the frame of its first label. It ends with the frame of its last label, or earlier
    if the next word starts in that frame.
  """
  spelled = []  # [bytes, first frame, last frame] of each word.
  open_word = False
  for label, frame in zip(labels, frames):
    for byte in surfaces[label]:
      if byte == ord(' '):
        open_word = False
      elif open_word:
        spelled[-1][0].append(byte)
        spelled[-1][2] = frame
      else:
        spelled.append([bytearray([byte]), frame, frame])
        open_word = True
  words = []
  for i, (text, first, last) in enumerate(spelled):
    end = last + 1
    if i + 1 < len(spelled) and first < spelled[i + 1][1]:
      end = min(end, spelled[i + 1][1])
    words.append(Word(text.decode(errors='replace'), round(first * frame_seconds, 3), round(end * frame_seconds, 3)))
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
      Restore(self._session, task, run.Weights())
    self._tokenizer = task.Head(run.head).tokenizer
    self._surfaces = Surfaces(self._tokenizer)
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
    found = []
    for k in np.flatnonzero(search.AreFound(out.scores[i, : self._n_best])):
      length = out.lengths[i, k]
      labels = out.labels[i, k, :length].tolist()
      words = Words(self._surfaces, labels, out.frames[i, k, :length].tolist(), self._frame_seconds)
      found.append(Hypothesis(self._tokenizer.DecodeIds(labels), float(out.scores[i, k]), tuple(words)))
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


def Restore(sess, task, checkpoint: reader.Checkpoint) -> None:
  """Restores the variables of a session's graph.

  Args:
    sess: Session of the graph that `task` was built in.
    task: A HydraTask.
    checkpoint: The weights, such as Run.Weights() of a load_run.Run.

  Raises:
    errors.ConfigError: The checkpoint lacks a variable, has one of another shape, or was made with another front end
      or tokenizer.
  """
  variables = {v.op.name: v for v in task.vars.Flatten()}
  sess.run(tf.global_variables_initializer())
  reader.Match(checkpoint, variables).Restore(task, sess)
