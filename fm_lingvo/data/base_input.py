"""What is common to all inputs: a tf.data pipeline that starts at any batch, and what runners ask before they read."""

from lingvo import compat as tf
from lingvo.core import base_input_generator
from lingvo.core import cluster as cluster_lib
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.checkpoints import run_checkpoints
from fm_lingvo.data import resumable_iterator

_resumed_folder = ''


def ResumeFrom(train_dir):
  """Makes training inputs that are initialised from now on go on behind the newest checkpoint of a folder.

  For Lingvo's own jobs: they initialise their input without saying which step is next, also after another job has died.
  A local run sets `start_step`.
  """
  global _resumed_folder
  _resumed_folder = train_dir


class BaseInput(base_input_generator.BaseInputGenerator):
  """Batches in an order that depends on seeds, worker and batch number only.

  Training never ends. A runner that resumes at step k sets `start_step = k` before Initialize: batch k comes first.
  Evaluation sees every example once, then raises tf.errors.OutOfRangeError.

  A subclass has `_Dataset`, Lingvo's InfeedBatchSize and GetPerBatchSize, and the class methods below.
  """

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('num_workers', None, 'Workers that share the data; None: from the cluster.')
    p.Define('worker_index', None, 'Which share is read here, in [0, num_workers); None: from the cluster.')
    p.Define('prefetch_batches', 4, 'Batches made ahead, >= 0.')
    p.name = 'input'
    p.resettable = True
    return p

  @classmethod
  def Validate(cls, p):
    """Raises errors.ConfigError, one line with param and value, if Params `p` cannot be used; reads no data."""
    if p.file_datasource:
      raise errors.ConfigError(f'{p.name}.file_datasource: expected None, since each stream has its file_pattern')
    if p.prefetch_batches < 0:
      raise errors.ConfigError(f'{p.name}.prefetch_batches = {p.prefetch_batches}: expected >= 0')
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
    """Returns [(path below the input, glob)] of the globs of Params `p` that match nothing to read; builds no graph."""
    raise NotImplementedError('Abstract method')

  @classmethod
  def ScanShards(cls, p):
    """Reads all shards of Params `p` and checks them; returns the damage.Shard that were not known."""
    del p
    return []

  def __init__(self, params):
    super().__init__(params)
    self.Validate(self.params)
    self.start_step = 0
    self._iterators = {}  # (host, number of hosts) -> BatchIterator.

  def _Dataset(self, start_batch):
    """Dataset of batches, NestedMaps, from number `start_batch` on, an int64 scalar tensor."""
    raise NotImplementedError('Abstract method')

  def _WorkerShare(self):
    """Returns (index, count): this graph's part of the data.

    An asynchronous trainer reads for itself; the one client of synchronous
    training reads for all its workers; each TPU host with an infeed of its own
    reads for its cores. Evaluation reads everything.
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
      # Outside of any tf.function, so that its retracing finds the same data.
      with tf.init_scope(), py_utils.GlobalStepContext(None), self._Device():
        self._iterators[key] = resumable_iterator.BatchIterator(self._Dataset, self.start_step)
    with self._Device():
      return self._iterators[key].GetNext()

  def _Device(self):
    """Strings and tf.data live on the host, also where ops default to a GPU."""
    on_gpu = self.cluster.job_spec.gpus_per_replica > 0
    return tf.device('/cpu:0' if on_gpu else None)

  def _StepsDone(self):
    """Batches of this input that the newest checkpoint of ResumeFrom has seen; async trainers have shared its steps."""
    newest = run_checkpoints.Newest(_resumed_folder)
    step = max(0, run_checkpoints.Step(newest)) if newest else 0
    return step // (self.cluster.num_replicas if self.cluster.asynchronous else 1)

  def Initialize(self, sess=None):
    """Makes batch `start_step` the next one."""
    if _resumed_folder and not self.do_eval:
      self.start_step = self._StepsDone()
    super().Initialize(sess)
    for iterator in self._iterators.values():
      iterator.Start(self.start_step, sess)

  def Reset(self, sess=None):
    """Makes batch 0 the next one."""
    for iterator in self._iterators.values():
      iterator.Start(0, sess)
