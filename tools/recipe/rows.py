"""Rows of the recipe's results, from finished runs: error rates, parameters, labels used, hours."""

import json
import os

from fm_lingvo import errors

from . import labels as labels_lib
from . import stage_run
from .stage_spec import Settings
from .stage_spec import Stage

_BRANCH = 'labeled'


def Row(settings: Settings, stages: dict[str, Stage], labels: labels_lib.Labels, run: str) -> dict:
  """The row of a finished stage that is measured; its fields are those of figures.forms.FORMS.

  Raises:
    errors.ConfigError: the run lacks something, or utterances of the target's test set were dropped.
  """
  stage, run_dir = stages[run], stage_run.RunDir(settings, run)
  state, final = stage_run.Read(run_dir), stage_run.FinalRows(run_dir, stage)
  step = stage_run.ResultStep(run_dir, stage)
  row = {'name': stage.name, 'seed': stage.seed, 'title': stage.title, 'group': stage.group}
  for prefix, data in zip(('target', 'source'), stage_run.FINAL):
    for rate in ('wer', 'cer'):
      for end in ('', '_low', '_high'):
        if f'{_BRANCH}/{rate}{end}' not in final.get(data, {}):
          raise errors.ConfigError(f'{run_dir}/metrics.jsonl: no {_BRANCH}/{rate}{end} of {data} at step {step}')
        row[f'{prefix}_{rate}{end}'] = round(final[data][f'{_BRANCH}/{rate}{end}'], 6)
  target = final[stage_run.FINAL[0]]
  dropped = {key.rpartition('/dropped_')[2]: value for key, value in target.items() if '/dropped_' in key and value}
  if target[f'{_BRANCH}/dropped']:
    reasons = ', '.join(f'{reason} {count:g}' for reason, count in dropped.items())
    raise errors.ConfigError(
      f'{run_dir}/metrics.jsonl: {target[f"{_BRANCH}/dropped"]:g} utterances of {stage_run.FINAL[0]} were dropped '
      f'({reasons}); its error rates are not those of the whole test set'
    )
  counts, given = _Parameters(run_dir), labels.Given(stage)
  return {
    **row,
    'target_utterances': int(target[f'{_BRANCH}/examples']),
    'target_dropped': 0,
    'total_params': counts['total'],
    'trained_params': counts['trained'],
    'target_label_fraction': round(len(given) / len(labels.Of(stage.target).usable), 6),
    'target_label_minutes': round(labels_lib.Minutes(given), 4),
    'hours': round(state['seconds'] / 3600, 4),
    'hours_with_parents': round(HoursWithStarts(settings, stages, run), 4),
    'cores': state['cores'],
    'steps': step,
    **{field: state[field] for field in ('command', 'date', 'machine', 'versions', 'stamp')},
  }


def HoursWithStarts(settings: Settings, stages: dict[str, Stage], run: str) -> float:
  """Wall clock of a stage and of all stages that led to it."""
  hours = 0.0
  while run:
    hours += (stage_run.Read(stage_run.RunDir(settings, run)) or {'seconds': 0.0})['seconds'] / 3600
    run = stages[run].teacher or stages[run].start
  return hours


def Hypotheses(run_dir: str) -> dict[str, tuple[str, str]]:
  """What a run recognised of the target's test set: utt_id -> (reference, hypothesis); empty if it is not there."""
  path = os.path.join(run_dir, 'hypotheses', f'{stage_run.FINAL[0]}.jsonl')
  if not os.path.exists(path):
    return {}
  with open(path, encoding='utf-8') as f:
    found = [json.loads(line) for line in f]
  return {row['utt_id']: (row['reference'], row['hypothesis']) for row in found}


def _Parameters(run_dir):
  """Numbers of parameters, `total` and `trained`, of a run."""
  path = os.path.join(run_dir, 'parameters.json')
  if not os.path.exists(path):
    raise errors.ConfigError(f'{run_dir}: no parameters.json')
  with open(path, encoding='utf-8') as f:
    return json.load(f)['total']
