"""SIGTERM and SIGINT to a training run, once and twice: a checkpoint and the documented exit code, or an end at once."""

import os
import signal

from . import outcome
from . import processes
from . import tiny

_AT_ONCE_SECONDS = 10


def Run(folder, size):
  """Sends each signal once and twice; returns a list of Case."""
  data = os.path.join(folder, 'data')
  tiny.WriteData(data)
  cases = []
  for signum in size.Pick([signal.SIGTERM, signal.SIGINT], [signal.SIGTERM]):
    for twice in (False, True):
      name = f'{signum.name}{", twice" if twice else ""}'
      run = os.path.join(folder, name)
      with processes.Started(tiny.Command(run, data, max_steps=10**6, save_interval_steps=10**6), folder) as child:
        child.WaitFor(r'step 3/')
        child.Kill(signum)
        if twice:
          child.WaitFor('again to end at once')
          child.Kill(signum)
        done = child.Wait(_AT_ONCE_SECONDS if twice else 60)
      if twice:
        # The step in progress may have ended, and its checkpoint been saved, before the second signal came.
        at_once = (-signum if signum == signal.SIGTERM else 128 + signum, 128 + signum)
        cases.append(outcome.Ended(name, done, at_once, f'{signum.name}: saving a checkpoint'))
      else:
        cases.append(
          outcome.Ended(name, done, 128 + signum, f'{signum.name}: checkpoint at step', len(tiny.Steps(run)) == 1)
        )
  return cases
