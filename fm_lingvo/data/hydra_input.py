"""The input generator: batches with one NestedMap for each of several named data streams.

B: utterances in a batch of a stream, S: samples in a padded row (16 kHz).
"""

import functools

from lingvo import compat as tf
from lingvo.core import batch_utils
from lingvo.core import hyperparams
from lingvo.core import input_generator_helper
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.data import base_input
from fm_lingvo.data import example_filter
from fm_lingvo.data import resumable_iterator
from fm_lingvo.data import shard_integrity
from fm_lingvo.data import stream as stream_lib
from fm_lingvo.data import stream_params
from fm_lingvo.data import waveform_augment
from fm_lingvo.runtime import session
from fm_lingvo.utils import audio
from fm_lingvo.utils import own_names
from fm_lingvo.utils import ranges

StreamParams = stream_params.StreamParams

_THIS_PROCESS = '/job:localhost'  # Lingvo's name of the worker of a local run.


def AddStream(p, name, stream_params):
  """Adds a stream to the Params of a HydraInput.

  Args:
    p: HydraInput.Params().
    name: Name of the stream, lower case, such as 'unlabeled'; also the name of its
      NestedMap in a batch.
    stream_params: A StreamParams().

  Returns:
    `stream_params`.
  """
  p.streams.Define(name, stream_params, f'The data stream {name}.')
  return stream_params


def MissingData(p):
  """Calls base_input.BaseInput.MissingData for the Params of an input."""
  return p.cls.MissingData(p)


def MissingRecords(p):
  """Returns MissingData(p) as a message, `no record in files like GLOB, GLOB`; '' if all globs have records."""
  missing = [pattern for _, pattern in MissingData(p)]
  return f'no record in files like {", ".join(missing)}' if missing else ''


def ScanShards(p):
  """Calls base_input.BaseInput.ScanShards for the Params of an input."""
  return p.cls.ScanShards(p)


def Validate(p):
  """Calls base_input.BaseInput.Validate for the Params of an input."""
  p.cls.Validate(p)


def PaddedTo(p, frame_samples: int):
  """Returns a copy of HydraInput.Params() that pads to whole encoded frames.

  Args:
    p: HydraInput.Params().
    frame_samples: Samples per encoded frame.

  Raises:
    errors.ConfigError: pad_multiple_samples is set and not a multiple of frame_samples.
  """
  _CheckPadding(p, frame_samples, "an encoded frame of the task's encoder")
  return p.Copy().Set(pad_multiple_samples=p.pad_multiple_samples or frame_samples)


def _CheckPadding(p, samples, what):
  """Raises ConfigError if rows would not be padded to a multiple of `samples`, the length of `what`."""
  multiple = p.pad_multiple_samples
  if multiple is not None and (not ranges.IsWhole(multiple, 1) or multiple % samples):
    raise errors.ConfigError(
      f'{p.name}.pad_multiple_samples = {multiple}: expected None or a multiple of {samples}, the samples of {what}'
    )


