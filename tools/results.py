"""Committed results: docs/results/NAME.json, and the tables made from it in README.md and docs/*.md.

  python -m tools.results add pretrain --run=runs/X --label='5 minutes' --command='trainer ...'
  python -m tools.results add pretrain --name='first step after' --value=14.2 --unit=s --command='...'
  python -m tools.results pages            # writes the tables; with --check, only compares

docs/results/README.md describes the rows. Exit codes: 0 done, 1 a table is stale
(--check) or a file cannot be written, 2 wrong usage or a file that cannot be used, said
in one line.
"""

import argparse
import datetime
import glob
import json
import os
import sys

from fm_lingvo import errors

from . import event_files
from . import results_table
from .common import exit_codes
from .common import this_machine

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_NEW = {'columns': ['name', 'value'], 'spread': 'label', 'rows': []}


def MeasureRun(run, datasets=('eval_devhuman',), branch=''):
  """Figures of a run at its last evaluation, read from its event files.

  Args:
    run: Folder of the run.
    datasets: Folders of evaluated data sets in it, such as eval_devhuman.
    branch: Prefix of the tags; default: the only one.

  Returns:
    (figures, end): figures is a list of (name, value, unit); end is the time of the
    last evaluation in seconds since the epoch.

  Raises:
    errors.ConfigError: What is not there, or data sets last evaluated at different steps.
  """
  found = event_files.ReadRun(run)
  for name in ('train', *datasets):
    if name not in found:
      raise errors.ConfigError(f'{run}: no event files in {name}{event_files.DidYouMean(name, found)}')
  prefix = event_files.Branch(run, {d: found[d] for d in datasets}, branch)
  figures, ends = [], {}
  for name in datasets:
    values, step, end = _Last(run, name, found[name], prefix)
    ends[name] = (step, end)
    where = event_files.Describe(name)
    accuracy, majority = values['masked_accuracy'], values['majority_accuracy']
    entropy = values['cross_entropy']
    figures += [
      (f'masked accuracy, {where}', 100 * accuracy, '%'),
      (f'always the most frequent code, {where}', 100 * majority, '%'),
      (f'ratio of the two, {where}', accuracy / majority, 'times'),
      (f'masked cross-entropy, {where}', entropy, 'nats'),
      (f"entropy of the codes' distribution, {where}", values['unigram_entropy'], 'nats'),
      (f'cross-entropy minus entropy, {where}', entropy - values['unigram_entropy'], 'nats'),
      (f'codebook perplexity, {where}', values['code_perplexity'], 'codes'),
      (f'codebook coverage, {where}', 100 * values['code_coverage'], '%'),
    ]
  if len({step for step, _ in ends.values()}) > 1:
    raise errors.ConfigError(
      f'{run}: last evaluated at different steps: ' + ', '.join(f'{name} {step}' for name, (step, _) in ends.items())
    )
  step, end = max(ends.values())
  return figures + _Speed(run, found['train'], step), end


def _Last(run, dataset, tags, branch):
  """(dict metric -> value, step, time) of the newest evaluation of a data set."""
  values, step, end = {}, None, None
  for metric in (
    'masked_accuracy',
    'majority_accuracy',
    'cross_entropy',
    'unigram_entropy',
    'code_perplexity',
    'code_coverage',
  ):
    series = _Get(run, dataset, tags, f'{branch}/{metric}')
    if step not in (None, series.step[-1]):
      raise errors.ConfigError(f'{run}/{dataset}: {branch}/{metric} ends at step {series.step[-1]}, others at {step}')
    values[metric], step, end = series.value[-1], series.step[-1], series.wall_time[-1]
  return values, int(step), float(end)


def _Get(run, dataset, tags, tag):
  if tag not in tags:
    raise errors.ConfigError(f'{run}/{dataset}: no scalar {tag}{event_files.DidYouMean(tag, tags)}')
  return tags[tag]


def _Speed(run, tags, step):
  """Figures of training up to `step`: its windows' steps over their rates."""
  rate = _Get(run, 'train', tags, 'throughput/steps_per_second')
  audio = _Get(run, 'train', tags, 'throughput/audio_seconds_per_second')
  used = rate.step <= step
  if not used.any() or rate.step[used][-1] != step:
    raise errors.ConfigError(f'{run}/train: no summary at step {step}, where the run was evaluated last')
  steps, previous = rate.step[used], 0
  seconds = audio_seconds = 0.0
  for i, at in enumerate(steps):
    window = (at - previous) / rate.value[i]
    seconds += window
    audio_seconds += window * audio.value[i]
    previous = at
  return [
    ('training steps', int(step), ''),
    ('training time, without evaluation', seconds / 60.0, 'min'),
    ('training speed', audio_seconds / seconds, 's of audio per s'),
  ]


def Path(name, root=ROOT):
  """File of a result."""
  return os.path.join(root, 'docs', 'results', f'{name}.json')


