"""Reads the records of one stream: TFRecord shards, possibly damaged -> parsed examples, epoch by epoch.

A share is (index, count): the part of the records that one of `count` workers reads.
"""

import functools

import numpy as np
from lingvo import compat as tf

from fm_lingvo.data import example_filter
from fm_lingvo.data import shard_integrity
from fm_lingvo.data import stream_params

MAX_SEED = 2**31 - 1


class Records:
  """Reads a stream's shards.

  The datasets have elements (index, is_end, features) and end with an end marker. Records that cannot be parsed are
  left out; the gap in `index` gives their number.
  """

  def __init__(self, path, params, seed, shuffle):
    """Constructor.

    Args:
      path: Path of `params`, for error messages.
      params: A StreamParams().
      seed: int in [0, MAX_SEED).
      shuffle: Whether the order of files and records changes in each epoch.

    Raises:
      errors.ConfigError: No file matches, or more records are damaged than params allow.
    """
    self._params, self._seed, self._shuffle = params, seed, shuffle
    self.files = stream_params.ListFiles(path, params)
    self._damaged = shard_integrity.Check(stream_params.Patterns(params), self.files)
    shard_integrity.CheckLimit(path, self._damaged, params.max_damaged_records)

  def Files(self, share):
    """Returns (files, by_file): the files with records of a share; whether all their records belong to it."""
    index, count = share
    by_file = count > 1 and len(self.files) >= count
    return (self.files[index::count] if by_file else self.files), by_file

  def NumDamaged(self, share, files=None):
    """Returns the number of damaged records in a share, in `files` or (None) in all its files.

    The records of missing shards are counted for the first worker.
    """
    index, _ = share
    own, by_file = self.Files(share)
    mine = own if by_file or index == 0 else []
    missing = [path for path in self._damaged if path not in self.files] if index == 0 else []
    if files is not None:
      missing = missing if own[0] in files else []
      mine = [path for path in mine if path in files]
    return sum(shard.lost for path, shard in self._damaged.items() if path in mine or path in missing)

  def Epoch(self, share, epoch, shuffle=None):
    """Returns the dataset of one epoch of a share; see the class for its elements.

    Args:
      share: (index, count).
      epoch: int64 scalar, the number of the epoch.
      shuffle: Whether files and records are shuffled; None: as the constructor was told.
    """
    p = self._params
    shuffle = self._shuffle if shuffle is None else shuffle
    files, _ = self.Files(share)
    ds = tf.data.Dataset.from_tensor_slices((files, list(range(len(files)))))
    seed = tf.cast(self._seed, tf.int64) + 7919 * epoch
    if shuffle:
      ds = ds.shuffle(len(files), seed=seed % MAX_SEED, reshuffle_each_iteration=False)
    ds = ds.interleave(
      functools.partial(self._Records, share),
      cycle_length=p.num_readers,
      block_length=1,
      num_parallel_calls=p.num_readers,
      deterministic=True,
    )
    if shuffle:
      ds = ds.shuffle(p.shuffle_buffer_size, seed=(seed + 1) % MAX_SEED, reshuffle_each_iteration=False)
    return self._Parsed(ds)

  def File(self, share, epoch, file_index):
    """Like Epoch, for one file of the share; its damaged records count as unparsable."""
    files, _ = self.Files(share)
    lost = tf.constant([self.NumDamaged(share, [path]) for path in files], tf.int64)[file_index]
    records = self._Records(share, tf.constant(files)[file_index], file_index)
    if self._shuffle:
      # Shuffling after the flat_map over files would make every worker read all files.
      records = records.shuffle(
        self._params.shuffle_buffer_size, seed=(self._seed + 7919 * epoch) % MAX_SEED, reshuffle_each_iteration=False
      )
    return self._Parsed(records, lost)

  def _Records(self, share, file, file_index):
    """Returns the dataset of a share's records (bytes) in one of its files."""
    index, count = share
    files, by_file = self.Files(share)
    records = self._Read(files, file, file_index)
    if count > 1 and not by_file:
      shift = tf.cast(file_index, tf.int64)
      records = records.shard(count, (index + shift) % count)
    return records

  def _Read(self, files, file, file_index):
    """Returns the dataset of the records in files[file_index]; of a damaged file only the intact ones."""
    damaged = [self._damaged.get(path) for path in files]
    if not any(damaged):
      return tf.data.TFRecordDataset(file)
    intact = tf.boolean_mask([file], tf.constant([shard is None for shard in damaged])[file_index : file_index + 1])
    spans = [
      [(start, length, shard.size - start - length) for start, length in shard.good] if shard else []
      for shard in damaged
    ]
    ends = np.cumsum([len(of_file) for of_file in spans])
    flat = tf.constant(np.array(sum(spans, []), np.int64).reshape(-1, 3))  # Bytes before, in and after each record.
    first = tf.constant(np.concatenate([[0], ends[:-1]]))[file_index]
    pieces = tf.data.Dataset.from_tensor_slices(flat[first : tf.constant(ends)[file_index]]).flat_map(
      lambda span: tf.data.FixedLengthRecordDataset(file, span[1], header_bytes=span[0], footer_bytes=span[2])
    )
    return tf.data.TFRecordDataset(intact).concatenate(pieces)

  def _Parsed(self, records, lost=0):
    """Parses records to (index, is_end, features), with an end marker after a gap of `lost` in the indices."""
    ds = records.map(lambda record: (record, False))
    ds = ds.concatenate(tf.data.Dataset.from_tensors(('', True)))
    # One dataset per record, from which an example that cannot be parsed is dropped;
    # the gap in `index` counts it. Read errors still end the run.
    ds = ds.enumerate()
    if not isinstance(lost, int):
      ds = ds.map(lambda index, record: (index + lost * tf.cast(record[1], tf.int64), record))
    return ds.flat_map(self._Parse)

  def _Parse(self, index, record_and_end):
    record, is_end = record_and_end
    spec = {name: tf.io.FixedLenFeature([], tf.string, default_value='') for name in example_filter.FEATURES}
    ds = tf.data.Dataset.from_tensors((index, is_end, record))
    ds = ds.map(lambda i, e, r: (i, e, tf.io.parse_single_example(r, spec)))
    return ds.apply(tf.data.experimental.ignore_errors())
