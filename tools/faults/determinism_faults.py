"""Two runs with --deterministic, all of whose weights must be equal bit by bit."""

import os

import numpy as np

from . import outcome
from . import processes
from . import tiny


def Differing(a, b, step):
  """Names of what differs in the checkpoints of two runs."""
  a, b = tiny.Weights(a, step), tiny.Weights(b, step)
  return [name for name in sorted({*a, *b}) if name not in a or name not in b or not np.array_equal(a[name], b[name])]


def Run(folder, size):
  """Trains twice; returns a list of one Case for each experiment."""
  data = os.path.join(folder, 'data')
  tiny.WriteData(data)
  cases, steps = [], size.Pick(40, 6)
  for model, knobs in size.Pick(
    [('BestRqPretrain', {'dropout_prob': 0.1}), ('Supervised', {'source': 'human', 'target': 'human'})],
    [('BestRqPretrain', {'dropout_prob': 0.1})],
  ):
    runs = [os.path.join(folder, f'{model}{i}') for i in range(2)]
    done = [
      processes.Run([*tiny.Command(run, data, model=model, max_steps=steps, **knobs), '--deterministic'], folder)
      for run in runs
    ]
    ended = all(d.code == 0 for d in done)
    differing = Differing(*runs, steps) if ended else ['not ended']
    cases.append(
      outcome.Case(
        model,
        not differing,
        f'{steps} steps: differing: {", ".join(differing[:5]) or "nothing"}' if ended else done[-1].last_error,
      )
    )
  return cases
