"""Evaluates a held-out data set with given weights.

T: log-mel frames, N: encoded frames, G: codebooks, V: codes per codebook.
"""

import numpy as np
from lingvo import compat as tf
from lingvo.core import cluster_factory

from fm_lingvo.checkpoints import reader
from fm_lingvo.data import example_filter
from fm_lingvo.evaluation import hypotheses
from fm_lingvo.evaluation import joint_search
from fm_lingvo.run_files import metrics_log
from fm_lingvo.run_files import tensorboard
from fm_lingvo.runtime import session
from fm_lingvo.runtime import zero_variables
from fm_lingvo.utils import audio

_COUNTS = ('code_counts', 'masked_code_counts', 'num_samples', 'num_labels', 'weights', 'cut')
_PANEL = ('masked_features', 'paddings', 'mask', 'codes', 'predictions', 'loss_weights', 'waveform')


def CountTensors(task):
  """Returns the per-example tensors of a built task that metrics_log.Aggregate needs."""
  return {
    key: tensor
    for key, tensor in task.per_example_tensors.items()
    if key.rpartition('/')[2] in _COUNTS or key.rpartition('/')[2].startswith('dropped')
  }


def Brief(values):
  """Returns the few metrics to show in a terminal line.

  The counts of dropped examples are among them (metrics_log.Dropped), the shares of unknown labels if IsManyUnknown.
  """
  names = (
    'loss',
    'perplexity',
    'bits_per_character',
    'wer',
    'cer',
    'masked_accuracy',
    'majority_accuracy',
    'cross_entropy',
    'unigram_entropy',
  )
  brief = {
    k: v for name in names for k, v in sorted(values.items()) if k == name or k.endswith('/' + name) and name != 'loss'
  }
  brief.update(metrics_log.Dropped(values))
  brief.update({k: v for k, v in sorted(values.items()) if IsManyUnknown(k, v)})
  return brief


def IsManyUnknown(name, value):
  """Whether a metric is a share of unknown labels that a user must know of."""
  return name.rpartition('/')[2] == 'unknown_labels' and value > 0.01


