"""What surrounds a run and is not right: a clock that jumps, a full /tmp, a read-only home, no locale, no network."""

import os
import re
import subprocess
import sys

from . import disk_faults
from . import outcome
from . import processes
from . import tiny


def Run(folder, size):
  """Trains in bad surroundings; returns a list of Case."""
  data = os.path.join(folder, 'data')
  tiny.WriteData(data)
  nowhere = os.path.join(folder, 'no', 'home')
  faults = {
    'the clock jumps by an hour, back and forth': ((('ClockJumps', 3600, 50)), {}),
    'no locale': ((), {'LC_ALL': 'xx_YY.nothing', 'LANG': 'xx_YY', 'PYTHONUTF8': '0', 'PYTHONIOENCODING': 'ascii'}),
    'no home': ((), {'HOME': nowhere, 'XDG_CACHE_HOME': nowhere, 'MPLCONFIGDIR': nowhere}),
  }
  cases = []
  for name in size.Pick(list(faults), list(faults)[:1]):
    patch, env = faults[name]
    run = os.path.join(folder, re.sub(r'\W', '_', name))
    command = tiny.Command(run, data, 'task.train.save_max_to_keep = 2', 'task.train.max_minutes = 30', max_steps=10)
    done = processes.Run(command, folder, patch, env, warm=not env)
    cases.append(outcome.Ended(name, done, 0, 'done: ', tiny.Steps(run)[-2:] == [8, 10]))
  if size.full:
    cases += [_FullTmp(folder, data), _NoNetwork(folder, data)]
  return cases


def _FullTmp(folder, data):
  """TMPDIR is a file system without space."""
  run = os.path.join(folder, 'full_tmp')
  with disk_faults.SmallDisk(os.path.join(folder, 'tmp'), 100) as mount:
    if mount is None:
      return outcome.Case('full /tmp', False, 'cannot mount a small file system here: not measured')
    with open(os.path.join(mount, 'filler'), 'wb') as f:
      f.write(bytes(os.statvfs(mount).f_bavail * os.statvfs(mount).f_frsize))
    done = processes.Run(tiny.Command(run, data), folder, env={'TMPDIR': mount}, warm=False)
    return outcome.Ended('full /tmp', done, 0, 'done: ', bool(tiny.Steps(run)))


def _NoNetwork(folder, data):
  """A network namespace in which not even loopback is up."""
  run = os.path.join(folder, 'no_network')
  command = tiny.Command(run, data)[1:]
  done = subprocess.run(
    ['unshare', '--net', sys.executable, '-m', 'fm_lingvo.trainer', *command],
    cwd=processes.ROOT,
    capture_output=True,
    text=True,
    check=False,
    timeout=600,
  )
  return outcome.Ended(
    'no network', processes.Done(done.returncode, done.stdout, done.stderr, 0.0), 0, 'done: ', bool(tiny.Steps(run))
  )
