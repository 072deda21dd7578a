"""The whole method from one command: data, the three stages, the baselines, and a table of what each buys.

  python -m tools.recipe                   # the group `main`
  python -m tools.recipe seed2 curve       # further groups; they reuse what main trained and add rows
  python -m tools.recipe adapted --seeds=4 # single models, with the stages that they start from
  python -m tools.recipe all --dry_run     # what would be trained, and why
  python -m tools.recipe --quick           # a smoke run in runs/recipe_quick

Stages whose inputs did not change are reused, stopped ones go on where they stopped; RUNS/NAME/stage.json
says what a stage was trained from. The inputs are its knobs, its data and its parents', not the code. The run
of a stage whose inputs changed is moved aside, not overwritten; its row leaves the results, as do rows of other
data. Ctrl-C ends the trainers after a checkpoint.

Exit codes: 0 done, 1 a stage failed, 2 wrong usage or data that cannot be made, 130 and 143 stopped by Ctrl-C
and SIGTERM.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time

from fm_lingvo import dataset
from fm_lingvo import errors
from tools import exit_codes
from tools import files
from tools import interrupts
from tools import recipe_compare
from tools import recipe_data
from tools import recipe_labels
from tools import recipe_plan
from tools import recipe_plot
from tools import recipe_report
from tools import recipe_rows
from tools import recipe_runner
from tools import recipe_stage
from tools import recipe_table
from tools import recipe_verdicts

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_RESULTS = os.path.join(_ROOT, 'docs', 'results', 'recipe.json')
_IMAGE = os.path.join(_ROOT, 'docs', 'images', 'recipe.png')


def _Parser():
  groups = '\n'.join(f'  {name:<18} {text}' for name, text in {**recipe_plan.GROUPS, 'all': 'all of them'}.items())
  parser = argparse.ArgumentParser(
      prog='recipe', description=__doc__, epilog=f'groups:\n{groups}',
      formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('names', nargs='*', metavar='GROUP|STAGE', help='what to train (default: main)')
  parser.add_argument('--quick', action='store_true', help='a smoke run: tiny data and models, a few steps')
  parser.add_argument('--seeds', default='',
                      help='further seeds, such as 2,3, of the models that are given target labels')
  parser.add_argument('--jobs', type=int, default=min(2, len(os.sched_getaffinity(0))),
                      help='stages at a time, which share the cores (default: 2, or 1 on one core)')
  parser.add_argument('--output', default='',
                      help='folder of the runs, report.md and recipe.png (default: runs/recipe)')
  parser.add_argument('--data_dir', default='', help='folder of the data sets (default: data/recipe)')
  parser.add_argument('--docs', action=argparse.BooleanOptionalAction, default=None,
                      help='write docs/results/recipe.json and docs/images/recipe.png (default: unless --quick)')
  parser.add_argument('--take', default='',
                      help='stages, comma-separated, whose finished runs are used although their inputs changed; the '
                      'report says so')
  parser.add_argument('--dry_run', action='store_true', help='only say what would be trained, and why')
  parser.add_argument('--list', action='store_true', help='print groups and stages, and exit')
  return parser


def _Settings(args):
  suffix = '_quick' if args.quick else ''
  return recipe_plan.Settings(output=(args.output or f'runs/recipe{suffix}').rstrip('/'),
                              data_dir=(args.data_dir or f'data/recipe{suffix}').rstrip('/'), quick=args.quick)


def _Seeds(text):
  try:
    seeds = tuple(sorted({int(seed) for seed in text.split(',') if seed}))
  except ValueError as e:
    raise errors.ConfigError(f'--seeds={text}: expected integers, such as 2,3') from e
  if any(seed < 1 for seed in seeds):
    raise errors.ConfigError(f'--seeds={text}: expected integers >= 1')
  return seeds


def _DataCommand(settings):
  """What python is called with to make the data sets."""
  return ['-m', 'tools.recipe_data', f'--output={settings.data_dir}'] + ['--quick'] * settings.quick


def PrepareData(settings):
  """Makes the data sets, or reuses those that are there.

  Raises:
    errors.ConfigError: they could not be made.
    recipe_runner.Interrupted: a signal ended it; the second one kills it.
  """
  came, told = [], 0
  with interrupts.HandledBy(lambda signum, _: came.append(signum)):
    # A session of its own: a signal reaches the recipe alone, which passes it on once to all that makes data.
    with subprocess.Popen([sys.executable, *_DataCommand(settings)], start_new_session=True) as process:
      while process.poll() is None:
        if len(came) > told:
          os.killpg(process.pid, signal.SIGKILL if told else signal.SIGINT)
          told = len(came)
        time.sleep(0.1)
  if came:
    raise recipe_runner.Interrupted(came[0], 'data sets that are whole are kept; the same command makes the others')
  if process.returncode:
    raise errors.ConfigError(
        f'{settings.data_dir}: the data sets could not be made (tools.recipe_data: exit code {process.returncode})')


def ResultsPath(settings, docs):
  """The results file: that of docs/, or the runs' own."""
  return _RESULTS if docs else os.path.join(settings.output, 'recipe.json')


