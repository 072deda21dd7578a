"""NaN and Inf in a batch, a loss and a gradient: skipped, counted, named; an end past the limit; weights stay finite."""

import json
import os

import numpy as np

from fm_lingvo.run_files import metrics_log

from . import outcome
from . import processes
from . import tiny

_BAD = 'train0-3'  # The utterance whose waveform is not finite.
# Name -> (patch, steps that it must spoil: numbers, or None for those that have the bad utterance).
FAULTS = {
  'NaN in a batch': (('BadWaveforms', _BAD, 'nan'), None),
  'Inf in a batch': (('BadWaveforms', _BAD, 'inf'), None),
  'NaN in the loss': (('BadLoss', 1, 2, 'nan'), [2, 3]),
  'Inf in the loss': (('BadLoss', 1, 1, 'inf'), [2]),
  'NaN in the gradient': (('BadGradient', 2, 3), [3, 4]),
}


def Run(folder, size):
  """Runs a tiny training for each fault; returns a list of Case."""
  data = os.path.join(folder, 'data')
  tiny.WriteData(data)
  cases = []
  for name in size.Pick(list(FAULTS), ['NaN in a batch']):
    patch, steps = FAULTS[name]
    run = os.path.join(folder, name.replace(' ', '_'))
    done = processes.Run(tiny.Command(run, data, max_steps=8, save_interval_steps=1), folder, patch)
    cases.append(outcome.Ended(name, done, 0, 'skipped, loss', _IsRight(run, steps)))
  if not size.full:
    return cases
  run = os.path.join(folder, 'limit')
  done = processes.Run(
    tiny.Command(run, data, 'task.train.max_skipped_steps = 2', max_steps=8), folder, ('BadLoss', 2, 99, 'nan')
  )
  cases.append(
    outcome.Ended(
      'NaN in every loss: ends past the limit',
      done,
      1,
      'max_skipped_steps = 2: 3 steps',
      tiny.Steps(run)[-1] == 5 and _AllFinite(run, 5),
    )
  )
  return cases


def _IsRight(run, steps):
  """Whether just those steps were skipped that had to be, changed nothing, were counted and named."""
  with open(os.path.join(run, 'skipped.jsonl'), encoding='utf-8') as f:
    rows = [json.loads(line) for line in f]
  skipped = [row['step'] for row in rows]
  names = all(_BAD in str(row['utt_ids']) for row in rows) if steps is None else all(row['utt_ids'] for row in rows)
  counted = metrics_log.ReadMetrics(os.path.join(run, 'metrics.jsonl'))[-1]['skipped_steps']
  kept = tiny.Steps(run)
  still = [_Same(run, step) for step in skipped if step - 1 in kept and step in kept]
  moved = [not _Same(run, step) for step in kept[1:] if step not in skipped and step - 1 in kept]
  return (
    (skipped == steps if steps else bool(skipped))
    and names
    and counted == len(rows)
    and all(still)
    and (all(moved) and _AllFinite(run, kept[-1]))
  )


def _Same(run, step):
  """Whether a step changed nothing but its number."""
  before, after = tiny.Weights(run, step - 1), tiny.Weights(run, step)
  return all(np.array_equal(before[n], after[n]) for n in before if n != 'global_step')


def _AllFinite(run, step):
  return all(np.all(np.isfinite(v)) for v in tiny.Weights(run, step).values() if v.dtype.kind == 'f')
