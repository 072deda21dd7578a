"""Two trainers on one run, and a run that is resumed with another configuration."""

import os

from . import outcome
from . import processes
from . import tiny


def Run(folder, size):
  """Starts a second trainer beside the first, then resumes with changed params; returns a list of Case."""
  data, run = os.path.join(folder, 'data'), os.path.join(folder, 'run')
  tiny.WriteData(data)
  cases = []
  with processes.Started(tiny.Command(run, data, max_steps=10**6), folder) as first:
    first.WaitFor(r'step 5/')
    second = processes.Run(tiny.Command(run, data), folder)
    cases.append(outcome.Ended('a second trainer', second, 2, 'another trainer is writing this run', first.alive))
    first.Kill()
    first.Wait()
  last = tiny.Steps(run)[-1]
  # A lock of a process that was killed is none.
  if size.full:
    done = processes.Run(tiny.Command(run, data, max_steps=last + 2, learning_rate=0.01), folder)
    cases.append(
      outcome.Ended('learning rate changed after a SIGKILL: listed', done, 0, 'learning_rate: 0.0015 -> 0.01')
    )
  before = _Config(run)
  for name, knobs, bindings in size.Pick(
    [
      ('model_dim', {}, ['task.encoder.model_dim = 32']),
      ('num_layers', {}, ['task.encoder.num_layers = 2']),
      ('codebook_size', {'codebook_size': 32}, []),
    ],
    [('model_dim', {}, ['task.encoder.model_dim = 32'])],
  ):
    done = processes.Run(tiny.Command(run, data, *bindings, max_steps=last + 4, **knobs), folder)
    cases.append(
      outcome.Ended(
        f'{name} changed: refused', done, 2, 'of another model', _Config(run) == before and f'{name}: ' in done.out
      )
    )
  return cases


def _Config(run):
  with open(os.path.join(run, 'config.gin'), encoding='utf-8') as f:
    return f.read(), tiny.Steps(run)
