"""What happens around a run: signals, a second trainer, a changed configuration, bad surroundings."""

import functools
import signal
import time

from tests.faults import disk
from tests.faults import suite as suite_lib
from tests.faults import tiny_run

_AT_ONCE_SECONDS = 10


def Signals(suite):
  """SIGTERM and SIGINT end a run with a checkpoint, or at once if they come twice; yields a Case for each."""
  for signum in suite.Pick([signal.SIGTERM, signal.SIGINT], [signal.SIGTERM]):
    for twice in (False, True):
      name = f'{signum.name}{", twice" if twice else ""}'
      run = tiny_run.TinyRun(suite.folder, name)
      with run.Start(max_steps=10**6, save_interval_steps=10**6) as child:
        child.WaitFor(r'step 3/')
        child.Kill(signum)
        if twice:
          child.WaitFor('again to end immediately')
          child.Kill(signum)
        done = child.Wait(_AT_ONCE_SECONDS if twice else 60)
      if twice:
        # The step in progress may have ended, and its checkpoint been saved, before the second signal came.
        at_once = (-signum if signum == signal.SIGTERM else 128 + signum, 128 + signum)
        yield suite_lib.Ended(name, done, at_once, f'{signum.name}: saving a checkpoint')
      else:
        yield suite_lib.Ended(name, done, 128 + signum, f'{signum.name}: checkpoint at step', len(run.Steps()) == 1)


# Param of the model -> what changes it.
SIZES = {
  'model_dim': (['task.encoder.model_dim = 32'], {}),
  'num_layers': (['task.encoder.num_layers = 2'], {}),
  'codebook_size': ([], {'codebook_size': 32}),
}


def SecondTrainerAndChanges(suite):
  """A second trainer on a run, and resumptions with another configuration; yields a Case for each."""
  run = tiny_run.TinyRun(suite.folder, 'run')
  with run.Start(max_steps=10**6) as first:
    first.WaitFor(r'step 5/')
    second = run.Train()
    yield suite_lib.Ended('a second trainer', second, 2, 'another trainer is writing this run', first.alive)
  last = run.Steps()[-1]
  if suite.full:  # The lock of a process that was killed does not count.
    done = run.Train(max_steps=last + 2, learning_rate=0.01)
    yield suite_lib.Ended('learning rate changed after a SIGKILL: listed', done, 0, 'learning_rate: 0.0015 -> 0.01')
  before = run.State()
  for name, (bindings, knobs) in suite.Faults(SIZES, 'model_dim'):
    done = run.Train(*bindings, max_steps=last + 4, **knobs)
    yield suite_lib.Ended(
      f'{name} changed: refused', done, 2, 'of another model', run.State() == before and f'{name}: ' in done.out
    )


def _ClockJumps(seconds, every):
  """Patch: after each `every` readings the clock goes forth by `seconds`, or back by twice that."""
  original, readings = time.time, [0]

  def Time():
    readings[0] += 1
    return original() + seconds * ((readings[0] // every) % 3 - 1)

  time.time = Time


def Surroundings(suite):
  """A clock that jumps, no locale, no home, a full /tmp, no network: the run goes on. Yields a Case for each."""
  nowhere = str(suite.path / 'no' / 'home')
  kept = ['task.train.save_max_to_keep = 2', 'task.train.max_minutes = 30']
  faults = {
    'the clock jumps by an hour, back and forth': lambda run: run.Train(
      *kept, max_steps=10, patch=functools.partial(_ClockJumps, 3600, 50)
    ),
    'no locale': lambda run: run.TrainAsCommand(
      *kept,
      max_steps=10,
      env={'LC_ALL': 'xx_YY.nothing', 'LANG': 'xx_YY', 'PYTHONUTF8': '0', 'PYTHONIOENCODING': 'ascii'},
    ),
    'no home': lambda run: run.TrainAsCommand(
      *kept, max_steps=10, env={'HOME': nowhere, 'XDG_CACHE_HOME': nowhere, 'MPLCONFIGDIR': nowhere}
    ),
  }
  for name, train in suite.Faults(faults, next(iter(faults))):
    run = tiny_run.TinyRun(suite.folder, name)
    yield suite_lib.Ended(name, train(run), 0, 'done: ', run.Steps()[-2:] == [8, 10])
  if suite.full:
    with disk.SmallDisk(suite.path / 'tmp', 100) as mount:
      if mount is None:
        yield suite_lib.Case('full /tmp', False, 'cannot mount a small file system here: not measured')
      else:
        disk.Fill(mount)
        run = tiny_run.TinyRun(suite.folder, 'full_tmp')
        yield suite_lib.Ended(
          'full /tmp', run.TrainAsCommand(env={'TMPDIR': str(mount)}), 0, 'done: ', bool(run.Steps())
        )
    run = tiny_run.TinyRun(suite.folder, 'no_network')  # Not even loopback is up.
    yield suite_lib.Ended('no network', run.TrainAsCommand(prefix=['unshare', '--net']), 0, 'done: ', bool(run.Steps()))
