"""The whole method from one command: data, the three stages, the baselines, and a table of what each buys.

  python -m tools.recipe                   # the group `main`
  python -m tools.recipe seed2 curve       # further groups; they reuse what main trained and add rows
  python -m tools.recipe adapted --seeds=4 # single models, with the stages that they start from
  python -m tools.recipe all --dry_run     # what would be trained, and why
  python -m tools.recipe --report          # only the report, of what is trained so far
  python -m tools.recipe --quick           # a smoke run in runs/recipe_quick, of one stage of each experiment

Stages whose inputs did not change are reused, stopped ones go on where they stopped; RUNS/NAME/stage.json says what a
stage was trained from. Its inputs are all params that it is trained with, its data and what it starts from, not the
code. The run of a stage whose inputs changed is moved aside, not overwritten; its row leaves the results, as do rows
of other data. Ctrl-C ends the trainers after a checkpoint.

Exit codes: 0 done, 1 a stage failed, 2 wrong usage or data that cannot be made, 130 and 143 stopped by Ctrl-C and
SIGTERM.
"""

import argparse
import sys

from fm_lingvo import errors
from fm_lingvo.runtime import quiet
from fm_lingvo.utils import files as file_system

from ..common import command_line
from ..common import exit_codes
from ..common import flag_types
from . import plan
from . import runner
from . import stage_spec
from . import stages


def _Parser():
  groups = '\n'.join(f'  {name:<18} {text}' for name, text in {**plan.GROUPS, 'all': 'all of them'}.items())
  parser = command_line.Parser('recipe', __doc__, epilog=f'groups:\n{groups}')
  parser.add_argument(
    'names',
    nargs='*',
    metavar='GROUP|STAGE',
    help='what to train (default: main; with --quick: one stage of each of its experiments)',
  )
  parser.add_argument('--quick', action='store_true', help='a smoke run: tiny data and models, a few steps')
  parser.add_argument(
    '--seeds', default='', help='further seeds, such as 2,3, of the models that are given target labels'
  )
  parser.add_argument(
    '--jobs',
    type=int,
    default=min(2, runner.Cores()),
    help='stages at a time, which share the cores (default: 2, or 1 on one core)',
  )
  parser.add_argument(
    '--output',
    type=flag_types.LocalPath,
    default='',
    help='folder of the runs, report.md and recipe.png (default: runs/recipe)',
  )
  parser.add_argument(
    '--data_dir', type=flag_types.LocalPath, default='', help='folder of the data sets (default: data/recipe)'
  )
  parser.add_argument(
    '--corpora',
    type=file_system.ExpandUser,
    default='',
    help='folder of human corpora for the source and AN4, see docs/recipe.md',
  )
  parser.add_argument(
    '--docs',
    action=argparse.BooleanOptionalAction,
    default=None,
    help='write docs/results/recipe.json and docs/images/recipe.png (default: unless --quick)',
  )
  parser.add_argument(
    '--take',
    default='',
    help='stages, comma-separated, whose finished runs are used although their inputs changed; the report says so',
  )
  parser.add_argument('--dry_run', action='store_true', help='only say what would be trained, and why')
  parser.add_argument('--report', action='store_true', help='only write the report of what is trained so far, and exit')
  parser.add_argument('--list', action='store_true', help='print groups and stages, and exit')
  return parser


def _Settings(args):
  suffix = '_quick' if args.quick else ''
  return stage_spec.Settings(
    output=(args.output or f'runs/recipe{suffix}').rstrip('/'),
    data_dir=(args.data_dir or f'data/recipe{suffix}').rstrip('/'),
    quick=args.quick,
    corpora=args.corpora,
  )


def _Seeds(text):
  try:
    seeds = tuple(sorted({int(seed) for seed in text.split(',') if seed}))
  except ValueError as e:
    raise errors.ConfigError(f'--seeds={text}: expected integers, such as 2,3') from e
  if any(seed < 1 for seed in seeds):
    raise errors.ConfigError(f'--seeds={text}: expected integers >= 1')
  return seeds


def _List(planned):
  for group, text in plan.GROUPS.items():
    print(f'{group}: {text}')
    for run, stage in planned.items():
      if stage.group == group:
        needs = f' (from {", ".join(stage.needs)})' if stage.needs else ''
        print(f'  {run:<28} {stage.model:<20} {stage.title}{needs}')


def _Run(args):
  settings, seeds = _Settings(args), _Seeds(args.seeds)
  planned = stages.Plan(settings, seeds)
  names = args.names or (stages.OneOfEachExperiment(planned, 'main') if args.quick else ['main'])
  if args.list:
    _List(planned)
    return 0
  if args.jobs < 1:
    raise errors.ConfigError(f'--jobs={args.jobs}: expected a number >= 1')
  stages.Select(planned, names, seeds)  # Before seconds of imports.
  with quiet.Imports():
    from . import run
  return run.Run(
    settings,
    names,
    seeds,
    jobs=args.jobs,
    docs=not args.quick if args.docs is None else args.docs,
    take=[name for name in args.take.split(',') if name],
    dry_run=args.dry_run,
    report_only=args.report,
  )


def Main(argv: list[str]) -> int:
  """Runs the recipe; returns the exit code."""
  args = _Parser().parse_args(argv[1:])
  try:
    return exit_codes.Report('recipe', lambda: _Run(args), 'interrupted; the same command goes on')
  except runner.Interrupted as e:
    print(f'recipe: {e}', file=sys.stderr)
    return e.exit_code


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
