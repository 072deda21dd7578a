"""Rows of the recipe's results, from finished runs: error rates, parameters, labels used, hours."""

import contextlib
import fcntl
import json
import os
import re

from fm_lingvo import errors
from tools import recipe_labels
from tools import recipe_stage
from tools import recipe_table

_TARGET, _SOURCE = 'TestTarget', 'TestSource'
_BRANCH = 'labeled'


def Row(settings, stages, name):
  """The row of a finished stage.

  Args:
    settings: recipe_plan.Settings.
    stages: dict of all Stages, resolved by recipe_labels.
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
    for metric in ('wer', 'examples', 'dropped'):
      if f'{_BRANCH}/{metric}' not in final.get(data, {}):
        raise errors.ConfigError(
            f'{run}/metrics.jsonl: no {_BRANCH}/{metric} of {data} at step {stage.knobs["max_steps"]}')
  row = {'name': stage.row, 'seed': stage.seed, 'title': stage.title.partition(', seed')[0], 'group': stage.group}
  for prefix, data in (('target', _TARGET), ('source', _SOURCE)):
    for metric in ('wer', 'cer'):
      for end in ('', '_low', '_high'):
        row[f'{prefix}_{metric}{end}'] = round(final[data][f'{_BRANCH}/{metric}{end}'], 6)
  target = final[_TARGET]
  if target[f'{_BRANCH}/dropped']:
    reasons = ', '.join(f'{key.rpartition("/dropped_")[2]} {value:g}' for key, value in target.items()
                        if '/dropped_' in key and value)
    raise errors.ConfigError(f'{run}/metrics.jsonl: {target[f"{_BRANCH}/dropped"]:g} utterances of {_TARGET} were '
                             f'dropped ({reasons}); its error rates are not those of the whole test set')
  row.update(target_utterances=int(target[f'{_BRANCH}/examples']), target_dropped=int(target[f'{_BRANCH}/dropped']))
  total, trained = Parameters(run)
  fraction, minutes = recipe_labels.TargetLabels(settings, stage)
  row.update(total_params=total, trained_params=trained, target_label_fraction=round(fraction, 6),
             target_label_minutes=round(minutes, 4), hours=round(state['seconds'] / 3600, 4),
             hours_with_parents=round(HoursWithParents(settings, stages, name), 4), cores=state['cores'],
             steps=stage.knobs['max_steps'], command=state['command'], date=state['date'], machine=state['machine'],
             versions=state['versions'], stamp=state['stamp'])
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


def Hypotheses(run):
  """What a run recognised of the target's test set: dict utt_id -> (reference, hypothesis), None if it is not there."""
  path = os.path.join(run, 'hypotheses', f'{_TARGET}.jsonl')
  if not os.path.exists(path):
    return None
  with open(path, encoding='utf-8') as f:
    rows = [json.loads(line) for line in f]
  return {row['utt_id']: (row['reference'], row['hypothesis']) for row in rows}


def Merge(path, rows, is_current=lambda row: True, compare=lambda rows: []):
  """Puts rows into a results file, in place of those of the same name and seed; two processes may do so at a time.

  Args:
    path: of the file; made if it is not there.
    rows: list of rows.
    is_current: whether a row of the file is kept; it may be of an older form.
    compare: makes the comparisons, all anew, of all rows that are then there.

  Returns:
    (the whole result, list of rows that were left out).

  Raises:
    errors.ConfigError: a row or the file does not have the form.
  """
  folder = os.path.dirname(os.path.abspath(path))
  os.makedirs(folder, exist_ok=True)
  with _Locked(folder):
    known = _Known(path)
    kept = [row for row in known if is_current(row)]
    result = {'form': 'recipe', 'rows': _Replace(kept, rows)}
    result['comparisons'] = compare(result['rows'])
    recipe_table.Check(result, path)
    WriteWhole(path, json.dumps(result, indent=2, ensure_ascii=False) + '\n')
  there = {_Key(row) for row in result['rows']}
  return result, [row for row in known if _Key(row) not in there]


def Seeds(path):
  """Seeds of the rows of a results file, set of int."""
  return {row['seed'] for row in _Known(path)}


def WriteWhole(path, text):
  """Writes a file all at once, whoever else writes it at the time."""
  temporary = f'{path}.{os.getpid()}.tmp'
  with open(temporary, 'w', encoding='utf-8') as f:
    f.write(text)
  os.replace(temporary, path)


@contextlib.contextmanager
def _Locked(folder):
  """Context in which no other process is that holds the same folder's lock."""
  handle = os.open(folder, os.O_RDONLY)
  try:
    fcntl.flock(handle, fcntl.LOCK_EX)
    yield
  finally:
    os.close(handle)


def _Known(path):
  """Rows of a results file, of this form or of an older one."""
  if not os.path.exists(path):
    return []
  with open(path, encoding='utf-8') as f:
    try:
      rows = json.load(f)['rows']
      return [row for row in rows if _Key(row)]
    except (ValueError, KeyError, TypeError) as e:
      raise errors.ConfigError(f'{path}: not a file of results: {e!r}') from e


def _Key(row):
  return row['name'], row['seed']


def _Replace(old, new):
  merged = {_Key(row): row for row in old}
  merged.update({_Key(row): row for row in new})
  return list(merged.values())
