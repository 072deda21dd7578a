"""An iterator over batches that can start at any batch, and the tf.data options it needs."""

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

  def __init__(self, dataset_fn):
    """Creates the iterator in the current graph.

    Args:
      dataset_fn: Function from the number of the first batch, a scalar int64 tensor,
        to a tf.data.Dataset of NestedMaps.
    """
    self._start = tf.placeholder_with_default(tf.constant(0, tf.int64), [], 'start_batch')
    self._iterator = tf.data.make_initializable_iterator(dataset_fn(self._start))

  def Start(self, step, sess):
    """Starts the iterator at batch `step`."""
    with quiet.HoldStderr(_CHATTER):
      sess.run(self._iterator.initializer, {self._start: step})

  def GetNext(self):
    """Returns the next batch, a NestedMap."""
    return self._iterator.get_next()
