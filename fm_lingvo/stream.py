"""One named data stream: TFRecord shards of PCM16 -> bucketed, padded batches.

B: utterances in a batch, S: samples in a padded row (16 kHz), U: labels in a padded
row, R: drop reasons.
"""

import functools
import zlib

from fm_lingvo import accounting
from fm_lingvo import augment
from fm_lingvo import damage
from fm_lingvo import data_service
from fm_lingvo import stream_params
from fm_lingvo import tokenizer
from lingvo import compat as tf
from lingvo.core import py_utils
import numpy as np

_NUM_REASONS = len(accounting.DROP_REASONS)
_MAX_SEED = 2**31 - 1


class Stream:
  """The tf.data pipeline of one stream.

  An epoch reads every record of this worker's share once; its order follows
  from the seed and the epoch's number only. With a tf.data service the order
  also follows from which of its workers is faster, see data_service.py.
  """

  def __init__(self, name, params, *, path, seed, do_eval, batch_scale,
               pad_to_bucket, pad_multiple_samples):
    """Constructor.

    Args:
      name: The stream's name, str.
      params: A StreamParams().
      path: Where `params` are, for errors.
      seed: Seed of the input generator, int or None.
      do_eval: Whether to read one epoch in fixed order.
      batch_scale: Function from batch size per split to that of this pipeline.
      pad_to_bucket: Whether S is the bucket's bound; else the longest row's.
      pad_multiple_samples: S is a multiple of this.

    Raises:
      ValueError: if params are unusable or no file matches.
    """
    stream_params.Validate(path, params)
    self._path, self._params = path, params
    self._pad_to_bucket = pad_to_bucket
    self._multiple = pad_multiple_samples
    self._repeat = not do_eval if params.repeat is None else params.repeat
    self._shuffle = self._repeat if params.shuffle is None else params.shuffle
    if params.seed is None:
      seed = (seed or 0) * 1000003 + zlib.crc32(name.encode())
    else:
      seed = params.seed
    self._seed = seed % _MAX_SEED
    self._augment = None if do_eval else params.augment
    if params.augment is not None:
      augment.Validate(f'{path}.augment', params.augment)
    self._tokenizer = None
    if params.tokenizer_file:
      self._tokenizer = tokenizer.Tokenizer(params.tokenizer_file)
    self._files = stream_params.ListFiles(path, params)
    self._damaged = damage.Check(stream_params.Patterns(params), self._files)
    damage.CheckLimit(path, self._damaged, params.max_damaged_records)
    self.bounds = [
        int(round(b * stream_params.SAMPLE_RATE))
        for b in params.bucket_upper_bound_seconds
    ]
    self.batch_sizes = [
        batch_scale(b) for b in params.bucket_batch_size or
        [params.batch_size] * len(self.bounds)
    ]

  def Dataset(self, start_batch, share, service=''):
    """Returns the dataset of batches.

    Args:
      start_batch: int64 scalar, a tensor or an int: batches to pass over.
      share: (index, count): which part of the records to read, ints.
      service: HOST:PORT of a tf.data service whose workers make the batches of a
        stream that repeats; empty: they are made here.

    Returns:
      A tf.data.Dataset of (live, batch). batch is a NestedMap: waveforms
      float32 [B, S] in [-1, 1), num_samples int32 [B], weights float32 [B] (0:
      a row of padding), utt_ids, texts and domains string [B], and dropped plus
      dropped_REASON int64 [B], each filled with the number of examples dropped
      up to this batch; with a tokenizer also labels int32 [B, U], 0 past their
      label_lengths int32 [B]. A stream that does not repeat goes on with batches of
      padding, `live` false, so that longer streams beside it can end.
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
    ds = self._Batches(ds)
    if not self._repeat:
      ds = ds.concatenate(tf.data.Dataset.from_tensors(self._NoRows()).repeat())
    ds = ds.scan(tf.zeros([_NUM_REASONS], tf.int64), self._RunningCounts)
    ds = ds.skip(start_batch)
    ds = ds.enumerate(first_batch)
    return ds.map(lambda number, batch: self._Finish(self._Decode(number, batch)),
                  num_parallel_calls=2, deterministic=True)

  def _FromService(self, first_batch, share, service):
    """Dataset, as of Dataset, of batches that the workers of a tf.data service make.

    Labels are made here: a tokenizer is a resource of this process. Each worker
    counts the drops of the files that it read; their sum is made here too.
    """
    # An error of the first epoch is raised here, not in a worker that goes on for ever.
    found = self._Examples(tf.data.Dataset.range(1), share).take(1).reduce(
        tf.zeros([], tf.int64), lambda count, _: count + 1)
    with tf.control_dependencies([found]):
      first_batch = tf.identity(first_batch)
    files, _ = self._Files(share)
    ds = data_service.FilesOfEpochs(first_batch, len(files), self._seed, self._shuffle)
    ds = ds.flat_map(functools.partial(self._File, share))
    ds = self._Batches(self._Accepted(ds))
    ds = ds.scan((first_batch, tf.zeros([_NUM_REASONS], tf.int64)), self._NumberAndNewCounts)
    ds = ds.map(self._Decode, num_parallel_calls=tf.data.AUTOTUNE)
    ds = data_service.Distribute(ds, service)
    ds = ds.scan(tf.zeros([_NUM_REASONS], tf.int64), self._SumOfCounts)
    return ds.map(self._Finish, num_parallel_calls=2, deterministic=True)

  def _Examples(self, epochs, share, counts=None, passed=None):
    """Dataset of accepted, undecoded examples with their running counts.

    Args:
      epochs: Dataset of the numbers of the epochs to read.
      share: (index, count).
      counts: int64 [R], where the running counts start; None: zeros.
      passed: int64 [number of buckets], examples of each bucket to pass over
        first; None: zeros.
    """
    ds = epochs.flat_map(functools.partial(self._Epoch, share))
    return self._Accepted(ds, counts, passed, must_accept=self._repeat or share[1] == 1,
                          num_damaged=self._NumDamaged(share))

  def _Accepted(self, ds, counts=None, passed=None, must_accept=False, num_damaged=0):
    """Dataset of the accepted examples of `ds`, what _Parsed gives; see _Examples."""
    if counts is None:
      counts = tf.zeros([_NUM_REASONS], tf.int64)
    if passed is None:
      passed = tf.zeros([len(self.bounds)], tf.int64)
    accountant = accounting.Accountant(
        self._params,
        path=self._path,
        bounds=self.bounds,
        num_files=len(self._files),
        must_accept=must_accept,
        num_damaged=num_damaged)
    ds = ds.scan(accountant.InitialState(counts, passed), accountant.Step)
    ds = ds.filter(lambda emit, example: emit)
    return ds.map(lambda emit, example: example)

  def _Batches(self, examples):
    """Dataset of batches of undecoded examples, each of one bucket."""
    return examples.group_by_window(
        lambda example: self._Bucket(example),
        self._BatchOfBucket,
        window_size_func=lambda b: tf.constant(self.batch_sizes, tf.int64)[b])

  def _Jump(self, start_batch, share):
    """Finds the latest epoch from which batch `start_batch` can be reached.

    With n examples of a bucket in an epoch and batches of B, k epochs make
    k n // B batches of the bucket, whatever their order. Examples that complete
    a batch begun before epoch k are passed over, so that from then on batches
    begin where they do in an uninterrupted run. Counting n takes one pass over
    the data, and no more of it than the batches to skip would.

    Args:
      start_batch: int64 scalar.
      share: (index, count).

    Returns:
      NestedMap of the epoch to begin with, the batches left to skip (int64
      scalars), the running counts (int64 [R]), and the examples of each bucket
      to pass over (`passed`, int64 [number of buckets]).
    """
    sizes = tf.constant(self.batch_sizes, tf.int64)
    limit = start_batch * max(self.batch_sizes)
    zeros = tf.zeros_like(sizes)
    no_counts = tf.zeros([_NUM_REASONS], tf.int64)
    examples = self._Examples(tf.data.Dataset.range(1), share).take(limit)

    def Count(state, example):
      bucket = self._Bucket(example)
      one = tf.one_hot(bucket, len(self.bounds), dtype=tf.int64)
      return state[0] + one, example['counts']

    n, counts = examples.reduce((zeros, no_counts), Count)

    def Jump():
      # Epochs within which a batch begun before them is complete.
      slack = tf.reduce_max(
          tf.where(n > 0, -(-sizes // tf.maximum(n, 1)), zeros))
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
        whole_epoch_seen, Jump,
        lambda: (tf.zeros_like(start_batch), start_batch, no_counts, zeros))
    return py_utils.NestedMap(
        epoch=epoch, batches=batches, counts=counts, passed=passed)

  def _Files(self, share):
    """(files, by_file): those with records of a share; whether all of theirs are."""
    index, count = share
    by_file = count > 1 and len(self._files) >= count
    return (self._files[index::count] if by_file else self._files), by_file

  def _Records(self, share, file, file_index):
    """Dataset of the records, bytes, of a share in one of its _Files."""
    index, count = share
    files, by_file = self._Files(share)
    records = self._Read(files, file, file_index)
    if count > 1 and not by_file:
      shift = tf.cast(file_index, tf.int64)
      records = records.shard(count, (index + shift) % count)
    return records

  def _Epoch(self, share, epoch):
    """Dataset of (index, is_end, features) of one pass, with an end marker."""
    p = self._params
    files, _ = self._Files(share)
    ds = tf.data.Dataset.from_tensor_slices(
        (files, list(range(len(files)))))
    seed = tf.cast(self._seed, tf.int64) + 7919 * epoch
    if self._shuffle:
      ds = ds.shuffle(
          len(files), seed=seed % _MAX_SEED, reshuffle_each_iteration=False)
    ds = ds.interleave(
        functools.partial(self._Records, share),
        cycle_length=p.num_readers,
        block_length=1,
        num_parallel_calls=p.num_readers,
        deterministic=True)
    if self._shuffle:
      ds = ds.shuffle(
          p.shuffle_buffer_size,
          seed=(seed + 1) % _MAX_SEED,
          reshuffle_each_iteration=False)
    return self._Parsed(ds)

  def _File(self, share, epoch, file_index):
    """As _Epoch, of one of the share's files; what is lost of it counts as unparsable."""
    files, _ = self._Files(share)
    lost = tf.constant([self._NumDamaged(share, [path]) for path in files], tf.int64)[file_index]
    records = self._Records(share, tf.constant(files)[file_index], file_index)
    if self._shuffle:
      # Here, not behind the files: there TensorFlow would have every worker read all of them.
      records = records.shuffle(
          self._params.shuffle_buffer_size, seed=(self._seed + 7919 * epoch) % _MAX_SEED,
          reshuffle_each_iteration=False)
    return self._Parsed(records, lost)

  def _Parsed(self, records, lost=0):
    """Dataset of (index, is_end, features) of records, with an end marker behind a gap of `lost`."""
    ds = records.map(lambda record: (record, False))
    ds = ds.concatenate(tf.data.Dataset.from_tensors(('', True)))
    # One dataset per record: an example that does not parse vanishes from it,
    # and the gap in `index` counts it. Errors of reading still stop the run.
    ds = ds.enumerate()
    if not isinstance(lost, int):
      ds = ds.map(lambda index, record: (index + lost * tf.cast(record[1], tf.int64), record))
    return ds.flat_map(self._Parse)

  def _Read(self, files, file, file_index):
    """Dataset of the records of files[file_index], of a damaged one those that are whole."""
    damaged = [self._damaged.get(path) for path in files]
    if not any(damaged):
      return tf.data.TFRecordDataset(file)
    whole = tf.boolean_mask([file], tf.constant([shard is None for shard in damaged])[file_index:file_index + 1])
    spans = [[(start, length, shard.size - start - length) for start, length in shard.good] if shard else []
             for shard in damaged]
    ends = np.cumsum([len(of_file) for of_file in spans])
    flat = tf.constant(np.array(sum(spans, []), np.int64).reshape(-1, 3))  # Header, record and footer in bytes.
    first = tf.constant(np.concatenate([[0], ends[:-1]]))[file_index]
    pieces = tf.data.Dataset.from_tensor_slices(flat[first:tf.constant(ends)[file_index]]).flat_map(
        lambda span: tf.data.FixedLengthRecordDataset(
            file, span[1], header_bytes=span[0], footer_bytes=span[2]))
    return tf.data.TFRecordDataset(whole).concatenate(pieces)

  def _NumDamaged(self, share, files=None):
    """Records that are lost to the share (index, count) of a worker, in `files` or all; those of missing shards to the first.
    """
    index, _ = share
    own, by_file = self._Files(share)
    mine = own if by_file or index == 0 else []
    missing = [path for path in self._damaged if path not in self._files] if index == 0 else []
    if files is not None:
      missing = missing if own[0] in files else []
      mine = [path for path in mine if path in files]
    return sum(shard.lost for path, shard in self._damaged.items() if path in mine or path in missing)

  def _Parse(self, index, record_and_end):
    record, is_end = record_and_end
    spec = {
        name: tf.io.FixedLenFeature([], tf.string, default_value='')
        for name in accounting.FEATURES
    }
    ds = tf.data.Dataset.from_tensors((index, is_end, record))
    ds = ds.map(lambda i, e, r:  # pylint: disable=g-long-lambda
                (i, e, tf.io.parse_single_example(r, spec)))
    return ds.apply(tf.data.experimental.ignore_errors())

  def _Bucket(self, example):
    return accounting.Bucket(example['num_samples'], self.bounds)

  def _BatchOfBucket(self, bucket, window):
    """Dataset of the one batch of undecoded examples that `window` holds."""
    batch_size = tf.constant(self.batch_sizes, tf.int64)[bucket]
    return window.batch(batch_size).map(
        lambda batch: dict(  # pylint: disable=g-long-lambda
            batch,
            counts=tf.reduce_max(batch['counts'], axis=0),
            bucket=bucket,
            live=True))

  def _NoRows(self):
    """What _BatchOfBucket gives, without examples."""
    batch = {k: tf.zeros([0], tf.string) for k in accounting.FEATURES}
    return dict(
        batch,
        num_samples=tf.zeros([0], tf.int32),
        counts=tf.zeros([_NUM_REASONS], tf.int64),
        bucket=tf.zeros([], tf.int64),
        live=False)

  def _RunningCounts(self, highest, batch):
    """Last batches of the buckets come out of order: counts never go down."""
    highest = tf.maximum(highest, batch['counts'])
    return highest, dict(batch, counts=highest)

  def _NumberAndNewCounts(self, state, batch):
    """A step of a scan that gives (number, batch); its counts are what has come since the last."""
    number, highest = state
    counts = tf.maximum(highest, batch['counts'])
    return (number + 1, counts), (number, dict(batch, counts=counts - highest))

  def _SumOfCounts(self, total, batch):
    total += batch['counts']
    return total, dict(batch, counts=total)

  def _Decode(self, number, batch):
    """PCM16 -> padded waveforms; fills an incomplete batch with empty rows.

    Args:
      number: int64 scalar, the batch's number, which seeds its augmentation.
      batch: What _BatchOfBucket gives.

    Returns:
      Dict of tensors for _Finish.
    """
    bucket = batch['bucket']
    rows = tf.constant(self.batch_sizes, tf.int32)[bucket]
    present = tf.shape(batch['num_samples'])[0]

    def Fill(x):
      x = tf.concat([x, tf.fill([rows - present], tf.zeros([], x.dtype))], 0)
      return self._WithRows(x)

    if self._pad_to_bucket:
      samples = tf.constant(self.bounds, tf.int32)[bucket]
    else:
      samples = tf.maximum(1, tf.reduce_max(batch['num_samples']))
    pcm = tf.io.decode_raw(
        Fill(batch['audio']),
        tf.int16,
        little_endian=True,
        fixed_length=self._RoundUp(samples) * accounting.BYTES_PER_SAMPLE)
    if self._pad_to_bucket and len(self.bounds) == 1:
      pcm.set_shape([None, self._RoundUp(self.bounds[0])])
    waveforms = self._WithRows(tf.cast(pcm, tf.float32) / 32768.0)
    num_samples = Fill(batch['num_samples'])
    if self._augment is not None:
      seeds = augment.Seeds(self._seed * 2**31 + number, Fill(batch['utt_id']))
      waveforms, num_samples = augment.Augment(
          self._augment, waveforms, num_samples, seeds)
      waveforms = self._PadToMultiple(waveforms)
    return dict(
        waveforms=waveforms,
        num_samples=num_samples,
        weights=Fill(tf.ones([present], tf.float32)),
        utt_ids=Fill(batch['utt_id']),
        texts=Fill(batch['text']),
        domains=Fill(batch['domain']),
        counts=batch['counts'],
        bucket=bucket,
        live=batch['live'])

  def _Finish(self, batch):
    """Adds labels and counts to what _Decode gives; returns (live, NestedMap)."""
    batch = py_utils.NestedMap(batch)
    counts, bucket, live = (batch.pop(key) for key in ('counts', 'bucket', 'live'))
    rows = tf.shape(batch.weights)[0]
    batch.dropped = self._WithRows(tf.fill([rows], tf.reduce_sum(counts)))
    if self._tokenizer is not None:
      batch.labels, batch.label_lengths = self._Labels(batch.texts, bucket)
    for i, reason in enumerate(accounting.DROP_REASONS):
      batch[f'dropped_{reason}'] = self._WithRows(tf.fill([rows], counts[i]))
    return live, batch

  def _Labels(self, texts, bucket):
    """Labels int32 [B, U] and their lengths [B] of texts [B]."""
    labels, lengths = self._tokenizer.Encode(texts)
    if self._pad_to_bucket:
      limits = accounting.MaxLabels(self.bounds, self._params.max_chars_per_second)
      width = tf.constant(limits)[bucket]
      labels = tf.pad(labels, [[0, 0], [0, width - tf.shape(labels)[1]]])
      if len(limits) == 1:
        labels.set_shape([None, limits[0]])
    return self._WithRows(labels), self._WithRows(lengths)

  def _PadToMultiple(self, waveforms):
    """Zeros behind rows [B, S] whose length augmentation has changed."""
    samples = py_utils.GetShape(waveforms)[1]
    padded = self._RoundUp(samples)
    return tf.pad(waveforms, [[0, 0], [0, padded - samples]])

  def _RoundUp(self, samples):
    return (samples + self._multiple - 1) // self._multiple * self._multiple

  def _WithRows(self, x):
    """Sets the static B where all buckets share it."""
    if len(set(self.batch_sizes)) == 1:
      x.set_shape([self.batch_sizes[0]] + x.shape[1:].as_list())
    return x