class HydraInput(base_input.BaseInput):
  """Batches of named streams for the branches of a hydra.

  A batch is a NestedMap stream name -> the NestedMap described in `stream.Stream.Dataset`:
  waveforms, num_samples, weights, labels, label_lengths, dropped, dropped_REASON,
  cut (of streams that cut) and, on the host, utt_ids, texts and domains. B is the first dimension of all tensors;
  each stream is split over replicas along it.

  Training data is infinite. Its order depends only on seeds, worker and batch number; all
  streams have the same batch numbers. A runner that resumes at step k sets
  `start_step = k` before Initialize, so that batch k comes first.
  Evaluation reads every accepted utterance once, then raises
  tf.errors.OutOfRangeError; rows and batches of padding have weight 0.
  If the cluster has a tf_data_service_address, the workers of that service make the
  training batches; see data_service.py about their order.

  B is static if all buckets of a stream have the same batch size. S is static only with
  `pad_to_bucket` and a single bucket, which a TPU requires.
  """

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('streams', hyperparams.Params(), 'StreamParams by stream name; AddStream adds one.')
    p.Define(
      'pad_to_bucket',
      None,
      "Whether rows are padded to their bucket's upper bound (True) or to the "
      'longest row of the batch (False). None: True on a TPU, else False.',
    )
    p.Define(
      'pad_multiple_samples',
      None,
      'The length of a padded row is a multiple of this number of samples, which is a '
      'multiple of the samples of an encoded frame. Larger values give fewer shapes to '
      "compile. None: one encoded frame of the task's encoder.",
    )
    p.Define(
      'emit_strings',
      None,
      'Whether batches contain utt_ids, texts and domains, which evaluations '
      'need to count word errors. None: False on a TPU, else True.',
    )
    return p

  @classmethod
  def Idle(cls, p):
    """The params that have no effect with the values of the others; see config/idle.py."""
    return {
      f'streams.{name}.{path}': why
      for name, sp in p.streams.IterParams()
      for path, why in stream_params.Idle(sp).items()
    }

  @classmethod
  def Validate(cls, p):
    """See the base class."""
    super().Validate(p)
    if not len(p.streams):
      raise errors.ConfigError(f'{p.name}.streams: no stream; add one with AddStream')
    if p.batch_size:
      raise errors.ConfigError(
        f'{p.name}.batch_size = {p.batch_size}: expected 0, since each '
        f'stream has its own batch size, such as {p.name}.streams.{p.streams.GetKeys()[0]}'
        '.bucket_batch_size, which the knob batch_seconds sets'
      )
    _CheckPadding(p, audio.FRAME_STEP_SAMPLES, 'a log-mel frame')
    for field in ('pad_to_bucket', 'emit_strings'):
      if p.Get(field) not in (None, True, False):
        raise errors.ConfigError(f'{p.name}.{field} = {p.Get(field)!r}: expected None, True or False')
    for name, sp in p.streams.IterParams():
      own_names.Check(f'{p.name}.streams', name, own_names.METRICS)
      stream_params.Validate(f'{p.name}.streams.{name}', sp)
      if sp.augment is not None:
        waveform_augment.Validate(f'{p.name}.streams.{name}.augment', sp.augment)

  @classmethod
  def MissingData(cls, p):
    """See the base class. Single shards may be empty; a glob is reported only if all its shards are."""
    return [
      (f'streams.{name}', pattern)
      for name, sp in p.streams.IterParams()
      for pattern in stream_params.WithoutRecords(sp)
    ]

  @classmethod
  def ScanShards(cls, p):
    """See the base class."""
    found = []
    for _, sp in p.streams.IterParams():
      patterns = stream_params.Patterns(sp)
      found += shard_integrity.ScanAll(
        patterns, sorted({f for pattern in patterns for f in stream_params.Glob(pattern)})
      )
    return found

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    if self._on_tpu:
      self._ValidateForTpu()
    self._streams = {name: self._CreateStream(name) for name, _ in p.streams.IterParams()}

  def _ValidateForTpu(self):
    p = self.params
    for name, sp in p.streams.IterParams():
      if len(sp.bucket_upper_bound_seconds) > 1 or not self._pad_to_bucket:
        raise errors.ConfigError(
          f'{p.name}.streams.{name}.bucket_upper_bound_seconds = '
          f'{sp.bucket_upper_bound_seconds!r}: expected one bucket, and '
          'pad_to_bucket, on a TPU, whose shapes are static'
        )

  @property
  def _on_tpu(self):
    return py_utils.use_tpu()

  @property
  def _pad_to_bucket(self):
    p = self.params
    return self._on_tpu if p.pad_to_bucket is None else p.pad_to_bucket

  @property
  def _emit_strings(self):
    p = self.params
    return not self._on_tpu if p.emit_strings is None else p.emit_strings

  def _CreateStream(self, name):
    p = self.params
    return stream_lib.Stream(
      name,
      p.streams.Get(name),
      path=f'{p.name}.streams.{name}',
      seed=p.random_seed,
      do_eval=self.do_eval,
      batch_scale=functools.partial(batch_utils.scale_split_to_infeed, use_per_host_infeed=p.use_per_host_infeed),
      pad_to_bucket=self._pad_to_bucket,
      pad_multiple_samples=p.pad_multiple_samples or audio.FRAME_STEP_SAMPLES,
      in_process=self.cluster.params.worker.name == _THIS_PROCESS,
    )

  @tf.autograph.experimental.do_not_convert  # As _Dataset.
  def CheckUsable(self):
    """See the base class."""
    with self._Device():
      counts = [stream.CountUntilUsable() for stream in self._streams.values()]
    with example_filter.NamingEmptyStreams(), tf.Session(config=session.Config()) as sess:
      sess.run(counts)
    for stream in self._streams.values():
      stream.LoadSounds()

  # There is nothing to convert, and AutoGraph would take half a second at start-up.
  @tf.autograph.experimental.do_not_convert
  def _Dataset(self, start_batch):
    """Returns the dataset of batches of all streams; it ends when all streams have ended."""
    p = self.params
    share = self._WorkerShare()
    streams = {
      name: stream.Dataset(start_batch, share, self.cluster.tf_data_service_address)
      for name, stream in self._streams.items()
    }
    ds = tf.data.Dataset.zip(streams)
    ds = ds.take_while(self._AnyLive)
    ds = ds.map(self._ToBatch)
    return ds.prefetch(p.prefetch_batches).with_options(resumable_iterator.Options())

  def _AnyLive(self, streams):
    return tf.reduce_any(tf.stack([live for live, _ in streams.values()]))

  def _ToBatch(self, streams):
    batch = py_utils.NestedMap()
    for name, (_, tensors) in streams.items():
      batch[name] = py_utils.NestedMap(
        {k: v for k, v in tensors.items() if self._emit_strings or k not in stream_lib.STRING_KEYS}
      )
    return batch

  def SplitInputBatch(self, num_splits):
    """Splits the batch of each stream separately, since their B may differ."""
    assert num_splits >= 1
    batch = self.GetPreprocessedInputBatch()
    if num_splits == 1:
      return [batch]
    splits = [py_utils.NestedMap() for _ in range(num_splits)]
    for name, tensors in batch.items():
      pieces = input_generator_helper.SplitTensors(tensors.Flatten(), num_splits)
      for i, split in enumerate(splits):
        split[name] = tensors.Pack([piece[i] for piece in pieces])
    return splits

  def InfeedBatchSize(self):
    """Returns the number of rows of all streams in one batch; with unequal buckets the largest."""
    return sum(max(s.batch_sizes) for s in self._streams.values())

  def GetPerBatchSize(self, input_batch):
    """Returns the number of utterances in a batch of all streams, without padding; int32 scalar."""
    batches = input_batch if isinstance(input_batch, list) else [input_batch]
    return tf.cast(
      tf.add_n([tf.reduce_sum(batch[name].weights) for batch in batches for name in self._streams]), tf.int32
    )

  def GetCpuPassthroughKeys(self):
    keys = list(self.params.cpu_passthrough_keys)
    if self._on_tpu and self._emit_strings:
      keys += [f'{name}.{k}' for name in self._streams for k in stream_lib.STRING_KEYS]
    return keys
