"""Base class of tests that build a graph and run it in a session."""

import contextlib
import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

from absl import flags
from absl import logging
from absl.testing import absltest
from lingvo import compat as tf
from lingvo.core import base_layer
from lingvo.core import cluster_factory
from lingvo.core import py_utils

from fm_lingvo.config import params_copy
from fm_lingvo.runtime import session
from tests import unoptimised_graphs

params_copy.Install()  # As in a run.
py_utils.SetEagerMode(False)
if not flags.FLAGS.is_parsed():
  flags.FLAGS(['test'])  # pytest does not; absltest.main parses again.
logging.set_verbosity(logging.ERROR)
# As in a run (fm_lingvo/training/launch.py): without Lingvo's checks of shapes and numbers while a graph runs, half of
# an encoder's operations. tests/conformer_encoder_test.py has them on.
flags.FLAGS.enable_asserts = flags.FLAGS.enable_check_numerics = False
session.ComputeOnCpu()

# Processes that tests start optimise their graphs; Optimised is for tests of what that does.
unoptimised_graphs.Install()
Optimised = unoptimised_graphs.Optimised
tf.config.optimizer.set_experimental_options({'disable_meta_optimizer': True})  # Sessions without a config.


def Load(sess, values):
  """Gives variables their values in one step of a session: TensorFlow optimises the graph for each new set of fetches.

  Args:
    sess: The session.
    values: dict: variable -> value.
  """
  assign = {v.initializer: value for v, value in values.items()}
  sess.run(list(assign), {op.inputs[1]: value for op, value in assign.items()})


class GraphCase(absltest.TestCase):
  """Runs each test in a graph of its own."""

  def setUp(self):
    super().setUp()
    self._session = None
    self.enter_context(self.NewGraph())

  @contextlib.contextmanager
  def NewGraph(self):
    """Context of another graph with the same seeds."""
    session, self._session = self._session, None
    # As in a run: where there is no cluster, each layer makes one anew at each look.
    with tf.Graph().as_default(), cluster_factory.Current():
      tf.random.set_seed(1234)
      py_utils.GetOrCreateGlobalStepVar()
      yield
    self._session = session

  def Layer(self, params, **overrides):
    """Instantiates layer Params under the name `layer`."""
    return params.Copy().Set(name='layer', **overrides).Instantiate()

  def Eval(self, *tensors):
    """Values of tensors, variables initialised at the first call."""
    if self._session is None:
      self._session = tf.Session(graph=tf.get_default_graph(), config=session.Config())
      self._session.run(tf.global_variables_initializer())
    values = self._session.run(tensors)
    return values[0] if len(tensors) == 1 else values

  def EvalMode(self):
    """Context in which layers are built for evaluation."""
    return cluster_factory.SetEval(True)


__all__ = ['GraphCase', 'Load', 'Optimised', 'absltest', 'base_layer', 'tf', 'py_utils']
