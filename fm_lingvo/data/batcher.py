"""Makes the batches of one stream: accepted examples -> padded rows of waveforms and labels.

B: utterances in a batch, S: samples in a padded row (16 kHz), U: labels in a padded row, N: counts.
"""

import functools

from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.data import example_filter
from fm_lingvo.data import recorded_sounds
from fm_lingvo.data import stream_params
from fm_lingvo.data import tokenizer
from fm_lingvo.data import waveform_augment

NUM_COUNTS = len(example_filter.COUNTS)


class Batches:
  """Groups examples of similar length, decodes and pads them."""

  def __init__(self, params, *, bounds, batch_sizes, seed, augmentation, pad_to_bucket, pad_multiple_samples):
    """Constructor.

    Args:
      params: A StreamParams().
      bounds: Longest utterance of each bucket in samples.
      batch_sizes: B of each bucket.
      seed: Seed of the augmentation, int.
      augmentation: Params of waveform_augment.py, or None.
      pad_to_bucket: Whether S is the bucket's upper bound; else it is the longest row.
      pad_multiple_samples: S is a multiple of this.

    Raises:
      errors.ConfigError: The tokenizer cannot be used.
    """
    self._params, self._seed, self._augment = params, seed, augmentation
    self.bounds, self.batch_sizes = bounds, batch_sizes
    self._pad_to_bucket = pad_to_bucket
    self._multiple = pad_multiple_samples
    self._tokenizer = tokenizer.Tokenizer(params.tokenizer_file) if params.tokenizer_file else None
    if pad_to_bucket and self._tokenizer is not None and self._tokenizer.has_byte_pieces:
      raise errors.ConfigError(
        f'tokenizer_file = {params.tokenizer_file}: has byte pieces, several of which may make up a '
        'character; expected none with pad_to_bucket, which bounds labels by characters'
      )

  def Group(self, examples):
    """Returns a dataset of batches of undecoded examples; each batch is from one bucket."""
    return examples.group_by_window(
      self.Bucket, self._BatchOfBucket, window_size_func=lambda b: tf.constant(self.batch_sizes, tf.int64)[b]
    )

  def Bucket(self, example):
    """Returns the index of an example's length bucket, int64 scalar."""
    return example_filter.Bucket(example['num_samples'], self.bounds)

  def _BatchOfBucket(self, bucket, window):
    """Returns a dataset with a single batch: the undecoded examples of `window`."""
    batch_size = tf.constant(self.batch_sizes, tf.int64)[bucket]
    return window.batch(batch_size).map(
      lambda batch: dict(batch, counts=tf.reduce_max(batch['counts'], axis=0), bucket=bucket, live=True)
    )

  def NoRows(self):
    """Returns an empty batch in the format of _BatchOfBucket, with `live` false."""
    batch = {k: tf.zeros([0], tf.string) for k in example_filter.FEATURES}
    return dict(
      batch,
      num_samples=tf.zeros([0], tf.int32),
      counts=tf.zeros([NUM_COUNTS], tf.int64),
      bucket=tf.zeros([], tf.int64),
      live=False,
    )

  def LoadSounds(self):
    """Loads the recorded noise and rooms of the augmentation; raises errors.ConfigError as recorded_sounds.Load."""
    if self._augment is not None:
      recorded_sounds.Load(self._augment.recorded)

  def Decoder(self, in_process):
    """Returns the function Decode(number, batch), with the recorded sounds that it mixes in.

    Args:
      in_process: Whether this process computes the tensors, see recorded_sounds.Tensors.

    Raises:
      errors.ConfigError: Recorded sounds cannot be used.
    """
    recorded = recorded_sounds.Tensors(self._augment.recorded, in_process) if self._augment is not None else None
    return functools.partial(self._Decode, recorded)

  def _Decode(self, recorded, number, batch):
    """Decodes PCM16 to padded waveforms; fills an incomplete batch with empty rows.

    Args:
      recorded: Of recorded_sounds.Tensors.
      number: int64 scalar, the batch's number, which seeds its augmentation.
      batch: A batch of Group's dataset.

    Returns:
      Dict of tensors for Finish.
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
      fixed_length=self._RoundUp(samples) * example_filter.BYTES_PER_SAMPLE,
    )
    if self._pad_to_bucket and len(self.bounds) == 1:
      pcm.set_shape([None, self._RoundUp(self.bounds[0])])
    waveforms = self._WithRows(tf.cast(pcm, tf.float32) / 32768.0)
    num_samples = Fill(batch['num_samples'])
    if self._augment is not None:
      seeds = waveform_augment.Seeds(self._seed * 2**31 + number, Fill(batch['utt_id']))
      waveforms, num_samples = waveform_augment.Augment(self._augment, waveforms, num_samples, seeds, recorded)
      if not self._pad_to_bucket:  # Rows have room for the slowest speed.
        waveforms = waveforms[:, : tf.maximum(1, tf.reduce_max(num_samples))]
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
      live=batch['live'],
    )

  def Finish(self, batch):
    """Adds labels and counts to a batch of Decode; returns (live, NestedMap)."""
    batch = py_utils.NestedMap(batch)
    counts, bucket, live = (batch.pop(key) for key in ('counts', 'bucket', 'live'))
    rows = tf.shape(batch.weights)[0]
    dropped = tf.reduce_sum(counts[: len(example_filter.DROP_REASONS)])
    batch.dropped = self._WithRows(tf.fill([rows], dropped))
    if self._tokenizer is not None:
      batch.labels, batch.label_lengths = self._Labels(batch.texts, bucket)
    for i, reason in enumerate(example_filter.DROP_REASONS):
      batch[f'dropped_{reason}'] = self._WithRows(tf.fill([rows], counts[i]))
    if stream_params.Cuts(self._params):
      batch.cut = self._WithRows(tf.fill([rows], counts[example_filter.COUNTS.index('cut')]))
    return live, batch

  def _Labels(self, texts, bucket):
    """Returns labels int32 [B, U] and their lengths int32 [B] for texts [B]."""
    labels, lengths = self._tokenizer.Encode(texts)
    if self._pad_to_bucket:
      limits = example_filter.MaxLabels(self.bounds, self._params.max_chars_per_second)
      width = tf.constant(limits)[bucket]
      labels = tf.pad(labels, [[0, 0], [0, width - tf.shape(labels)[1]]])
      if len(limits) == 1:
        labels.set_shape([None, limits[0]])
    return self._WithRows(labels), self._WithRows(lengths)

  def _PadToMultiple(self, waveforms):
    """Pads rows [B, S], whose length the augmentation has changed, to a multiple of self._multiple."""
    samples = py_utils.GetShape(waveforms)[1]
    padded = self._RoundUp(samples)
    return tf.pad(waveforms, [[0, 0], [0, padded - samples]])

  def _RoundUp(self, samples):
    return (samples + self._multiple - 1) // self._multiple * self._multiple

  def _WithRows(self, x):
    """Sets the static B if it is the same for all buckets."""
    if len(set(self.batch_sizes)) == 1:
      x.set_shape([self.batch_sizes[0]] + x.shape[1:].as_list())
    return x
