"""Back-pointers of a beam search: a step adds a row for each new label, which points to the row of the label before.

A step then copies one number per hypothesis, however many labels it has.

B: utterances, K: hypotheses, L: labels of a hypothesis, P: rows of an utterance.
"""

from lingvo import compat as tf
from lingvo.core import py_utils

_FIELDS = 4  # Of a row: the row before it, label, frame, and the bits of the label's score.


def Start(batch, beam_size, max_steps):
  """Returns the log of hypotheses before their first labels: NestedMap of step, last int32 [B, K], and rows.

  Args:
    batch: B, an int or a scalar.
    beam_size: int, K.
    max_steps: How often Append may be called, an int or a scalar.
  """
  size = max_steps + 1
  shape = [batch, beam_size, _FIELDS]
  known = [x if isinstance(x, int) else None for x in shape]
  rows = tf.TensorArray(tf.int32, size=size, element_shape=known, clear_after_read=False)
  roots = tf.tile(tf.range(beam_size)[tf.newaxis], [batch, 1])  # [B, K]: rows below K are hypotheses at the start.
  first = tf.pad(roots[..., tf.newaxis], [[0, 0], [0, 0], [0, _FIELDS - 1]])  # A root is the row before itself.
  return py_utils.NestedMap(step=tf.ones([], tf.int32), last=roots, rows=rows.write(0, first))


def Append(log, parents, labels, frames, label_scores, emit):
  """Returns the log of new hypotheses, which continue others.

  Args:
    log: See Start.
    parents: int32 [B, K], the hypothesis that each one continues.
    labels: int32 [B, K], what each one adds.
    frames: int32 [B, 1], where.
    label_scores: float32 [B, K].
    emit: bool [B, K], whether it adds a label.
  """
  beam_size = py_utils.GetShape(log.last)[1]
  before = tf.gather(log.last, parents, batch_dims=1)
  here = log.step * beam_size + tf.range(beam_size)  # [K]
  row = [before, labels, tf.broadcast_to(frames, tf.shape(labels)), tf.bitcast(label_scores, tf.int32)]
  return py_utils.NestedMap(
    step=log.step + 1, last=tf.where_v2(emit, here, before), rows=log.rows.write(log.step, tf.stack(row, axis=-1))
  )


def Labels(log, lengths, max_labels):
  """Returns what the log has for each label of the hypotheses, and where they began.

  Args:
    log: See Start.
    lengths: int32 [B, K], number of labels, with those that the hypotheses had at the start of the log.
    max_labels: L, an int or a scalar.

  Returns:
    (dict of labels int32, frames int32 and label_scores float32 [B, K, L], 0 where there is none: label number i is at
    i % L; ancestors int32 [B, K], which of the hypotheses at the start of the log each one continues).
  """
  batch, beam_size = py_utils.GetShape(log.last)
  table = _Written(log.rows, log.step, log.rows.element_shape)  # [steps, B, K, 4]
  table = tf.reshape(tf.transpose(table, [1, 0, 2, 3]), [batch, -1, _FIELDS])  # [B, P, 4]
  found = tf.TensorArray(tf.int32, size=max_labels + 1, element_shape=log.rows.element_shape)

  def _Back(step, last, counts, found):
    row = tf.gather(table, last, batch_dims=1)  # [B, K, 4]
    return step + 1, row[..., 0], counts + tf.cast(last >= beam_size, tf.int32), found.write(step, row)

  steps, ancestors, counts, found = tf.while_loop(
    lambda step, last, counts, found: (step < 1) | tf.reduce_any(last >= beam_size),
    _Back,
    [tf.zeros([], tf.int32), log.last, tf.zeros_like(log.last), found],
    maximum_iterations=max_labels + 1,
  )
  backwards = tf.transpose(_Written(found, steps, log.rows.element_shape), [1, 2, 0, 3])  # [B, K, steps, 4]
  first = (lengths - counts)[..., tf.newaxis]
  number = (tf.range(max_labels) - first) % max_labels  # [B, K, L], in the order of emission.
  exists = number < counts[..., tf.newaxis]
  place = tf.where_v2(exists, counts[..., tf.newaxis] - 1 - number, 0)
  rows = tf.where_v2(exists[..., tf.newaxis], tf.gather(backwards, place, batch_dims=2), 0)
  found = dict(labels=rows[..., 1], frames=rows[..., 2], label_scores=tf.bitcast(rows[..., 3], tf.float32))
  return found, ancestors


def _Written(array, count, shape):
  """Returns the first `count` elements of a TensorArray; all of them where shapes are static, as XLA needs it."""
  return array.stack() if shape.is_fully_defined() else array.gather(tf.range(count))
