"""Base class of input generators: a tf.data pipeline that can start at any batch, and checks before reading."""

import contextlib

from lingvo import compat as tf
from lingvo.core import base_input_generator
from lingvo.core import cluster as cluster_lib
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.checkpoints import run_checkpoints
from fm_lingvo.data import resumable_iterator
from fm_lingvo.utils import ranges
from fm_lingvo.utils import seeds

_resumed_folder = ''


@contextlib.contextmanager
def ResumeFrom(train_dir):
  """Context in which training inputs that are initialised resume after the newest checkpoint in a folder.

  This is for Lingvo's own jobs, which initialise their input without passing the next step, also after another job has
  died. A local run sets `start_step` instead.
  """
  global _resumed_folder
  before, _resumed_folder = _resumed_folder, train_dir
  try:
    yield
  finally:
    _resumed_folder = before


class BaseInput(base_input_generator.BaseInputGenerator):
  """Batches in an order that depends only on seeds, worker and batch number.

  Training data is infinite. A runner that resumes at step k sets `start_step = k` before Initialize, so that batch k
  comes first. Evaluation reads every example once, then raises tf.errors.OutOfRangeError.

  A subclass implements `_Dataset`, Lingvo's InfeedBatchSize and GetPerBatchSize, and the class methods below.
  """

  reads_in_workers = True  # Whether the pipeline runs in another process than the one that builds its graph, too.

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('num_workers', None, 'Number of workers that share the data, > 0; None: from the cluster.')
    p.Define(
      'worker_index', None, 'Index of the share that this worker reads, in [0, num_workers); None: from the cluster.'
    )
    p.Define('prefetch_batches', 4, 'Batches to prefetch, >= 0.')
    p.name = 'input'
    p.resettable = True
    return p

  @classmethod
  def Validate(cls, p):
    """Raises errors.ConfigError, one line with param and value, if Params `p` are invalid; reads no data."""
    if p.file_datasource:
      raise errors.ConfigError(f'{p.name}.file_datasource: expected None, since each stream has its file_pattern')
    seeds.Check(f'{p.name}.random_seed', p.random_seed)
    ranges.AtLeast(p, prefetch_batches=0)
    ranges.WholeOrNone(p, num_workers=1, worker_index=0)
    if (p.num_workers is None) != (p.worker_index is None):
      raise errors.ConfigError(
        f'{p.name}.num_workers = {p.num_workers} and worker_index = {p.worker_index}: expected both or neither'
      )
    if p.num_workers is not None and not 0 <= p.worker_index < p.num_workers:
      raise errors.ConfigError(
        f'{p.name}.worker_index = {p.worker_index}: expected in [0, {p.num_workers}), which num_workers gives'
      )

  @classmethod
  def MissingData(cls, p):
    """Returns [(path below the input, glob)] of the globs of Params `p` without any records; builds no graph."""
    raise NotImplementedError('Abstract method')

  @classmethod
  def ScanShards(cls, p):
    """Scans all shards of Params `p`; returns the shard_integrity.Shards that were not known before."""
    del p
    return []

  def CheckUsable(self):
    """Raises errors.ConfigError if there is no example to use; reads no further than to the first one."""

  def __init__(self, params):
    super().__init__(params)
    self.Validate(self.params)
    self.start_step = 0
    self._iterators = {}  # (host, number of hosts) -> BatchIterator.

  def _Dataset(self, start_batch):
    """Returns the dataset of batches, NestedMaps, starting at number `start_batch`, an int64 scalar tensor."""
    raise NotImplementedError('Abstract method')

  def _WorkerShare(self):
    """Returns (index, count): this graph's share of the data.

    Each asynchronous trainer reads its own share. The single client of synchronous
    training reads for all workers. A TPU host with its own infeed reads for its
    cores. Evaluation reads everything.
    """
    p = self.params
    if p.num_workers is not None:
      return p.worker_index, p.num_workers
    if self.do_eval:
      return 0, 1
    if p.use_per_host_infeed:
      infeed = cluster_lib.GetInfeedContext()
      return infeed.infeed_host_index, max(infeed.num_infeed_hosts, 1)
    if self.cluster.asynchronous and self.cluster.job == 'trainer':
      return self.cluster.task, self.cluster.num_replicas
    return 0, 1

  def _InputBatch(self):
    infeed = cluster_lib.GetInfeedContext()
    key = (infeed.infeed_host_index, infeed.num_infeed_hosts)
    if key not in self._iterators:
      # Outside of any tf.function, so that retracing does not recreate the iterator.
      with tf.init_scope(), py_utils.GlobalStepContext(None), self._Device():
        self._iterators[key] = resumable_iterator.BatchIterator(self._Dataset)
    with self._Device():
      return self._iterators[key].GetNext()

  def _Device(self):
    """Returns the device scope of strings and tf.data: the host, even if operations default to a GPU."""
    on_gpu = self.cluster.job_spec.gpus_per_replica > 0
    return tf.device('/cpu:0' if on_gpu else None)

  def _BatchesAtNewestCheckpoint(self):
    """Returns the number of batches from this input up to the newest checkpoint; async trainers share its steps."""
    newest = run_checkpoints.Newest(_resumed_folder)
    step = max(0, run_checkpoints.Step(newest)) if newest else 0
    return step // (self.cluster.num_replicas if self.cluster.asynchronous else 1)

  def Initialize(self, sess=None):
    """Starts at batch `start_step`, or in ResumeFrom's folder after its newest checkpoint."""
    if _resumed_folder and not self.do_eval:
      self.start_step = self._BatchesAtNewestCheckpoint()
    super().Initialize(sess)
    for iterator in self._iterators.values():
      iterator.Start(self.start_step, sess)

  def Reset(self, sess=None):
    """Starts again at batch 0."""
    for iterator in self._iterators.values():
      iterator.Start(0, sess)
