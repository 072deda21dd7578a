"""What a cluster's jobs import in tests; there they wait for one another for seconds, not for half a minute.

The controller may be about to restore the variables when a trainer finds the global step, so that it still waits.
"""

import time
import types

from lingvo import base_runner
from lingvo import runners

from tests.faults import preload  # noqa: F401
from tools.cluster import local

_SECONDS = 3  # From the first answer of the variables to the first step.
_LONGEST = 1  # Of any other wait of Lingvo's jobs.
_wait_until_init = base_runner.BaseRunner._WaitUntilInit


def _WaitUntilInit(self, *args, **kwargs):
  _wait_until_init(self, *args, **kwargs)
  time.sleep(_SECONDS)
  return _wait_until_init(self, *args, **kwargs)


base_runner.BaseRunner._WaitUntilInit = _WaitUntilInit
for _runner in (base_runner, runners):
  _runner.time = types.SimpleNamespace(**{**vars(time), 'sleep': lambda seconds: time.sleep(min(seconds, _LONGEST))})
local._STOP_SECONDS = 2  # TensorFlow's servers ignore SIGTERM.
