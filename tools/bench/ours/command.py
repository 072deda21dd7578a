"""A command, timed from its start to its end. Sizes: `argv`, after the Python. Its peak memory is the command's own."""

import resource
import subprocess
import sys

from ...common import exit_codes


def SetUp(sizes):
  """See worker.py. The fact `output` is what the command printed the first time."""
  printed = []

  def _Call():
    done = subprocess.run([sys.executable, *sizes['argv']], text=True, capture_output=True, check=False)
    if done.returncode:
      raise ValueError(exit_codes.Why(done.stderr, done.returncode))
    printed.append(done.stdout)
    return {'peak_gb': resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20}

  return _Call, {'output': lambda: ''.join(printed[:1])}
