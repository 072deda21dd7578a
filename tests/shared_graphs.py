"""Graphs that the tests of a process share: decoding graphs wherever this is imported, evaluations' where it is said.

Runs of tests differ in their weights far more often than in their models, and to build a graph takes ten times as long
as to restore weights. Whoever tests what a graph leaves behind starts a process of its own.
"""

import collections
import hashlib
import os
import re
from unittest import mock

from lingvo import compat as tf
from lingvo.core import cluster_factory
from lingvo.core import py_utils

from fm_lingvo.evaluation import evaluator
from fm_lingvo.inference import decoding_graph
from fm_lingvo.runtime import computing


class _Newest:
  """The newest of what was made, by what it was made of; older ones would only hold memory."""

  def __init__(self, make, most):
    self._make, self._most = make, most
    self._made = collections.OrderedDict()

  def Get(self, key, *args):
    if key not in self._made:
      self._made[key] = self._make(*args)
      if len(self._made) > self._most:
        self._made.popitem(last=False)
    self._made.move_to_end(key)
    return self._made[key]


_graphs = _Newest(decoding_graph.New, 8)
_evaluators = _Newest(evaluator.Evaluator, 4)


def _WithContent(match):
  """The content's hash in place of the path of a file, such as a tokenizer in a run's folder."""
  path = match.group(1)
  if not os.path.isfile(path):
    return match.group(0)
  with open(path, 'rb') as f:
    return hashlib.sha256(f.read()).hexdigest()


def _Key(*params):
  """All that a graph of these Params depends on."""
  text = ''.join(p.ToText() for p in params) + repr(computing.SETTINGS)
  return re.sub(r'["\']([^"\'\n]+)["\']', _WithContent, text)


def _Graph(run):
  return _graphs.Get(_Key(run.params, run.cluster), run)


decoding_graph.New = _Graph


def _NewWeights(params):
  with tf.Graph().as_default(), cluster_factory.Cluster(params.cluster):
    tf.random.set_seed(1)
    global_step = py_utils.GetOrCreateGlobalStepVar()
    task = params.task.Copy().Set(input=None).Instantiate()
    variables = {v.op.name: v for v in task.vars.Flatten()}
    return task, variables, global_step, tf.train.Saver({**variables, 'global_step': global_step})


_weights = _Newest(_NewWeights, 8)


def Weights(params):
  """A graph of the variables of model Params alone.

  Returns:
    (task, dict of variables by name, the global step, the Saver of all).
  """
  return _weights.Get(_Key(params.task, params.cluster), params)


def Evaluators():
  """Context in which evaluations of the same Params share a graph and its session."""
  return mock.patch.object(evaluator, 'Evaluator', lambda params: _evaluators.Get(_Key(params), params))
