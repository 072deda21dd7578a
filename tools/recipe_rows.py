"""Rows of the recipe's results, from finished runs: error rates, parameters, labels used, hours.

N: utterances.
"""

import json
import os
import re

from fm_lingvo import dataset
from fm_lingvo import errors
from tools import recipe_stage
from tools import recipe_table
from tools import results_table

_TARGET, _SOURCE = 'TestTarget', 'TestSource'
_BRANCH = 'labeled'
_MIN_SECONDS = 0.1  # The stream's defaults.
_MAX_SECONDS = 16.0


def Row(settings, stages, name):
  """The row of a finished stage.

  Args:
    settings: recipe_plan.Settings.
    stages: dict of all Stages.
    name: of a stage with a row.

  Returns:
    dict, as recipe_table.FIELDS.

  Raises:
    errors.ConfigError: the run lacks something.
  """
  stage = stages[name]
  run = recipe_stage.RunDir(settings, stage)
  state = recipe_stage.Read(run)
  final = recipe_stage.FinalRows(run, stage)
  for data in (_TARGET, _SOURCE):
    if f'{_BRANCH}/wer' not in final.get(data, {}):
      raise errors.ConfigError(f'{run}/metrics.jsonl: no {_BRANCH}/wer of {data} at step {stage.knobs["max_steps"]}')
  row = {'name': stage.row, 'seed': stage.seed, 'title': stage.title.partition(', seed')[0], 'group': stage.group}
  for prefix, data in (('target', _TARGET), ('source', _SOURCE)):
    for metric in ('wer', 'cer'):
      for end in ('', '_low', '_high'):
        row[f'{prefix}_{metric}{end}'] = round(final[data][f'{_BRANCH}/{metric}{end}'], 6)
  total, trained = Parameters(run)
  fraction, minutes = TargetLabels(settings, stage)
  row.update(total_params=total, trained_params=trained, target_label_fraction=round(fraction, 6),
             target_label_minutes=round(minutes, 4), hours=round(state['seconds'] / 3600, 4),
             hours_with_parents=round(HoursWithParents(settings, stages, name), 4), cores=state['cores'],
             steps=stage.knobs['max_steps'], command=state['command'], date=state['date'], machine=state['machine'],
             versions=state['versions'])
  return row


def HoursWithParents(settings, stages, name):
  """Wall clock of a stage and of all that led to it."""
  hours = 0.0
  while name:
    state = recipe_stage.Read(recipe_stage.RunDir(settings, stages[name]))
    hours += state['seconds'] / 3600 if state else 0.0
    name = stages[name].parent
  return hours


def Parameters(run):
  """(total, trained) of a run: its parameters.json, or the table in its log."""
  path = os.path.join(run, 'parameters.json')
  if os.path.exists(path):
    with open(path, encoding='utf-8') as f:
      counts = json.load(f)['total']
    return counts['total'], counts['trained']
  log = os.path.join(run, 'train.log')
  if os.path.exists(log):
    with open(log, encoding='utf-8', errors='replace') as f:
      found = re.findall(r'(?m)^parameters total=(\d+) trained=(\d+)', f.read())
    if found:
      return int(found[-1][0]), int(found[-1][1])
  raise errors.ConfigError(f'{run}: neither parameters.json nor a table of parameters in train.log')


def TargetLabels(settings, stage):
  """(fraction of the target's usable training utterances, minutes) whose labels a stage is given."""
  if not stage.share:
    return 0.0, 0.0
  rows = [row for row in dataset.ReadManifest(os.path.join(settings.data_dir, 'target'), 'train')
          if row['text'].strip() and _MIN_SECONDS <= row['duration'] <= _MAX_SECONDS]
  if not rows:
    raise errors.ConfigError(f'{settings.data_dir}/target: no usable training utterance')
  chosen = InShare([row['utt_id'] for row in rows], stage.share, stage.knobs.get('label_seed', 0))
  used = [row['duration'] for row, is_used in zip(rows, chosen) if is_used]
  return len(used) / len(rows), sum(used) / 60


def InShare(utt_ids, share, seed):
  """Whether each of N utterances is in a share, by the trainer's own choice."""
  if share >= 1:
    return [True] * len(utt_ids)
  # TensorFlow takes seconds to import.
  from fm_lingvo import quiet  # pylint: disable=g-import-not-at-top
  with quiet.HoldStderr():
    from fm_lingvo import accounting  # pylint: disable=g-import-not-at-top
    from lingvo import compat as tf  # pylint: disable=g-import-not-at-top
    with tf.Graph().as_default(), tf.Session() as sess:
      return sess.run(accounting.InShare(tf.constant(utt_ids), share, seed)).tolist()


def Hypotheses(run):
  """What a run recognised of the target's test set: dict utt_id -> (reference, hypothesis), None if it is not there."""
  path = os.path.join(run, 'hypotheses', f'{_TARGET}.jsonl')
  if not os.path.exists(path):
    return None
  with open(path, encoding='utf-8') as f:
    rows = [json.loads(line) for line in f]
  return {row['utt_id']: (row['reference'], row['hypothesis']) for row in rows}


def Merge(path, rows, comparisons=None):
  """Puts rows into a results file, in place of those of the same name and seed.

  Args:
    path: of the file; made if it is not there.
    rows: list of rows.
    comparisons: list of comparisons, in place of those of the same pair; None: as they were.

  Returns:
    The whole result.

  Raises:
    errors.ConfigError: a row or the file does not have the form.
  """
  result = results_table.Load(path) if os.path.exists(path) else {'form': 'recipe', 'rows': [], 'comparisons': []}
  result['rows'] = _Replace(result['rows'], rows, ('name', 'seed'))
  result['comparisons'] = _Replace(result.get('comparisons', []), comparisons or [], ('a', 'b'))
  recipe_table.Check(result, path)
  os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
  with open(path + '.tmp', 'w', encoding='utf-8') as f:
    f.write(json.dumps(result, indent=2, ensure_ascii=False) + '\n')
  os.replace(path + '.tmp', path)
  return result


def _Replace(old, new, keys):
  merged = {tuple(row[key] for key in keys): row for row in old}
  merged.update({tuple(row[key] for key in keys): row for row in new})
  return list(merged.values())
