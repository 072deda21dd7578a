"""The tf.data pipeline of one named data stream: TFRecord shards of PCM16 -> bucketed, padded batches.

record_reader.py reads the shards and cuts what is too long, example_filter.py drops and counts examples, batcher.py
pads.

B: utterances in a batch, S: samples in a padded row (16 kHz), U: labels in a padded
row, N: counts.
"""

import functools
import zlib

from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo.data import batcher
from fm_lingvo.data import data_service
from fm_lingvo.data import example_filter
from fm_lingvo.data import record_reader
from fm_lingvo.utils import audio

STRING_KEYS = ('utt_ids', 'texts', 'domains')  # Of a batch, on the host.


class Stream:
  """The tf.data pipeline of one stream.

  An epoch reads every record of this worker's share once; its order depends
  only on the seed and the epoch's number. With a tf.data service the order
  also depends on the speed of the service's workers, see data_service.py.
  """

  def __init__(
    self, name, params, *, path, seed, do_eval, batch_scale, pad_to_bucket, pad_multiple_samples, in_process=True
  ):
    """Constructor.

    Args:
      name: The stream's name, str.
      params: A StreamParams(), checked by stream_params.Validate.
      path: Path of `params`, for error messages.
      seed: Seed of the input generator, int or None.
      do_eval: Whether to read a single epoch, unshuffled by default.
      batch_scale: Function from the batch size per split to that of this pipeline.
      pad_to_bucket: Whether S is the bucket's upper bound; else it is the longest row.
      pad_multiple_samples: S is a multiple of this.
      in_process: Whether this process computes the batches, see recorded_sounds.Tensors.

    Raises:
      errors.ConfigError: No file matches, or too many records are damaged.
    """
    self._path, self._params, self._in_process = path, params, in_process
    self._repeat = not do_eval
    self._shuffle = self._repeat if params.shuffle is None else params.shuffle
    if params.seed is None:
      seed = (seed or 0) * 1000003 + zlib.crc32(name.encode())
    else:
      seed = params.seed
    self._seed = seed % record_reader.MAX_SEED
    self._records = record_reader.Records(path, params, self._seed, self._shuffle)
    self.bounds = [int(round(b * audio.SAMPLE_RATE)) for b in params.bucket_upper_bound_seconds]
    self.batch_sizes = [batch_scale(b) for b in params.bucket_batch_size or [params.batch_size] * len(self.bounds)]
    self._batches = batcher.Batches(
      params,
      bounds=self.bounds,
      batch_sizes=self.batch_sizes,
      seed=self._seed,
      augmentation=None if do_eval else params.augment,
      pad_to_bucket=pad_to_bucket,
      pad_multiple_samples=pad_multiple_samples,
    )

  def Dataset(self, start_batch, share, service=''):
    """Returns the dataset of batches.

    Args:
      start_batch: int64 scalar, a tensor or an int: number of batches to skip.
      share: (index, count), ints: the part of the records to read.
      service: HOST:PORT of a tf.data service whose workers make the batches of an
        infinite stream; empty: this process makes them.

    Returns:
      A tf.data.Dataset of (live, batch). batch is a NestedMap: waveforms
      float32 [B, S] in [-1, 1), num_samples int32 [B], weights float32 [B] (0 for
      rows of padding), utt_ids, texts and domains string [B], and dropped plus
      dropped_REASON int64 [B], each filled with the number of examples dropped
      up to this batch, and, if the stream cuts, cut, the number of records cut;
      with a tokenizer also labels int32 [B, U], 0 beyond label_lengths int32 [B].
      A finite stream continues with batches of padding and `live` false until longer
      streams have ended, too.
    """
    first_batch = tf.cast(start_batch, tf.int64)
    if service and self._repeat:
      return self._FromService(first_batch, share, service)
    if self._repeat:
      jump = self._Jump(first_batch, share)
      epochs = tf.data.Dataset.range(jump.epoch, tf.int64.max)
      ds = self._Examples(epochs, share, jump.counts, jump.passed)
      start_batch = jump.batches
    else:
      ds = self._Examples(tf.data.Dataset.range(1), share)
    ds = self._batches.Group(ds)
    if not self._repeat:
      ds = ds.concatenate(tf.data.Dataset.from_tensors(self._batches.NoRows()).repeat())
    ds = ds.scan(tf.zeros([batcher.NUM_COUNTS], tf.int64), self._RunningCounts)
    ds = ds.skip(start_batch)
    ds = ds.enumerate(first_batch)
    decode = self._batches.Decoder(self._in_process)
    return ds.map(
      lambda number, batch: self._batches.Finish(decode(number, batch)),
      num_parallel_calls=2,
      deterministic=True,
    )

  def CountUntilUsable(self, share=(0, 1)):
    """Returns 1, int64 scalar, once an example of a share is accepted; if none is, the stream's error is raised."""
    examples = self._Examples(tf.data.Dataset.range(1), share, shuffle=False)  # A shuffle buffer would read many.
    return examples.take(1).reduce(tf.zeros([], tf.int64), lambda count, _: count + 1)

  def LoadSounds(self):
    """Loads the recorded noise and rooms of the augmentation; raises errors.ConfigError as recorded_sounds.Load."""
    self._batches.LoadSounds()

  def _FromService(self, first_batch, share, service):
    """Returns a dataset as Dataset does, with batches made by the workers of a tf.data service.

    Labels are computed in this process, since a tokenizer is one of its resources. Each
    worker counts the dropped examples of its own files; they are summed here.
    """
    # Reads one example here, so that errors are raised in this process and not in a worker, which never stops.
    with tf.control_dependencies([self.CountUntilUsable(share)]):
      first_batch = tf.identity(first_batch)
    files, _ = self._records.Files(share)
    # The batch number is used as the number of the first epoch, so that a resumed run starts an unused epoch.
    ds = data_service.FilesOfEpochs(first_batch, len(files), self._seed, self._shuffle)
    ds = ds.flat_map(functools.partial(self._records.File, share))
    ds = self._batches.Group(self._Accepted(ds))
    ds = ds.scan((first_batch, tf.zeros([batcher.NUM_COUNTS], tf.int64)), self._NumberAndNewCounts)
    ds = ds.map(self._batches.Decoder(self._in_process), num_parallel_calls=tf.data.AUTOTUNE)
    ds = data_service.Distribute(ds, service)
    ds = ds.scan(tf.zeros([batcher.NUM_COUNTS], tf.int64), self._SumOfCounts)
    return ds.map(self._batches.Finish, num_parallel_calls=2, deterministic=True)

  def _Examples(self, epochs, share, counts=None, passed=None, shuffle=None):
    """Returns a dataset of accepted, undecoded examples with their running counts.

    Args:
      epochs: Dataset of the numbers of the epochs to read.
      share: (index, count).
      counts: int64 [N], initial running counts; None: zeros.
      passed: int64 [number of buckets], number of examples of each bucket to skip
        first; None: zeros.
      shuffle: See record_reader.Records.Epochs.
    """
    ds = self._records.Epochs(share, epochs, shuffle)
    return self._Accepted(
      ds, counts, passed, must_accept=self._repeat or share[1] == 1, num_damaged=self._records.NumDamaged(share)
    )

  def _Accepted(self, ds, counts=None, passed=None, must_accept=False, num_damaged=0):
    """Returns a dataset of the accepted examples of `ds`, which has the format of record_reader.Records."""
    if counts is None:
      counts = tf.zeros([batcher.NUM_COUNTS], tf.int64)
    if passed is None:
      passed = tf.zeros([len(self.bounds)], tf.int64)
    scan = example_filter.FilterScan(
      self._params,
      path=self._path,
      bounds=self.bounds,
      num_files=len(self._records.files),
      must_accept=must_accept,
      num_damaged=num_damaged,
    )
    ds = ds.scan(scan.InitialState(counts, passed), scan.Step)
    ds = ds.filter(lambda emit, example: emit)
    return ds.map(lambda emit, example: example)

  def _Jump(self, start_batch, share):
    """Finds the latest epoch from which batch `start_batch` can be reached.

    With n examples of a bucket per epoch and batches of B, k epochs contain
    k n // B batches of the bucket, in any order. Examples that complete a batch
    begun before epoch k are skipped, so that the following batches have the same
    examples as in an uninterrupted run. Counting n takes one pass over the data,
    or less if the batches to skip are less than an epoch.

    Args:
      start_batch: int64 scalar.
      share: (index, count).

    Returns:
      NestedMap of `epoch`, the first epoch to read, `batches`, the number of batches
      left to skip (int64 scalars), `counts`, the running counts (int64 [N]), and
      `passed`, the examples of each bucket to skip (int64 [number of buckets]).
    """
    sizes = tf.constant(self.batch_sizes, tf.int64)
    limit = start_batch * max(self.batch_sizes)
    zeros = tf.zeros_like(sizes)
    no_counts = tf.zeros([batcher.NUM_COUNTS], tf.int64)
    examples = self._Examples(tf.data.Dataset.range(1), share).take(limit)

    def Count(state, example):
      bucket = self._batches.Bucket(example)
      one = tf.one_hot(bucket, len(self.bounds), dtype=tf.int64)
      return state[0] + one, example['counts']

    n, counts = examples.reduce((zeros, no_counts), Count)

    def Jump():
      # The number of epochs after which a batch begun before them is complete.
      slack = tf.reduce_max(tf.where(n > 0, -(-sizes // tf.maximum(n, 1)), zeros))
      per_epoch = tf.reduce_sum(n / sizes)
      last = tf.cast(tf.cast(start_batch, tf.float64) / per_epoch, tf.int64)
      # The division may have rounded up.
      last -= tf.cast(tf.reduce_sum(last * n // sizes) > start_batch, tf.int64)
      epoch = tf.maximum(last - slack, 0)
      begun = epoch * n % sizes
      done = tf.reduce_sum(epoch * n // sizes + tf.cast(begun > 0, tf.int64))
      return epoch, start_batch - done, epoch * counts, -begun % sizes

    whole_epoch_seen = tf.reduce_sum(n) < limit
    epoch, batches, counts, passed = tf.cond(
      whole_epoch_seen, Jump, lambda: (tf.zeros_like(start_batch), start_batch, no_counts, zeros)
    )
    return py_utils.NestedMap(epoch=epoch, batches=batches, counts=counts, passed=passed)

  def _RunningCounts(self, highest, batch):
    """Makes counts monotonic, since the last batches of the buckets come out of order."""
    highest = tf.maximum(highest, batch['counts'])
    return highest, dict(batch, counts=highest)

  def _NumberAndNewCounts(self, state, batch):
    """Scan step that returns (number, batch), with the counts since the previous batch."""
    number, highest = state
    counts = tf.maximum(highest, batch['counts'])
    return (number + 1, counts), (number, dict(batch, counts=counts - highest))

  def _SumOfCounts(self, total, batch):
    """Scan step that replaces the counts of a batch by their sum so far."""
    total += batch['counts']
    return total, dict(batch, counts=total)


def Tensors(name, batch, strings):
  """What the rows of metrics say of a batch: counts for each utterance and, where batches hold them, strings.

  Args:
    name: Of the stream.
    batch: Its NestedMap, see Stream.Dataset.
    strings: Whether to return strings other than utterances' ids.

  Returns:
    dict: NAME/FIELD -> tensor [B]; NAME/waveform is the first row, [1, S].
  """
  tensors = {
    f'{name}/num_samples': batch.num_samples,
    f'{name}/weights': batch.weights,
    f'{name}/waveform': batch.waveforms[:1],
    f'{name}/finite': tf.reduce_all(tf.math.is_finite(batch.waveforms), axis=1),
  }
  for key in batch:
    if key.startswith('dropped') or key in ('cut', 'utt_ids') or (strings and key in STRING_KEYS):
      tensors[f'{name}/{key}'] = batch[key]
  return tensors