class Evaluator:
  """A graph and a session that evaluate one data set, repeatedly and with any weights."""

  def __init__(self, params):
    """Builds the graph from model Params with the data set's input."""
    p = params.Copy()
    p.cluster.do_eval = True
    self._graph = tf.Graph()
    with cluster_factory.Cluster(p.cluster) as cluster, self._graph.as_default():
      with tf.device(cluster.GetPlacer()):
        with zero_variables.Scope():
          self._model = p.Instantiate()
        self._model.ConstructFPropGraph()
        self._task = self._model.GetTask()
        self._searches = [joint_search.Search(self._task, found) for found in hypotheses.ForTask(self._task)]
        self._init = tf.group(tf.local_variables_initializer(), tf.tables_initializer())
        self._variables = {v.op.name: v for v in tf.global_variables()}
        self._assign = {name: (tf.placeholder(v.dtype.base_dtype, v.shape), v) for name, v in self._variables.items()}
        self._load = [tf.assign(v, value) for value, v in self._assign.values()]
    self._session = tf.Session(graph=self._graph, config=session.Config())
    self._session.run(self._init)
    self._loaded = None  # Weights that ReadWeights loaded and Run has not used yet.

  def CopyWeights(self, graph, sess):
    """Reads the values of this graph's variables from another graph's session.

    Returns:
      dict: variable name -> value.

    Raises:
      ValueError: The other graph lacks variables; the message names them.
    """
    with graph.as_default():
      source = {v.op.name: v for v in tf.global_variables()}
    missing = sorted(set(self._variables) - set(source))
    if missing:
      raise ValueError(f'evaluation: no value for variables {", ".join(missing)}')
    return sess.run({name: source[name] for name in self._variables})

  @property
  def task(self):
    """The base_task.BaseTask, built for evaluation."""
    return self._task

  def ReadWeights(self, checkpoint):
    """Reads the values of this graph's variables from a reader.Checkpoint.

    Returns:
      dict: variable name -> value.

    Raises:
      errors.ConfigError: The checkpoint lacks variables, has them in other shapes, or was made with another front end
        or tokenizer.
    """
    # This graph's moving averages need not be in it: they have the values that its weights are read with.
    needed = {name: v for name, v in self._variables.items() if not name.endswith(reader.AVERAGE)}
    reader.Match(checkpoint, needed).Check(self._task)
    weights = checkpoint.Values(self._variables)
    self._Load(weights)
    self._loaded = weights
    return weights

  def _Load(self, weights):
    self._session.run(self._load, {placeholder: weights[name] for name, (placeholder, _) in self._assign.items()})

  def MetricNames(self):
    """Names of the metrics of Run, sorted; nothing is computed. Run leaves out those that no example has."""
    metrics = {name: (0.0, 1.0) for name in self._task.eval_metrics}
    counts = {name: np.zeros([n or 1 for n in x.shape.as_list()]) for name, x in CountTensors(self._task).items()}
    found = [name for search in self._searches for name in search.MetricNames()]
    return sorted({*self._Means([metrics], [counts]), *found})

  def _Means(self, metrics_list, counts_list):
    """The metrics of metrics_log.Aggregate, and those that the task derives of them."""
    values = metrics_log.Aggregate(metrics_list, counts_list)
    loss = self._task.MeanLoss(values)
    if loss is not None:
      values['loss'] = loss
    values.update(self._task.DerivedMetrics(values))
    return values

  def Run(self, weights, should_stop=lambda: False, max_batches=None):
    """Makes one pass over the data set.

    Args:
      weights: dict: variable name -> value, see CopyWeights and ReadWeights.
      should_stop: Called before each batch; True ends the pass.
      max_batches: Batches to evaluate; None: all.

    Returns:
      (values, panel, rows): the metrics of metrics_log.Aggregate over the whole data set, with error rates of branches
      that decode; tensors of the first utterance for PanelSummaries; the recognised texts for hypotheses.Write.
      (None, None, None) if should_stop ended the pass.

    Raises:
      errors.ConfigError: A stream has no usable example.
      ValueError: The data set gave no batch.
    """
    if weights is not self._loaded:
      self._Load(weights)
    self._loaded = None
    self._task.input.Reset(self._session)
    fetches = [self._task.eval_metrics, CountTensors(self._task), [search.fetches for search in self._searches]]
    panel_fetch = {
      key: tensor for key, tensor in self._task.per_example_tensors.items() if key.rpartition('/')[2] in _PANEL
    }
    metrics_list, counts_list, panel = [], [], None
    while max_batches is None or len(metrics_list) < max_batches:
      if should_stop():
        return None, None, None
      try:
        with example_filter.NamingEmptyStreams():
          # Always fetch the panel (one utterance): another set of fetches makes TensorFlow optimise the graph again.
          (metrics, counts, recognized), first_utterance = self._session.run([fetches, panel_fetch])
          panel = panel or first_utterance
      except tf.errors.OutOfRangeError:
        break
      metrics_list.append(metrics)
      counts_list.append(counts)
      for search, batch in zip(self._searches, recognized):
        search.Add(self._session, batch)
    if not metrics_list:
      raise ValueError('evaluation: the data set gave no batch')
    values = self._Means(metrics_list, counts_list)
    for branch, _ in self._task.branches:
      key = f'{branch}/code_counts'
      if key in counts_list[0]:
        panel[key] = sum(np.sum(c[key], axis=0) for c in counts_list)  # [G, V]
    rows = []
    for search in self._searches:
      scores, branch_rows = search.Finish(self._session)
      values.update(scores)
      rows += branch_rows
    return values, panel, rows


def PanelSummaries(panel):
  """Yields tf.Summary protos of masked log-mel and codes, code usage, and audio with and without masked spans.

  Args:
    panel: The panel of Evaluator.Run: BRANCH/mask [1, T], BRANCH/codes [1, N, G] and so on, and
      BRANCH/code_counts [G, V].
  """
  for key, value in sorted(panel.items()):
    prefix, _, name = key.rpartition('/')
    if name == 'masked_features' and f'{prefix}/codes' in panel:
      frames = int(np.sum(1.0 - panel[f'{prefix}/paddings'][0]))
      yield tensorboard.MaskedLogMel(
        f'{prefix}/masked_log_mel',
        value[0],
        panel[f'{prefix}/mask'][0],
        panel[f'{prefix}/codes'][0, :, 0],
        panel[f'{prefix}/predictions'][0, :, 0],
        panel[f'{prefix}/loss_weights'][0],
        frames,
      )
    elif name == 'code_counts':
      for g, counts in enumerate(value):
        yield tensorboard.CodeHistogram(f'{prefix}/code_usage_{g}', counts)
    elif name == 'waveform':
      samples = np.trim_zeros(value[0], 'b')
      yield tensorboard.Audio(f'{prefix}/audio', samples)
      mask = panel.get(f'{prefix}/mask')
      if mask is not None:
        yield tensorboard.Audio(f'{prefix}/audio_masked', Silenced(samples, mask[0]))


def Silenced(samples, mask):
  """Returns samples [S] with 0 in masked frames; mask [T] is 1 on them."""
  hidden = np.repeat(np.asarray(mask) > 0, audio.FRAME_STEP_SAMPLES)[: len(samples)]
  return np.where(np.pad(hidden, (0, len(samples) - len(hidden))), 0.0, samples)
