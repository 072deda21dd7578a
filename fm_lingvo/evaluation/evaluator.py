"""One pass over a held-out data set with the current weights.

T: log-mel frames, N: encoded frames, G: codebooks, V: codes a codebook.
"""

import numpy as np
from lingvo import compat as tf
from lingvo.core import cluster_factory

from fm_lingvo.checkpoints import reader
from fm_lingvo.data import example_filter
from fm_lingvo.evaluation import hypotheses
from fm_lingvo.run_files import metrics_log
from fm_lingvo.run_files import tensorboard
from fm_lingvo.runtime import session

_COUNTS = ('code_counts', 'masked_code_counts', 'num_samples', 'num_labels', 'weights')
_PANEL = ('masked_features', 'paddings', 'mask', 'codes', 'predictions', 'loss_weights', 'waveform')


def CountTensors(task):
  """The per-example tensors that metrics_log.Aggregate needs, of a built task."""
  return {
    key: tensor
    for key, tensor in task.per_example_tensors.items()
    if key.rpartition('/')[2] in _COUNTS or key.rpartition('/')[2].startswith('dropped')
  }


def Brief(values):
  """The few metrics that one line on a terminal shows; what was dropped is among them where it is not 0."""
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
  brief.update({k: v for k, v in sorted(values.items()) if k.endswith('/dropped') and v})
  return brief


class Evaluator:
  """Graph and session that evaluate one data set again and again."""

  def __init__(self, params):
    """Builds the graph from model Params with the data set's input."""
    p = params.Copy()
    p.cluster.do_eval = True
    self._graph = tf.Graph()
    with cluster_factory.Cluster(p.cluster) as cluster, self._graph.as_default():
      with tf.device(cluster.GetPlacer()):
        self._model = p.Instantiate()
        self._model.ConstructFPropGraph()
        self._task = self._model.GetTask()
        self._recognitions = hypotheses.ForTask(self._task)
        self._init = tf.group(tf.local_variables_initializer(), tf.tables_initializer())
        self._variables = {v.op.name: v for v in tf.global_variables()}
        self._assign = {name: (tf.placeholder(v.dtype.base_dtype, v.shape), v) for name, v in self._variables.items()}
        self._load = [tf.assign(v, value) for value, v in self._assign.values()]
    self._session = tf.Session(graph=self._graph, config=session.Config())
    self._session.run(self._init)
    self._loaded = None  # What ReadWeights has loaded, until Run.

  def CopyWeights(self, graph, sess):
    """Values, by name, of this graph's variables in another graph's session.

    Raises:
      ValueError: Naming the variables that the other graph lacks.
    """
    with graph.as_default():
      source = {v.op.name: v for v in tf.global_variables()}
    missing = sorted(set(self._variables) - set(source))
    if missing:
      raise ValueError(f'evaluation: no value for variables {", ".join(missing)}')
    return sess.run({name: source[name] for name in self._variables})

  @property
  def task(self):
    """The base_task.BaseTask in evaluation."""
    return self._task

  def ReadWeights(self, checkpoint):
    """Values, by name, of this graph's variables in a reader.Checkpoint.

    Raises:
      errors.ConfigError: It lacks variables, has them in other shapes, or was made with another front end or
        tokenizer.
    """
    reader.Match(checkpoint, self._variables).Check(self._task, self._session)
    weights = checkpoint.Values(self._variables)
    self._Load(weights)
    self._loaded = weights
    return weights

  def _Load(self, weights):
    self._session.run(self._load, {placeholder: weights[name] for name, (placeholder, _) in self._assign.items()})

  def Run(self, weights, should_stop=lambda: False):
    """Evaluates one pass.

    Args:
      weights: dict variable name -> value, see CopyWeights and ReadWeights.
      should_stop: Asked before each batch; True ends the pass.

    Returns:
      (values, panel, rows): values as metrics_log.Aggregate, over the whole data
      set, with the error rates of branches that decode; panel, tensors of the first
      utterance (PanelSummaries); rows, what was recognised (hypotheses.Write).
      (None, None, None) if should_stop ended the pass.

    Raises:
      errors.ConfigError: A stream has no example to use.
      ValueError: The data set gave no batch.
    """
    if weights is not self._loaded:
      self._Load(weights)
    self._loaded = None
    self._task.input.Reset(self._session)
    fetches = [self._task.eval_metrics, CountTensors(self._task), [r.fetches for r in self._recognitions]]
    panel_fetch = {
      key: tensor for key, tensor in self._task.per_example_tensors.items() if key.rpartition('/')[2] in _PANEL
    }
    metrics_list, counts_list, panel = [], [], None
    while True:
      if should_stop():
        return None, None, None
      try:
        with example_filter.NamingEmptyStreams():
          # Always the panel too, one utterance: without it TensorFlow would optimise the graph a second time.
          (metrics, counts, found), shown = self._session.run([fetches, panel_fetch])
          panel = panel or shown
      except tf.errors.OutOfRangeError:
        break
      metrics_list.append(metrics)
      counts_list.append(counts)
      for collected, batch in zip(self._recognitions, found):
        collected.Add(batch)
    if not metrics_list:
      raise ValueError('evaluation: the data set gave no batch')
    values = metrics_log.Aggregate(metrics_list, counts_list)
    loss = self._task.MeanLoss(values)
    if loss is not None:
      values['loss'] = loss
    values.update(self._task.DerivedMetrics(values))
    for branch, _ in self._task.branches:
      key = f'{branch}/code_counts'
      if key in counts_list[0]:
        panel[key] = sum(np.sum(c[key], axis=0) for c in counts_list)  # [G, V]
    rows = []
    for collected in self._recognitions:
      scores, branch_rows = collected.Finish()
      values.update(scores)
      rows += branch_rows
    return values, panel, rows


def PanelSummaries(panel):
  """Yields tf.Summary: masked log-mel and codes, code usage, audio.

  Args:
    panel: What Evaluator.Run returned: BRANCH/mask [1, T], BRANCH/codes [1, N, G]
      and so on, and BRANCH/code_counts [G, V].
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
      yield tensorboard.Audio(f'{prefix}/audio', np.trim_zeros(value[0], 'b'))
