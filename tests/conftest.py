"""pytest only: every test file sees the execution mode that it would have on its own, `python tests/NAME_test.py`.

graph_case.py turns eager execution off when it is imported, also by stage_case.py, and pytest imports every file before
the first test runs.
"""

import gc
import os
import re
import sys

import pytest
from absl import flags
from absl.testing import absltest  # noqa: F401 Defines flags.

from tests import process_state
from tests import xla_dumps  # noqa: F401 First: XLA reads its flags once.

# The longest files, begun first, so that the workers of `make test` and `make test-slow` are done at the same time.
_LONG = (
  'readme_test',
  'cluster_kill_test',
  'trainer_test',
  'cluster_test',
  'faults_processes_test',
  'benchmark_test',
  'xla_check_test',
  'librispeech_test',
  'exported_graphs_test',
  'cluster_share_test',
  'user_modules_test',
  'wheel_test',
  'hydra_input_test',
  'export_test',
  'portable_test',
  'lora_test',
  'experiments_test',
  'hydra_test',
  'recipe_test',
  'evaluate_test',
  'stream_test',
  'warm_start_test',
  'conformer_encoder_test',
  'adapter_test',
  'mixed_precision_test',
  'transducer_test',
  'recognizer_test',
  'data_statistics_test',
  'batch_split_test',
  'averages_test',
)

# Long files whose tests share next to nothing: each test goes to the worker that is free. A worker has always taken on
# more than the test that it runs: a file behind a long one would wait while others have nothing left to do.
_APART = ('benchmark_test', 'cluster_kill_test', 'cluster_test', 'faults_processes_test', 'xla_check_test')

os.environ['FM_LINGVO_GRAPHS'] = ''  # No test finds a graph that another one kept, see inference/kept_graphs.py.
if not flags.FLAGS.is_parsed():
  flags.FLAGS(['test'])  # absltest.main would.
gc.set_threshold(50_000, 20, 100)  # As the trainer; a file's graphs are collected when it is done.


def pytest_collection_modifyitems(items):
  items.sort(key=lambda item: _LONG.index(item.path.stem) if item.path.stem in _LONG else len(_LONG))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
  if config.getvalue('dist') != 'loadfile':
    return None
  from xdist.scheduler import LoadFileScheduling

  class _Scheduling(LoadFileScheduling):
    def _split_scope(self, nodeid):
      file = super()._split_scope(nodeid)
      return nodeid if os.path.basename(file).removesuffix('.py') in _APART else file

  return _Scheduling(config, log)


def pytest_sessionfinish():
  # `make coverage`: a worker that takes long to end is killed, and what it measured is lost, unless it is saved here.
  coverage = sys.modules.get('coverage')
  measured = coverage and coverage.Coverage.current()
  if measured:
    measured.stop()
    measured.save()


@pytest.fixture(autouse=True, scope='module')
def _graphs_of_the_file_are_collected():
  yield
  gc.collect()
  gc.freeze()  # What is left lives as long as the process: no later collection looks at it, which took 4 s a file.


@pytest.fixture(autouse=True)
def _state_of_the_process_is_restored():
  """No test sees what another one left in the process that they share."""
  with process_state.Restored():
    yield


def _ImportsGraphCase(module):
  with open(module.__file__) as f:
    return re.search(r'^(from tests )?import (graph|stage)_case', f.read(), re.M) is not None


@pytest.fixture(autouse=True)
def _mode_of_the_file_alone(request):
  if 'tests.graph_case' not in sys.modules or _ImportsGraphCase(request.module):
    yield
  else:
    from tensorflow.python.eager import context

    with context.eager_mode():
      yield
