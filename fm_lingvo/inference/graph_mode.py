"""TensorFlow and Lingvo in graph mode, as their layers need it."""

import contextlib
from collections.abc import Iterator

from absl import flags
from absl import logging
from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo.runtime import graph_checks
from fm_lingvo.runtime import quiet


def Start() -> None:
  """Puts TensorFlow and Lingvo into graph mode and silences Lingvo's log; call it first."""
  py_utils.SetEagerMode(False)
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(['inference'])  # Lingvo reads its flags.
  graph_checks.TurnOff()
  logging.set_verbosity(logging.ERROR)
  quiet.FindDevices()


@contextlib.contextmanager
def GraphMode() -> Iterator[None]:
  """Context in which Lingvo builds graphs as after Start; afterwards the process is as before."""
  eager, verbosity, parsed = py_utils.IsEagerMode(), logging.get_verbosity(), flags.FLAGS.is_parsed()
  seeds = py_utils._STEP_SEED_DICT.dict  # A tensor for each graph, which keeps the graph in memory.
  graphs = set(seeds)
  py_utils.SetEagerMode(False, test_mode=True)  # Lingvo's own flag: a graph that is entered is no eager mode anyway.
  logging.set_verbosity(logging.ERROR)
  if not parsed:
    flags.FLAGS(['inference'])
  checks = graph_checks.TurnOff()
  quiet.FindDevices()
  try:
    with tf.Graph().as_default():
      yield
  finally:
    for graph in set(seeds) - graphs:
      del seeds[graph]
    graph_checks.Restore(checks)
    if not parsed:
      flags.FLAGS.unparse_flags()
    logging.set_verbosity(verbosity)
    py_utils.SetEagerMode(eager, test_mode=True)
