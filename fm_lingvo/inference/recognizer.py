"""A trained run as a recogniser: its weights and its tokenizer, waveforms -> transcripts.

B: utterances, S: samples (16 kHz), N: encoded frames, K: hypotheses, L: labels of a
hypothesis, V: vocabulary with blank.
"""

import dataclasses

import numpy as np
from absl import flags
from absl import logging
from lingvo import compat as tf
from lingvo.core import cluster_factory
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.checkpoints import warm_start
from fm_lingvo.decoding import search
from fm_lingvo.layers import conformer_encoder
from fm_lingvo.runtime import session
from fm_lingvo.utils import suggest

_SAMPLES_PER_FRAME = 640  # Of an encoded frame, 40 ms.


@dataclasses.dataclass(frozen=True)
class Word:
  """A word and, in seconds, when its first label came and when its last one ended."""

  text: str
  start: float
  end: float


@dataclasses.dataclass(frozen=True)
class Hypothesis:
  """What may have been said, with its log-probability."""

  text: str
  score: float
  words: tuple


def Start():
  """Puts TensorFlow and Lingvo into graph mode, without Lingvo's log; call it first."""
  py_utils.SetEagerMode(False)
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(['inference'])  # Lingvo's, all at their defaults.
  logging.set_verbosity(logging.ERROR)


def Surfaces(tokenizer):
  """List [V] of the bytes that each label of a Tokenizer stands for in a text."""
  import sentencepiece

  processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model)

  def _Surface(label):
    piece = processor.id_to_piece(label)
    if processor.is_unknown(label):
      return processor.decode([label]).encode()  # A sign that the model chooses.
    if processor.is_control(label):
      return b''
    if processor.is_byte(label):  # <0x41>
      return bytes([int(piece[3:-1], 16)])
    return piece.replace('\u2581', ' ').encode()

  return [_Surface(label) for label in range(tokenizer.vocab_size)]


def Words(surfaces, labels, frames, frame_seconds):
  """Splits labels into words.

  Args:
    surfaces: What Surfaces returned.
    labels: Iterable of ints.
    frames: The encoded frame at which each label came.
    frame_seconds: Seconds from one encoded frame to the next.

  Returns:
    List of Word. A word begins with the frame of its first label and ends with that
    of its last, but not after the next word's beginning.
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
  """Graph and session that transcribe waveforms with a run's weights."""

  def __init__(self, run, n_best=1):
    """Builds the graph and restores the weights.

    Args:
      run: A load_run.Run.
      n_best: Hypotheses to return, >= 1 and at most as many as the beam holds.

    Raises:
      errors.ConfigError: The checkpoint lacks variables, or was made with another
        front end or tokenizer.
    """
    head = run.params.heads.Get(run.head)
    beam_size = head.beam_size if 'beam_size' in head else 1
    if not 1 <= n_best <= beam_size:
      raise errors.ConfigError(f'n_best = {n_best}: expected 1 to {beam_size}, the beam size; set beam_size, too')
    self._n_best = n_best
    with tf.Graph().as_default() as graph:
      self._inputs = Inputs()
      task, self._outputs = BuildGraph(run, *self._inputs)
      self._session = tf.Session(graph=graph, config=session.Config())
      Restore(self._session, task, run.checkpoint)
    self._tokenizer = task.Head(run.head).tokenizer
    self._surfaces = Surfaces(self._tokenizer)
    self._frame_seconds = run.params.frontend.mel.frame_step_ms / 1000 * conformer_encoder.SUBSAMPLING_FACTOR

  def Recognize(self, waveforms):
    """Transcribes one batch.

    Args:
      waveforms: List of int16 [S] at 16 kHz, of any lengths.

    Returns:
      List, one for each waveform, of lists of Hypothesis, the best first.
    """
    num_samples = [len(w) for w in waveforms]
    batch = np.zeros([len(waveforms), max(num_samples)], np.float32)
    for row, waveform in zip(batch, waveforms):
      row[: len(waveform)] = waveform.astype(np.float32) / 32768.0
    out = self._session.run(self._outputs, dict(zip(self._inputs, (batch, num_samples))))
    return [self._Hypotheses(out, i) for i in range(len(waveforms))]

  def _Hypotheses(self, out, i):
    """The hypotheses of row i of the graph's output; there may be fewer than were asked for."""
    found = []
    for k in np.flatnonzero(search.AreFound(out.scores[i, : self._n_best])):
      length = out.lengths[i, k]
      labels = out.labels[i, k, :length].tolist()
      words = Words(self._surfaces, labels, out.frames[i, k, :length].tolist(), self._frame_seconds)
      found.append(Hypothesis(self._tokenizer.DecodeIds(labels), float(out.scores[i, k]), tuple(words)))
    return found


