"""Times a function at several points of a curve, such as lengths of audio, in one process."""

import time

from .. import worker

_POINT_SECONDS = 0.1  # Short calls are repeated for so long.


def Call(points):
  """A call for worker.py that runs through all points.

  Args:
    points: dict, number x -> function without arguments that returns when its work is done; x ascending.

  Returns:
    Function that returns a dict with seconds@x, cpu_seconds@x and peak_gb@x for each x. The peak is the most memory
    beside what the process has now, in the first run through the points: the process keeps memory that a later, larger
    point took.
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
