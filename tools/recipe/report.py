"""RUNS/report.md: the recipe's tables and what they say, its data, and the hours of each stage."""

from tools import recipe_labels
from tools import recipe_rows
from tools import recipe_stage
from tools import recipe_table
from tools import recipe_verdicts


def Write(path, settings, stages, result, image=''):
  """Writes the report.

  Args:
    path: of the file.
    settings: recipe_plan.Settings.
    stages: dict of all Stages, resolved by recipe_labels.
    result: content of the results file.
    image: file name of the picture beside it, if there is one.
  """
  parts = ['# The recipe', '']
  if settings.quick:
    parts += ['A smoke run: tiny models, a few steps, a few utterances. Its figures say nothing about the method.', '']
  parts += [recipe_table.Table(result), '']
  if image:
    parts += [f'![Error rates, labels and parameters]({image})', '']
  parts += ['## Forgetting', '', Forgetting(result['rows']), '',
            '## Target data', '', TargetData(settings, stages, result['rows']), '',
            '## Hours', '', Hours(settings, stages), '', '## Commands', '', Commands(result['rows'])]
  recipe_rows.WriteWhole(path, '\n'.join(parts).rstrip() + '\n')


def Forgetting(rows):
  """Markdown table of the source's error rates before and after target labels were used."""
  means = recipe_verdicts.Means(rows)
  parents = {'adapted': 'hydra', 'adapted_no_hydra': 'supervised', 'adapted_no_pretrain': 'hydra_no_pretrain',
             'full_finetune': 'hydra', 'full_finetune_all': 'hydra',
             **{name: 'hydra' for name in recipe_verdicts.CURVE}}
  lines = ['| model | source WER before | after | difference | source CER before | after |',
           '| :-- | --: | --: | --: | --: | --: |']
  for name, parent in parents.items():
    if name in means and parent in means:
      before, after = means[parent], means[name]
      lines.append(f'| `{name}` | {100 * before["source_wer"]:.1f} % | {100 * after["source_wer"]:.1f} % | '
                   f'{100 * (after["source_wer"] - before["source_wer"]):+.1f} | {100 * before["source_cer"]:.1f} % | '
                   f'{100 * after["source_cer"]:.1f} % |')
  return '\n'.join(lines) if len(lines) > 2 else 'Not measured: needs hydra and a model adapted from it.'


def TargetData(settings, stages, rows):
  """How much of the target is trained on, and what the test prompts that occur in training do to the figures."""
  train, usable = recipe_labels.Split(settings, 'train'), recipe_labels.Usable(settings)
  known = {_Words(row['text']) for row in train}
  test = recipe_labels.Split(settings, 'test')
  seen = {row['utt_id'] for row in test if _Words(row['text']) in known}
  lines = [f'The target\'s training set has {len(train)} utterances, {recipe_labels.Minutes(train):.1f} min. Of them '
           f'the training stream uses {len(usable)}, {recipe_labels.Minutes(usable):.1f} min; the others are too '
           'short, too long or without a text. Shares of the labels are shares of what is used.', '',
           f'Of {len(test)} test prompts {len(seen)} have a text that also occurs in training, '
           f'{len(test) - len(seen)} do not.']
  table = ['', '| model | seed | target WER | without the prompts that occur in training |',
           '| :-- | --: | --: | --: |']
  by_row = {(stage.row, stage.seed): stage for stage in stages.values()}
  for row in rows:
    run = recipe_stage.RunDir(settings, by_row[row['name'], row['seed']])
    found = recipe_rows.Hypotheses(run) if recipe_stage.IsOf(run, row['stamp']) else None
    new = [pair for utt_id, pair in (found or {}).items() if utt_id not in seen]
    if new:
      from fm_lingvo import error_rates  # --help needs no NumPy.  pylint: disable=g-import-not-at-top
      score = error_rates.Score(*zip(*new))
      table.append(f'| `{row["name"]}` | {row["seed"]} | {100 * row["target_wer"]:.1f} | {100 * score["wer"]:.1f} '
                   f'({100 * score["wer_low"]:.1f} to {100 * score["wer_high"]:.1f}) |')
  return '\n'.join(lines + (table if len(table) > 3 else []))


def _Words(text):
  return ' '.join(text.lower().split())


def Hours(settings, stages):
  """Markdown table of the wall clock of each stage that has been trained, and of the way to it."""
  lines = ['| stage | steps | hours | with its parents | cores | core hours |', '| :-- | --: | --: | --: | --: | --: |']
  total, taken = 0.0, []
  for name, stage in stages.items():
    state = recipe_stage.Read(recipe_stage.RunDir(settings, stage))
    if not state:
      continue
    if state.get('taken'):
      taken += ['', f'`{name}` was taken as it was, though its inputs differ: {state["taken"]}.']
    hours, chain = state['seconds'] / 3600, recipe_rows.HoursWithParents(settings, stages, name)
    total += hours * state['cores']
    steps = f'{stage.knobs["max_steps"]:,}' + ('' if state['done'] else ', unfinished')
    lines.append(f'| `{name}` | {steps} | {hours:.2f} | {chain:.2f} | {state["cores"]} | '
                 f'{hours * state["cores"]:.2f} |')
  return '\n'.join([*lines, '', f'All stages: {total:.2f} core hours.', *taken])


def Commands(rows):
  """A list of the commands that trained the models."""
  return '\n'.join(f'- `{row["name"]}`, seed {row["seed"]} ({row["date"]}): `{row["command"]}`' for row in rows)
