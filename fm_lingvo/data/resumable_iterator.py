"""An iterator over batches that can start at any batch, in graph and eager mode, and the tf.data options it needs."""

from lingvo import compat as tf

from fm_lingvo.runtime import quiet

# What the SentencePiece of tensorflow_text says of each model that does not normalise; it has no log level to be set.
_CHATTER = b'precompiled_charsmap is empty'


def Options():
  """Returns tf.data.Options for datasets of batches: deterministic order, no autotuning.

  The autotuning thread wakes up less and less often, up to once a minute, and an iterator is not destroyed before it
  does. Evaluations, which recreate their iterators, and the end of a run would wait for it. Nothing needs tuning, since
  the numbers of parallel calls are fixed or one per core.
  """
  options = tf.data.Options()
  options.deterministic = True
  options.autotune.enabled = False
  return options


class BatchIterator:
  """Iterates over the batches of a dataset, starting at any batch number."""

  def __init__(self, dataset_fn, start_step):
    """Creates the iterator; in eager mode also starts it.

    Args:
      dataset_fn: Function from the number of the first batch, a scalar int64 tensor,
        to a tf.data.Dataset of NestedMaps.
      start_step: Number of the first batch of an eager iterator, int.
    """
    self._eager = tf.executing_eagerly_outside_functions()
    self._dataset_fn = dataset_fn
    if not self._eager:
      self._start = tf.placeholder_with_default(tf.constant(0, tf.int64), [], 'start_batch')
      dataset = dataset_fn(self._start)
      self._iterator = tf.data.make_initializable_iterator(dataset)
      return
    # Raw ops: Start must not replace the handle that a tf.function captured.
    self._spec = dataset_fn(tf.constant(0, tf.int64)).element_spec
    self._types = [s.dtype for s in tf.nest.flatten(self._spec)]
    self._shapes = [s.shape for s in tf.nest.flatten(self._spec)]
    self._handle = tf.raw_ops.AnonymousIteratorV3(output_types=self._types, output_shapes=self._shapes)
    self.Start(start_step)

  def Start(self, step, sess=None):
    """Starts the iterator at batch `step`."""
    if not self._eager:
      with quiet.HoldStderr(_CHATTER):
        sess.run(self._iterator.initializer, {self._start: step})
      return
    dataset = self._dataset_fn(tf.constant(step, tf.int64))
    tf.raw_ops.MakeIterator(dataset=tf.data.experimental.to_variant(dataset), iterator=self._handle)

  def GetNext(self):
    """Returns the next batch, a NestedMap."""
    if not self._eager:
      return self._iterator.get_next()
    tensors = tf.raw_ops.IteratorGetNext(iterator=self._handle, output_types=self._types, output_shapes=self._shapes)
    return tf.nest.pack_sequence_as(self._spec, tensors)
