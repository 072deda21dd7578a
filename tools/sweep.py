"""Searches the values of knobs and params that make an experiment's evaluations best, with Optuna.

  python -m tools.sweep --model=asr.Supervised --search='learning_rate=loguniform(1e-4, 3e-3)' \\
      --search='dropout_prob=uniform(0, 0.3)' --metric=DevSource/labeled/wer --trials=20 --logdir=runs/sweep \\
      -- --gin.Supervised.max_steps=500

A name without a dot is a knob of the experiment, one with dots the path of a param. Kinds: uniform, loguniform, int,
logint, choice. --space names a YAML file with lines NAME: KIND(VALUES). What follows -- are flags of the trainer.

Each trial is a run in LOGDIR/trial-NNNN; TensorBoard's tab HParams compares them. A trial that is worse than the median
of the others at the same step is stopped. The same command goes on where the sweep was stopped, trials included:
LOGDIR/study.db is Optuna's study. Exit codes: 0: done; 2: wrong usage, or three trials failed one after the other; 130,
143: Ctrl-C, SIGTERM.
"""

import os
import sys

from fm_lingvo import errors
from fm_lingvo.runtime import quiet
from fm_lingvo.utils import files

from .common import command_line
from .common import exit_codes
from .common import flag_types
from .common import interrupts
from .sweeps import hparams
from .sweeps import space
from .sweeps import study
from .sweeps import trial


def _Parser():
  parser = command_line.Parser('sweep', __doc__)
  parser.add_argument('--model', required=True, help='name of an experiment; trainer --list_models')
  parser.add_argument('--search', action='append', default=[], metavar='NAME=KIND(VALUES)', help='repeatable')
  parser.add_argument('--space', type=files.ExpandUser, default='', metavar='FILE', help='YAML file of the space')
  parser.add_argument(
    '--metric',
    required=True,
    metavar='DATASET/METRIC',
    help='metric of metrics.jsonl to minimise, such as DevTarget/labeled/wer',
  )
  parser.add_argument('--maximize', action='store_true', help='maximise the metric, such as an accuracy')
  parser.add_argument('--trials', type=int, default=20, help='trials to finish in all (default: 20)')
  parser.add_argument(
    '--jobs', type=int, default=1, help='trials side by side, each on its share of the cores (default: 1)'
  )
  parser.add_argument('--logdir', type=flag_types.LocalPath, required=True, help='folder of the sweep')
  parser.add_argument('--noprune', dest='prune', action='store_false', help='let every trial go to its end')
  parser.add_argument('--seed', type=int, default=1, help='seed of the search (default: 1)')
  return parser


def Plan(argv: list[str]) -> study.Plan:
  """Reads a command line.

  Raises:
    errors.ConfigError: A flag has an unusable value.
  """
  end = argv.index('--') if '--' in argv else len(argv)
  args = _Parser().parse_args(argv[1:end])
  dataset, slash, metric = args.metric.partition('/')
  if not slash or not metric:
    raise errors.ConfigError(f'--metric={args.metric}: expected DATASET/METRIC, such as DevTarget/labeled/wer')
  for name in ('trials', 'jobs'):
    if getattr(args, name) < 1:
      raise errors.ConfigError(f'--{name}={getattr(args, name)}: expected a number > 0')
  with quiet.Imports():  # TensorFlow, which --help does not need.
    from fm_lingvo.config import gin_reader
  flags = gin_reader.RewriteGinArgs(['trainer', *argv[end + 1 :]])[1:]
  for flag in flags:
    if flag.lstrip('-').partition('=')[0] in ('model', 'logdir'):
      raise errors.ConfigError(f'{flag}: the sweep sets it; give it before --')
  dimensions = space.Read(args.search, args.space)
  return study.Plan(
    model=args.model,
    logdir=args.logdir,
    space=dimensions,
    dataset=dataset,
    metric=metric,
    maximize=args.maximize,
    trials=args.trials,
    jobs=args.jobs,
    seed=args.seed,
    prune=args.prune,
    flags=flags,
  )


def _CheckNew(plan):
  """Raises ConfigError if the trainer refuses a new sweep's trials, or if their evaluations will lack the metric.

  The values are the last ones of each dimension: the first may switch off what another one sets.
  """
  if os.path.exists(os.path.join(plan.logdir, study.FILE)):
    return
  print(f'checking --metric={plan.dataset}/{plan.metric}', flush=True)
  bindings = space.Bindings(plan.model, {name: dimension.values[-1] for name, dimension in plan.space.items()})
  trial.CheckMetric(plan.model, plan.dataset, plan.metric, bindings, plan.flags)


def _Run(argv):
  interrupts.Raise()
  plan = Plan(argv)
  config = hparams.Config(plan.space, plan.dataset, plan.metric)
  _CheckNew(plan)
  running = study.Study(plan)
  hparams.Write(plan.logdir, config)
  running.Run()
  print('\n'.join(running.Table()))
  return 0


def Main(argv: list[str] | None = None) -> int:
  """Runs the tool; returns the exit code."""
  arguments = argv or sys.argv
  return exit_codes.Report(
    'sweep', lambda: _Run(arguments), 'interrupted; the same command goes on, with the trials that were running'
  )


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
