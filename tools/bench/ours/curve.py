"""One function at several points of a curve: time and memory of each, in one process."""

import ctypes
import time

from tools.bench import worker

# A point repeats short calls until so many seconds have gone.
_POINT_SECONDS = 0.1


def Call(points):
  """A call for worker.Serve that runs through all points.

  Args:
    points: dict, number -> function without arguments that returns when its work is done.

  Returns:
    Function that returns a dict: of each number x seconds@x, cpu_seconds@x and peak_gb@x, the most memory beside what the
    process had before the point.
  """

  def _Call():
    found = {}
    for x, function in points.items():
      ctypes.CDLL(None).malloc_trim(0)  # What the point before has given back does not count.
      before = worker.Memory('VmRSS')
      worker.ForgetPeak()
      timed, calls, start = None, 0, time.perf_counter()
      while not calls or time.perf_counter() - start < _POINT_SECONDS:
        timed, calls = worker.Timed(function, 1), calls + 1
      found.update({f'seconds@{x}': timed['seconds'], f'cpu_seconds@{x}': timed['cpu_seconds'],
                    f'peak_gb@{x}': max(0.0, worker.Memory('VmHWM') - before)})
    return found

  return _Call
