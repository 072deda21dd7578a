"""The input of language models: text files with one example per line -> padded batches of labels.

B: lines in a batch, U: labels in a padded row. B and U are fixed for each bucket, so that there is one batch shape per
bucket; with a single bucket the shape is static.
"""

import itertools

import numpy as np
from lingvo import compat as tf
from lingvo.core import batch_utils
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.data import base_input
from fm_lingvo.data import resumable_iterator
from fm_lingvo.data import stream_params
from fm_lingvo.data import tokenizer
from fm_lingvo.utils import ranges
from fm_lingvo.utils import text_lines


class TextInput(base_input.BaseInput):
  """Batches of text for a language model.

  A batch is a NestedMap of
    labels int32 [B, U], 0 beyond lengths int32 [B];
    num_chars int32 [B], the number of characters of each line;
    weights float32 [B], 0 in the empty rows of the last batches of an evaluation;
    dropped float32 [B], the number of lines that are too long for the last bucket, the same in every row.

  An epoch has every line once, in an order that depends only on seed and epoch. Lines that do not fill a batch at the
  end of an epoch come first in the next epoch; in evaluation such a batch is filled with empty rows.
  """

  reads_in_workers = False  # tf.data calls _Batches, which only this process has.

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('file_pattern', '', 'Glob, or list of globs, of UTF-8 text files, .gz or not; empty lines are skipped.')
    p.Define('tokenizer_file', '', 'Path of the SentencePiece model, see fm_lingvo/data/tokenizer.py.')
    p.Define('bucket_upper_bound', [], 'Maximum number of labels of a line in each bucket, >= 1, ascending.')
    p.Define('bucket_batch_size', [], 'Number of lines in a batch of each bucket, >= 1.')
    return p

  @classmethod
  def Validate(cls, p):
    """See the base class."""
    super().Validate(p)
    bounds, sizes = p.bucket_upper_bound, p.bucket_batch_size
    if not bounds or not all(ranges.IsWhole(b, 1) for b in bounds) or list(bounds) != sorted(set(bounds)):
      raise errors.ConfigError(f'{p.name}.bucket_upper_bound = {bounds!r}: expected ascending integers >= 1')
    if len(sizes) != len(bounds) or not all(ranges.IsWhole(size, 1) for size in sizes):
      raise errors.ConfigError(f'{p.name}.bucket_batch_size = {sizes!r}: expected {len(bounds)} integers >= 1')

  @classmethod
  def MissingData(cls, p):
    """See the base class."""
    return [('file_pattern', pattern) for pattern in stream_params.WithoutRecords(p)]

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    if self.cluster.tf_data_service_address and not self.do_eval:
      raise errors.ConfigError(
        f'--tf_data_service_address={self.cluster.tf_data_service_address}: expected none, since '
        'the trainer reads text itself'
      )
    self._batch_sizes = [batch_utils.scale_split_to_infeed(b, p.use_per_host_infeed) for b in p.bucket_batch_size]
    self._repeat = not self.do_eval  # Read here, because the cluster is not set in tf.data's threads.
    self._lines = self._Read()  # List of (labels int32 [u], number of characters) in this worker's share.
    self._buckets = np.searchsorted(p.bucket_upper_bound, [len(labels) for labels, _ in self._lines])

  def _Read(self):
    """Returns the lines of this worker's share that are not too long; sets self._dropped."""
    p = self.params
    tokens = tokenizer.Tokenizer(p.tokenizer_file)
    texts = []
    for path in sorted({f for pattern in stream_params.Patterns(p) for f in stream_params.Glob(pattern)}):
      texts += filter(None, (line.strip() for _, line in text_lines.Lines(path)))
    lines = [(np.array(labels, np.int32), len(text)) for text, labels in zip(texts, tokens.EncodeTexts(texts))]
    kept = [line for line in lines if 0 < len(line[0]) <= p.bucket_upper_bound[-1]]
    self._dropped = len(lines) - len(kept)
    index, count = self._WorkerShare()
    share = kept[index::count]
    if not share:
      raise errors.ConfigError(
        f'{p.name}.file_pattern = {p.file_pattern!r}: no line is left of {len(lines)}; '
        f'{self._dropped} are longer than {p.bucket_upper_bound[-1]} labels'
      )
    return share

  def _Groups(self):
    """Yields (bucket, indices of the lines in a batch), infinitely in training."""
    rng = np.random.default_rng(self.params.random_seed or 0)
    waiting = [[] for _ in self._batch_sizes]
    while True:
      order = rng.permutation(len(self._lines)) if self._repeat else range(len(self._lines))
      for i in order:
        bucket = self._buckets[i]
        waiting[bucket].append(i)
        if len(waiting[bucket]) == self._batch_sizes[bucket]:
          yield bucket, waiting[bucket]
          waiting[bucket] = []
      if not self._repeat:
        yield from ((bucket, numbers) for bucket, numbers in enumerate(waiting) if numbers)
        return

  def _Batches(self, start_batch):
    """Yields a dict of arrays for each batch, starting at number `start_batch`."""
    for bucket, numbers in itertools.islice(self._Groups(), int(start_batch), None):
      rows = self._batch_sizes[bucket]
      labels = np.zeros([rows, self.params.bucket_upper_bound[bucket]], np.int32)
      lengths, num_chars = np.zeros([2, rows], np.int32)
      for row, number in enumerate(numbers):
        line, num_chars[row] = self._lines[number]
        lengths[row] = len(line)
        labels[row, : len(line)] = line
      yield dict(
        labels=labels,
        lengths=lengths,
        num_chars=num_chars,
        weights=(lengths > 0).astype(np.float32),
        dropped=np.full([rows], self._dropped, np.float32),
      )

  @tf.autograph.experimental.do_not_convert
  def _Dataset(self, start_batch):
    rows, bound = None, None
    if len(self._batch_sizes) == 1:
      rows, bound = self._batch_sizes[0], self.params.bucket_upper_bound[0]
    signature = {
      name: tf.TensorSpec([rows], dtype)
      for name, dtype in (
        ('lengths', tf.int32),
        ('num_chars', tf.int32),
        ('weights', tf.float32),
        ('dropped', tf.float32),
      )
    }
    signature['labels'] = tf.TensorSpec([rows, bound], tf.int32)
    ds = tf.data.Dataset.from_generator(self._Batches, args=[start_batch], output_signature=signature)
    ds = ds.map(py_utils.NestedMap)
    return ds.prefetch(self.params.prefetch_batches).with_options(resumable_iterator.Options())

  def InfeedBatchSize(self):
    """Returns the number of rows in a batch; with unequal buckets the largest."""
    return max(self._batch_sizes)

  def GetPerBatchSize(self, input_batch):
    """Returns the number of lines in a batch, without padding; int32 scalar."""
    batches = input_batch if isinstance(input_batch, list) else [input_batch]
    return tf.cast(tf.add_n([tf.reduce_sum(batch.weights) for batch in batches]), tf.int32)
