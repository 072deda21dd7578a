"""SIGKILL at random moments: a run that is resumed each time ends as one that never stopped, bit by bit.

A run is killed a random time after it has written a line about a step or its resumption, so that moments fall into
training, evaluation and the writing of checkpoints. Both runs are --deterministic.
"""

import collections
import re

from tests.faults import suite as suite_lib
from tests.faults import tiny_run

_SAVE = 2  # Steps between two checkpoints.


def Determinism(suite):
  """Trains each experiment twice with --deterministic; yields a Case for each."""
  steps = suite.Pick(40, 6)
  models = {'BestRqPretrain': {'dropout_prob': 0.1}, 'Supervised': {'source': 'human', 'target': 'human'}}
  for model, knobs in suite.Faults(models, 'BestRqPretrain'):
    runs = [tiny_run.TinyRun(suite.folder, f'{model}{i}') for i in range(2)]
    done = [run.Train(model=model, max_steps=steps, deterministic=True, **knobs) for run in runs]
    failed = [d.last_error for d in done if d.code]
    yield _Equal(model, failed or runs[0].Differing(steps, runs[1]))


def Kills(suite):
  """Kills a run again and again; yields a Case for each kill, and two for what has come out at the end."""
  rng, kills = suite.Random('kills'), suite.Pick(min(30, suite.count), 1)
  steps = suite.Pick(3 * kills + 6, 12)
  options = {'max_steps': steps, 'save_interval_steps': _SAVE, 'eval_interval_steps': 8, 'summary_interval_steps': 1}
  options.update(evaluated=['DevHuman'], dropout_prob=0.1, deterministic=True)
  whole, killed, newest = tiny_run.TinyRun(suite.folder, 'whole'), tiny_run.TinyRun(suite.folder, 'killed'), 0
  done = whole.Train(seconds=1200, **options)
  assert done.code == 0, done
  for i in range(kills):
    with killed.Start(**options) as child:
      if rng.random() < 0.2:  # While it starts and restores.
        child.WaitFor('run directory')
      else:  # At least one step further, so that the run gets somewhere.
        until = newest + rng.randrange(1, max(2, 2 * (steps - newest) // (kills - i)))
        child.WaitFor(rf'step {min(until, steps - 1)}/')
      out = child.Wait(rng.uniform(0, 0.4)).out
    trained = [int(step) for step in re.findall(r'(?m)^step (\d+)/', out)]
    saved = max(killed.Steps(), default=0)
    seen = f'trained steps {trained[0]} to {trained[-1]}' if trained else 'killed before its first step'
    right = not trained or trained[0] > newest - _SAVE
    yield suite_lib.Case(f'kill {i + 1}', right, f'{seen}, newest checkpoint {saved}')
    newest = saved
  done = killed.Train(seconds=1200, **options)
  yield _Equal('weights at the end', [done.last_error] if done.code else whole.Differing(steps, killed))
  a, b = _Rows(whole), _Rows(killed)
  yield _Equal('data order, losses and evaluations', [str(key) for key in sorted({*a, *b}) if a.get(key) != b.get(key)])


def _Equal(name, differing):
  """Case of two runs, given the names of what differs."""
  return suite_lib.Case(name, not differing, f'differing: {", ".join(differing[:5]) or "nothing, bit by bit"}')


def _Rows(run):
  """dict: (data set, step) -> metrics but for times and rates; audio and loss of each step show which data it had."""
  rows = collections.defaultdict(dict)
  for row in run.Metrics():
    kept = {k: v for k, v in row.items() if k != 'time' and not k.startswith('throughput/')}
    rows[row['dataset'], row['step']].update(kept)
  return dict(rows)