def Inputs():
  """Placeholders (waveforms float32 [B, S] in [-1, 1], num_samples int32 [B])."""
  return (tf.placeholder(tf.float32, [None, None], 'waveforms'), tf.placeholder(tf.int32, [None], 'num_samples'))


def BuildGraph(run, waveforms, num_samples):
  """Builds a run's task for evaluation in the current graph, and decodes.

  Args:
    run: A load_run.Run.
    waveforms: float32 [B, S] in [-1, 1]; what lies past num_samples does not count.
    num_samples: int32 [B].

  Returns:
    (task, hypotheses): a HydraTask, and what SupervisedHead.Decode returns.
  """
  py_utils.GetOrCreateGlobalStepVar()
  # Lingvo's assertions are operations that plain TensorFlow does not know.
  cluster = run.cluster.Copy().Set(do_eval=True, enable_asserts=False)
  with cluster_factory.Cluster(cluster):
    task = run.params.Instantiate()
    size = tf.shape(waveforms)[1]
    num_samples = tf.minimum(num_samples, size)
    # Not a product: padding may be NaN.
    waveforms = tf.where_v2(tf.sequence_mask(num_samples, size), waveforms, 0.0)
    # At least one encoded frame, and no part of one.
    whole = tf.maximum(-(-size // _SAMPLES_PER_FRAME), 1) * _SAMPLES_PER_FRAME
    waveforms = tf.pad(waveforms, [[0, 0], [0, whole - size]])
    features = task.frontend.FProp(task.theta.frontend, waveforms, num_samples)
    head, theta = task.Head(run.head), task.theta[run.head]
    clean = head.Corrupt(theta, features.features, features.paddings)
    encoded, paddings = task.encoder.FProp(task.theta.encoder, clean.features, features.paddings)
    return task, head.Decode(theta, encoded, paddings)


def Restore(sess, task, checkpoint):
  """Restores the variables of a session's graph.

  Args:
    sess: Session of the graph that `task` was built in.
    task: A HydraTask.
    checkpoint: Prefix of the checkpoint's files.

  Raises:
    errors.ConfigError: It lacks a variable, has one of another shape, or was made
      with another front end or tokenizer.
  """
  found = warm_start.Checkpoint(checkpoint)
  variables = {v.op.name: v for v in task.vars.Flatten()}
  shapes = {name: shape for name, (_, shape) in found.weights.items()}
  sess.run(tf.global_variables_initializer())
  # Records first: another tokenizer says more than another size of the vocabulary.
  found.Load(
    {name: v for name, v in variables.items() if not v.trainable and shapes.get(name) == tuple(v.shape.as_list())}, sess
  )
  task.CheckRestored(sess, found.prefix)
  wrong = [
    f'{name} {v.shape.as_list()}' + (f' ({list(shapes[name])} there)' if name in shapes else '')
    for name, v in sorted(variables.items())
    if shapes.get(name) != tuple(v.shape.as_list())
  ]
  if wrong:
    raise errors.ConfigError(
      f'{found.prefix}: no value for {len(wrong)} of {len(variables)} variables: '
      f'{suggest.Some(wrong, 3)}; is it of this run?'
    )
  found.Load(variables, sess)
