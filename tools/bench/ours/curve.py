"""One function at several points of a curve: time and memory of each, in one process."""

import time

from .. import worker

# A point repeats short calls until so many seconds have gone.
_POINT_SECONDS = 0.1


def Call(points):
  """A call for worker.Serve that runs through all points.

  Args:
    points: dict, ascending number -> function without arguments that returns when its work is done.

  Returns:
    Function that returns a dict: of each number x seconds@x, cpu_seconds@x and peak_gb@x, the most memory beside what the
    process has now. It is that of the first run: the process keeps what a later point took, and earlier ones would have it.
  """
  idle, peaks = worker.Memory('VmRSS'), {}

  def _Call():
    found = {}
    for x, function in points.items():
      worker.ForgetPeak()
      calls, start = 0, time.perf_counter()
      while not calls or time.perf_counter() - start < _POINT_SECONDS:
        timed, calls = worker.Timed(function, 1), calls + 1
      peak = peaks.setdefault(x, max(0.0, worker.Memory('VmHWM') - idle))
      found.update({f'seconds@{x}': timed['seconds'], f'cpu_seconds@{x}': timed['cpu_seconds'], f'peak_gb@{x}': peak})
    return found

  return _Call
