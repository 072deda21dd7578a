"""Sessions that leave graphs as they are: those of tests run once or twice, and TensorFlow's optimiser takes longer."""

import contextlib

from fm_lingvo.runtime import session

_optimised_config = session._WithOptions
_optimise = False


def Install():
  """Makes sessions with session.Config() not optimise their graphs; may be called again."""
  session._WithOptions = _Config


@contextlib.contextmanager
def Optimised():
  """Context in which sessions with session.Config() optimise their graphs, as in a run."""
  global _optimise
  _optimise = True
  try:
    yield
  finally:
    _optimise = False


def _Config(config):
  config = _optimised_config(config)
  if not _optimise:
    config.graph_options.rewrite_options.disable_meta_optimizer = True
  return config