class Publisher:
  """Writes what is known so far: results, report and picture.

  Rows of the results file stay as long as they are of today's inputs; the others are left out, for no mean and no
  comparison may mix the two.
  """

  def __init__(self, settings, docs, seeds=()):
    """docs: whether docs/ is written too; seeds: of rows to come, beside those of the plan and the results file."""
    self._settings, self._docs = settings, docs
    self._results = ResultsPath(settings, docs)
    everything = recipe_plan.Plan(settings, sorted({*seeds, *recipe_rows.Seeds(self._results)}))
    self._stages = recipe_labels.Resolve(settings, everything)
    inputs = recipe_stage.Inputs(settings, self._stages)
    self._stamps = {(stage.row, stage.seed): recipe_stage.Stamp(inputs[name])
                    for name, stage in self._stages.items() if stage.row}
    self._rows = {}
    self.failed = []  # Names of stages that are trained, but whose results cannot be read.
    self.result = None

  def Add(self, name):
    """Adds a finished stage's row, and writes everything again; an error ends no trainer."""
    stage = self._stages[name]
    try:
      if stage.row:
        self._rows[name] = recipe_rows.Row(self._settings, self._stages, name)
      self.Write()
    except errors.ConfigError as e:
      print(f'recipe: {name}: {e}', file=sys.stderr)
      self.failed.append(name)

  def Write(self):
    """Writes everything."""
    self.result, left_out = recipe_rows.Merge(
        self._results, list(self._rows.values()), self._IsCurrent,
        lambda rows: recipe_compare.Compare(self._settings, self._stages, rows))
    if left_out:
      names = ', '.join(f'{row["name"]} (seed {row["seed"]})' for row in left_out)
      print(f'recipe: {self._results}: left out, for they were trained from other inputs: {names}', file=sys.stderr)
    if self.result['rows']:
      image = os.path.join(self._settings.output, 'recipe.png')
      recipe_plot.Plot(self.result['rows'], image)
      if self._docs:
        shutil.copy(image, _IMAGE)
    recipe_report.Write(os.path.join(self._settings.output, 'report.md'), self._settings, self._stages, self.result,
                        'recipe.png' if self.result['rows'] else '')

  def _IsCurrent(self, row):
    return all(field in row for field in recipe_table.FIELDS) and row['stamp'] == self._stamps.get(
        (row['name'], row['seed']))


def _DryRun(settings, stages, inputs, take):
  for name, stage in stages.items():
    what, why = recipe_stage.Look(recipe_stage.RunDir(settings, stage), stage, inputs[name])
    text = {'done': 'reused', 'train': f'trained, {stage.knobs["max_steps"]} steps', 'resume': 'resumed',
            'busy': 'trained by another process, waited for',
            'changed': f'{"taken as it is" if name in take else "trained anew"}: {why}'}[what]
    print(f'{name}: {text}')


def _List(stages):
  for group, text in recipe_plan.GROUPS.items():
    print(f'{group}: {text}')
    for name, stage in stages.items():
      if stage.group == group:
        print(f'  {name:<28} {stage.model:<20} {stage.title}' + (f' (from {stage.parent})' if stage.parent else ''))


def _Run(args):
  """Does what the flags ask for; returns the exit code."""
  started = time.time()
  settings, seeds = _Settings(args), _Seeds(args.seeds)
  plan = recipe_plan.Plan(settings, seeds)
  if args.list:
    _List(plan)
    return 0
  if args.jobs < 1:
    raise errors.ConfigError(f'--jobs={args.jobs}: expected a number >= 1')
  stages = recipe_plan.Select(plan, args.names or ['main'], seeds)
  if not args.dry_run:
    files.MakeFolder(settings.output, f'--output={settings.output}')  # Before minutes of work.
    PrepareData(settings)
  elif not all(dataset.Exists(os.path.join(settings.data_dir, name, 'dataset.json')) for name in recipe_data.NAMES):
    raise errors.ConfigError(f'{settings.data_dir}: not all data sets are there, of which the stages are made; first python '
                             + ' '.join(_DataCommand(settings)))
  stages = recipe_labels.Resolve(settings, stages)
  inputs = recipe_stage.Inputs(settings, stages)
  take = [name for name in args.take.split(',') if name]
  for name in take:
    if name not in stages:
      raise errors.ConfigError(f'--take={name}: not among the stages to train: {", ".join(stages)}')
  if args.dry_run:
    _DryRun(settings, stages, inputs, take)
    return 0
  publisher = Publisher(settings, not args.quick if args.docs is None else args.docs, seeds)
  outcomes = recipe_runner.Runner(settings, stages, inputs, args.jobs, on_done=publisher.Add, take=take).Run()
  publisher.Write()
  if not settings.quick:  # Its figures say nothing.
    for line in recipe_verdicts.Verdicts(publisher.result['rows'], publisher.result['comparisons']):
      print(line)
  failed = [name for name, outcome in outcomes.items() if outcome in ('failed', 'not run')]
  failed += publisher.failed
  count = sum(outcome == 'done' for outcome in outcomes.values())
  print(f'{settings.output}/report.md: {len(publisher.result["rows"])} rows; {count} stages trained, '
        f'{sum(outcome == "reused" for outcome in outcomes.values())} reused, {len(failed)} failed, in '
        f'{(time.time() - started) / 60:.1f} min')
  if failed:
    print(f'recipe: failed: {", ".join(failed)}; the same command tries again', file=sys.stderr)
  return 1 if failed else 0


def Main(argv):
  """Runs the recipe; returns the exit code."""
  args = _Parser().parse_args(argv[1:])
  try:
    return exit_codes.Report('recipe', lambda: _Run(args), 'interrupted; the same command goes on')
  except recipe_runner.Interrupted as e:
    print(f'recipe: {e}', file=sys.stderr)
    return e.exit_code


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
