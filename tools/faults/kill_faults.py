"""SIGKILL at random moments: the run is resumed each time, and ends with the weights and the data of one that never stopped.

A run is killed a random time after it has said a line about a step, an evaluation or its resumption, so that moments fall into
training, evaluation and the writing of checkpoints. Both runs are --deterministic, so all must be equal bit by bit.
"""

import collections
import os
import re

from fm_lingvo.run_files import metrics_log

from . import determinism_faults
from . import outcome
from . import processes
from . import tiny

_SAVE, _EVALUATE = 2, 8


def Run(folder, size):
  """Kills a run again and again; returns a Case for each kill, and one for what came out at the end."""
  rng = size.Random('kills')
  data = os.path.join(folder, 'data')
  tiny.WriteData(data)
  kills, steps = size.Pick((min(30, size.count), 3 * min(30, size.count) + 6), (1, 12))

  def Command(run):
    return [
      *tiny.Command(
        run,
        data,
        max_steps=steps,
        save_interval_steps=_SAVE,
        eval_interval_steps=_EVALUATE,
        summary_interval_steps=1,
        evaluated=['DevHuman'],
        dropout_prob=0.1,
      ),
      '--deterministic',
    ]

  whole, killed = os.path.join(folder, 'whole'), os.path.join(folder, 'killed')
  done = processes.Run(Command(whole), folder, seconds=1200)
  assert done.code == 0, done
  cases, newest = [], 0
  for i in range(kills):
    with processes.Started(Command(killed), folder) as child:
      if rng.random() < 0.2:  # While it starts and restores.
        child.WaitFor('run directory')
      else:  # At least one step further, so that the run gets somewhere.
        until = newest + rng.randrange(1, max(2, 2 * (steps - newest) // (kills - i)))
        child.WaitFor(rf'step {min(until, steps - 1)}/')
      out = child.Wait(rng.uniform(0, 0.4)).out
    trained = [int(step) for step in re.findall(r'(?m)^step (\d+)/', out)]
    kept = max(tiny.Steps(killed), default=0)
    cases.append(
      outcome.Case(
        f'kill {i + 1}',
        not trained or trained[0] > newest - _SAVE,
        f'{f"trained from step {trained[0]} on, " if trained else ""}killed {_Last(out)}, newest checkpoint {kept}',
      )
    )
    newest = kept
  done = processes.Run(Command(killed), folder, seconds=1200)
  differing = determinism_faults.Differing(whole, killed, steps) if done.code == 0 else [done.last_error]
  cases.append(
    outcome.Case('weights at the end', not differing, f'differing: {", ".join(differing[:5]) or "nothing, bit by bit"}')
  )
  same, what = _SameRows(whole, killed)
  cases.append(outcome.Case('data order, losses and evaluations', same, what))
  return cases


def _Last(out):
  """What a run did last, by its output."""
  line = (out.strip().splitlines() or ['before its first line'])[-1]
  found = re.match(r'step (\d+)(/|: Dev)', line)
  if not found:
    return 'before its first step'
  step = int(found.group(1))
  due = [what for what, every in (('saving', _SAVE), ('evaluating', _EVALUATE)) if step % every == 0]
  return f'after step {step}' + (f' ({" and ".join(due)} due)' if due and found.group(2) == '/' else '')


def _SameRows(a, b):
  """Whether two runs have the same rows of metrics, but for times and rates; audio and loss of each step tell the data."""

  def Rows(run):
    found = collections.defaultdict(dict)
    for row in metrics_log.ReadMetrics(os.path.join(run, 'metrics.jsonl')):
      kept = {k: v for k, v in row.items() if k != 'time' and not k.startswith('throughput/')}
      found[row['dataset'], row['step']].update(kept)
    return dict(found)

  a, b = Rows(a), Rows(b)
  differing = [key for key in sorted({*a, *b}) if a.get(key) != b.get(key)]
  return not differing, f'{len(a)} rows, differing: {", ".join(map(str, differing[:5])) or "none"}'