def Add(name, rows, root=ROOT):
  """Appends rows, in place of those with the same name and label.

  Rows that an earlier run with the same label left, and this one does not have, go:
  a label never mixes two runs.

  Args:
    name: Of the result.
    rows: List of dicts, see docs/results/README.md.
    root: Of the checkout.

  Raises:
    errors.ConfigError: A row or the file does not have the form.
  """
  path = Path(name, root)
  result = results_table.Load(path) if os.path.exists(path) else {**_NEW, 'rows': []}
  labels_of_runs = {row['label'] for row in rows if row.get('run')}
  names = {row['name'] for row in rows}
  kept = [
    row for row in result['rows'] if row['name'] in names or not (row.get('run') and row['label'] in labels_of_runs)
  ]
  for row in rows:
    same = [i for i, old in enumerate(kept) if (old['name'], old['label']) == (row['name'], row['label'])]
    if same:
      kept[same[0]] = row
    else:
      kept.append(row)
  result['rows'] = kept
  results_table.Check(result, path)
  os.makedirs(os.path.dirname(path), exist_ok=True)
  with open(path + '.tmp', 'w', encoding='utf-8') as f:
    f.write(json.dumps(result, indent=2, ensure_ascii=False) + '\n')
  os.replace(path + '.tmp', path)


def _AddFromArgs(args):
  """The command `add`."""
  by_hand = [args.name is not None, args.value is not None, args.unit is not None]
  if bool(args.run) == any(by_hand) or any(by_hand) != all(by_hand):
    raise errors.ConfigError('add: expected either --run=RUN, or --name, --value and --unit')
  date, figures = args.date, [(args.name, args.value, args.unit)]
  if args.run:
    datasets = [d for d in args.datasets.split(',') if d]
    figures, end = MeasureRun(args.run, datasets, args.branch)
    date = date or datetime.date.fromtimestamp(end).isoformat()
  common = {
    'label': args.label,
    'command': args.command,
    'date': date or datetime.date.today().isoformat(),
    'machine': this_machine.Machine(),
    'versions': this_machine.Versions(args.root, args.commit),
  }
  if args.run:
    common['run'] = os.path.basename(os.path.normpath(args.run))
  if args.note:
    common['note'] = args.note
  rows = []
  for name, value, unit in figures:
    # Six digits are more than any of them is known to.
    value = float(f'{value:.6g}')
    value = int(value) if value.is_integer() else value
    rows.append({'name': name, 'value': value, 'unit': unit, **common})
  Add(args.result, rows, args.root)
  for row in rows:
    print(f'{row["name"]}: {results_table.FormatValue(row["value"])} {row["unit"]}')
  print(f'wrote {os.path.relpath(Path(args.result, args.root), args.root)}; next: python -m tools.results pages')
  return 0


def _Pages(args):
  """The command `pages`."""
  pages = sorted(glob.glob(os.path.join(args.root, 'docs', '*.md')))
  count, changed = 0, []
  for path in [os.path.join(args.root, 'README.md'), *pages]:
    name = os.path.relpath(path, args.root)
    if not os.path.exists(path):
      raise errors.ConfigError(f'{name}: no such file')
    with open(path, encoding='utf-8') as f:
      text = f.read()
    new, stale, names = results_table.Regenerate(text, os.path.join(args.root, 'docs', 'results'), name)
    count += len(names)
    changed += [f'{name}: {table}' for table in stale]
    if new != text and not args.check:
      with open(path, 'w', encoding='utf-8') as f:
        f.write(new)
  if args.check and changed:
    print(f'stale: {", ".join(changed)}; run python -m tools.results pages', file=sys.stderr)
    return 1
  print(f'{count} table(s), ' + ('current' if args.check else f'changed: {", ".join(changed) or "none"}'))
  return 0


def Main(argv):
  """Runs the tool; returns the exit code."""
  parser = argparse.ArgumentParser(
    prog='results', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--root', default=ROOT, help='checkout to work on')
  commands = parser.add_subparsers(required=True)
  add = commands.add_parser('add', help='append or replace rows')
  add.set_defaults(run_command=_AddFromArgs)
  add.add_argument('result', metavar='NAME', help='docs/results/NAME.json')
  add.add_argument('--run', default='', help='folder of a run to measure')
  add.add_argument('--datasets', default='eval_devhuman', help='its evaluated data sets, comma-separated')
  add.add_argument('--branch', default='', help='prefix of the tags')
  add.add_argument('--label', default='', help='what was run, if the result has several')
  add.add_argument('--name', help='of a figure measured by hand')
  add.add_argument('--value', type=float, help='of a figure measured by hand')
  add.add_argument('--unit', help='of a figure measured by hand; may be empty')
  add.add_argument('--command', required=True, help='that gave the figures')
  add.add_argument('--date', default='', help='YYYY-MM-DD; default: of the run, or today')
  add.add_argument('--commit', default='', help="of the code measured; default: git's")
  add.add_argument('--note', default='', help='anything a reader must know')
  pages = commands.add_parser('pages', help='write the tables in README.md and docs/*.md')
  pages.set_defaults(run_command=_Pages)
  pages.add_argument('--check', action='store_true', help='only compare')
  args = parser.parse_args(argv[1:])
  return exit_codes.Report('results', lambda: args.run_command(args))


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
