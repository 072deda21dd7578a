"""Reads the records of one stream: TFRecord shards, possibly damaged -> parsed pieces of speech, epoch by epoch.

A piece is a whole record, or a part of one that is too long and was cut at quiet places.

A share is (index, count): the part of the records that one of `count` workers reads.
"""

import functools

import numpy as np
from lingvo import compat as tf

from fm_lingvo.data import example_filter
from fm_lingvo.data import quiet_cuts
from fm_lingvo.data import shard_integrity
from fm_lingvo.data import stream_params
from fm_lingvo.utils import audio

MAX_SEED = 2**31 - 1


class Records:
  """Reads a stream's shards.

  The datasets have elements (kind, features), in the order of a shuffle of the pieces, and end with an end marker.
  `kind` is a dict of int64 scalars, see example_filter.FilterScan; `features` are strings: example_filter.FEATURES,
  empty for an end marker and for a record that cannot be parsed, and `part`, which completes the utt_id of a piece.
  """

  def __init__(self, path, params, seed, shuffle):
    """Constructor.

    Args:
      path: Path of `params`, for error messages.
      params: A StreamParams().
      seed: int in [0, MAX_SEED).
      shuffle: Whether the order of files and pieces changes in each epoch.

    Raises:
      errors.ConfigError: No file matches, or more records are damaged than params allow.
    """
    self._params, self._seed, self._shuffle = params, seed, shuffle
    self._epoch = {}  # (share, shuffle) -> tf.function from an epoch's number to its dataset.
    self.files = stream_params.ListFiles(path, params)
    self._damaged = shard_integrity.Check(stream_params.Patterns(params), self.files)
    shard_integrity.CheckLimit(path, self._damaged, params.max_damaged_records)
    self._shortest, self._longest = (
      int(round(seconds * audio.SAMPLE_RATE)) for seconds in (params.min_seconds, params.bucket_upper_bound_seconds[-1])
    )

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

  def Epochs(self, share, epochs, shuffle=None):
    """Returns the dataset of some epochs of a share, one after another; see the class for its elements.

    Args:
      share: (index, count).
      epochs: Dataset of the numbers of the epochs.
      shuffle: Whether files and records are shuffled; None: as in the constructor.
    """
    shuffle = self._shuffle if shuffle is None else shuffle
    if (share, shuffle) not in self._epoch:  # Traced once for all datasets of a graph: it takes half a second.
      self._epoch[share, shuffle] = tf.function(functools.partial(self._Epoch, share, shuffle), autograph=False)
    return epochs.flat_map(self._epoch[share, shuffle])

  def _Epoch(self, share, shuffle, epoch):
    """Returns the dataset of one epoch, an int64 scalar."""
    p = self._params
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
    ds = ds.flat_map(self._Pieces)
    if shuffle:
      ds = ds.shuffle(p.shuffle_buffer_size, seed=(seed + 1) % MAX_SEED, reshuffle_each_iteration=False)
    return ds.concatenate(_Elements(is_end=1).unbatch())

  def File(self, share, epoch, file_index):
    """Like Epoch, for one file of the share; its end marker counts its damaged records as unparsable."""
    files, _ = self.Files(share)
    lost = tf.constant([self.NumDamaged(share, [path]) for path in files], tf.int64)[file_index]
    ds = self._Records(share, tf.constant(files)[file_index], file_index).flat_map(self._Pieces)
    if self._shuffle:
      # Shuffling after the flat_map over files would make every worker read all files.
      ds = ds.shuffle(
        self._params.shuffle_buffer_size, seed=(self._seed + 7919 * epoch) % MAX_SEED, reshuffle_each_iteration=False
      )
    return ds.concatenate(_Elements(is_end=1, unparsable=lost).unbatch())

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

  def _Pieces(self, record):
    """Returns a dataset of the pieces of a record; of a record that cannot be parsed, an element that counts it."""
    ds = tf.data.Dataset.from_tensors(record).map(self._Parse)
    # Only this record's error is ignored: errors of reading still end the run.
    ds = ds.apply(tf.data.experimental.ignore_errors())
    return ds.concatenate(_Elements(records=1, unparsable=1)).take(1).unbatch()

  def _Parse(self, record):
    """Returns the elements of a serialized record, with a first dimension C, the number of its pieces."""
    spec = {name: tf.io.FixedLenFeature([], tf.string, default_value='') for name in example_filter.FEATURES}
    features = dict(tf.io.parse_single_example(record, spec), part=tf.constant(''))
    whole = _Kind(records=1), {name: value[tf.newaxis] for name, value in features.items()}
    if not stream_params.Cuts(self._params):
      return whole
    num_bytes = tf.strings.length(features['audio'])
    num_samples = num_bytes // example_filter.BYTES_PER_SAMPLE
    too_long = (num_samples > self._longest) & tf.equal(num_bytes % example_filter.BYTES_PER_SAMPLE, 0)
    return tf.cond(too_long, lambda: self._Cut(features, num_samples), lambda: whole)

  def _Cut(self, features, num_samples):
    """Returns the elements of a parsed record that is too long, as _Parse does."""
    samples = tf.io.decode_raw(features['audio'], tf.int16, little_endian=True)
    starts = quiet_cuts.Starts(samples, self._shortest, self._longest)  # [C]
    sizes = tf.concat([starts[1:], [num_samples]], axis=0) - starts
    width = example_filter.BYTES_PER_SAMPLE
    pieces = {name: tf.fill(tf.shape(starts), value) for name, value in features.items() if name != 'audio'}
    pieces['audio'] = tf.map_fn(
      lambda piece: tf.strings.substr(features['audio'], piece[0] * width, piece[1] * width),
      (starts, sizes),
      fn_output_signature=tf.string,
    )
    pieces['text'] = tf.fill(tf.shape(starts), '')  # A transcript cannot be cut.
    samples_per_ms = audio.SAMPLE_RATE // 1000
    ends = [tf.strings.as_string(edge // samples_per_ms) for edge in (starts, starts + sizes)]
    pieces['part'] = tf.strings.join(['@', ends[0], '-', ends[1]])
    first = tf.cast(tf.equal(starts, 0), tf.int64)
    zero = tf.zeros_like(first)
    return {**{name: zero for name in example_filter.KINDS}, 'records': first, 'cut': first}, pieces


def _Kind(**kind):
  """Returns the kind of one element: each of KINDS 0 but for those given, int64 [1]."""
  return {name: tf.cast([kind.get(name, 0)], tf.int64) for name in example_filter.KINDS}


def _Elements(**kind):
  """Returns a dataset of one element [1] without speech."""
  features = {name: tf.constant(['']) for name in (*example_filter.FEATURES, 'part')}
  return tf.data.Dataset.from_tensors((_Kind(**kind), features))
