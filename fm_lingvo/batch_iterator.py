"""An iterator over batches that starts anew at any of them, in sessions and eagerly, and the tf.data options of its dataset."""

from fm_lingvo import quiet
from lingvo import compat as tf

# What the SentencePiece of tensorflow_text says of each model that does not normalise; it has no log level to be set.
_CHATTER = b'precompiled_charsmap is empty'


def Options():
  """tf.data.Options for datasets of batches: in a fixed order, and without autotuning.

  Its thread wakes ever less often, once a minute in the end, and holds up the end of an iterator until then: evaluations,
  which start theirs anew, and the end of a run waited for it. Numbers of parallel calls are fixed, or one for each core, so that
  nothing is left to be tuned.
  """
  options = tf.data.Options()
  options.deterministic = True
  options.autotune.enabled = False
  return options


class BatchIterator:
  """Batches of a dataset from any number on."""

  def __init__(self, dataset_fn, start_step):
    """Makes the iterator, in eager mode started.

    Args:
      dataset_fn: Function from the first batch's number, a scalar int64 tensor,
        to a tf.data.Dataset of NestedMaps.
      start_step: Where an eager iterator starts, int.
    """
    self._eager = tf.executing_eagerly_outside_functions()
    self._dataset_fn = dataset_fn
    if not self._eager:
      self._start = tf.placeholder_with_default(
          tf.constant(0, tf.int64), [], 'start_batch')
      dataset = dataset_fn(self._start)
      self._iterator = tf.data.make_initializable_iterator(dataset)
      return
    # Raw ops: Start must not replace the handle that a tf.function captured.
    self._spec = dataset_fn(tf.constant(0, tf.int64)).element_spec
    self._types = [s.dtype for s in tf.nest.flatten(self._spec)]
    self._shapes = [s.shape for s in tf.nest.flatten(self._spec)]
    self._handle = tf.raw_ops.AnonymousIteratorV3(
        output_types=self._types, output_shapes=self._shapes)
    self.Start(start_step)

  def Start(self, step, sess=None):
    """Makes batch `step` the next one."""
    if not self._eager:
      with quiet.HoldStderr(_CHATTER):
        sess.run(self._iterator.initializer, {self._start: step})
      return
    dataset = self._dataset_fn(tf.constant(step, tf.int64))
    tf.raw_ops.MakeIterator(
        dataset=tf.data.experimental.to_variant(dataset), iterator=self._handle)

  def GetNext(self):
    """Returns the next batch, a NestedMap."""
    if not self._eager:
      return self._iterator.get_next()
    tensors = tf.raw_ops.IteratorGetNext(
        iterator=self._handle,
        output_types=self._types,
        output_shapes=self._shapes)
    return tf.nest.pack_sequence_as(self._spec, tensors)
