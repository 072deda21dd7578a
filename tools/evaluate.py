"""Evaluates a run on its data sets, with any checkpoint, beam size, language model and hotwords.

  python -m tools.evaluate runs/adapted
  python -m tools.evaluate runs/adapted --datasets=TestTarget --beam_size=8 --lm=params/lm/graphemes_en.npz \\
      --output=with_lm
  python -m tools.evaluate runs/adapted --datasets=TestTarget --beam_size=8 --hotwords=names.txt
  python -m tools.evaluate runs/adapted --datasets=DevTarget --calibrate
  python -m tools.evaluate runs/adapted --datasets=TestTarget --confidence --add=decoding --label='beam of 8'

It computes the same metrics as the run does at its end. --output writes FOLDER/metrics.jsonl and
FOLDER/hypotheses/DATASET.jsonl as in a run's folder, and FOLDER/reliability/DATASET.json with --confidence.
--calibrate fits the confidence of words to one data set and writes RUN/confidence.json, which tools.transcribe and
fm_lingvo.load use. --confidence prints for each data set how many of the words with each confidence are right, and the
expected calibration error (ECE). Name the beam and the language model with which the run will be used.
With --hotwords it also counts how many of them that were said were found, and how many others; --hotword_boost=0 does
so without preferring them. --add=NAME keeps all these figures in docs/results/NAME.json.
Exit code 1: the output cannot be written; 2: wrong usage, run or checkpoint.
"""

import sys

from fm_lingvo import errors
from fm_lingvo.config import user_modules
from fm_lingvo.decoding import search_options
from fm_lingvo.runtime import quiet
from fm_lingvo.utils import files as file_system

from .common import command_line
from .common import exit_codes
from .common import run_flags
from .figures import kept_figures


def Evaluate(run, datasets, checkpoint, how, averages=True, data_dir=None):
  """Evaluates one data set after the other.

  Args:
    run: Folder of the run.
    datasets: Names of data sets; empty: the run's final_eval_datasets, or its eval_datasets, without those that have no
      files.
    checkpoint: See run_checkpoints.Find.
    how: The search_options.Search.
    averages: See reader.Checkpoint.
    data_dir: See load_run.ModelParams.

  Yields:
    (name of the data set, step, values, rows), with values and rows of evaluator.Evaluator.Run.

  Raises:
    errors.ConfigError: The run has no such data set or checkpoint, does not support the search, a data set in
      `datasets` has no files, or transcripts are of two normalisers.
  """
  # These import TensorFlow, which --help does not need.
  from fm_lingvo.checkpoints import reader
  from fm_lingvo.checkpoints import run_checkpoints
  from fm_lingvo.data import hydra_input
  from fm_lingvo.data import transcripts
  from fm_lingvo.evaluation import evaluator
  from fm_lingvo.inference import load_run

  train_params = load_run.ModelParams(run, data_dir=data_dir)[1]
  train = train_params.task.train
  trained = transcripts.Recorded(run)
  trained = transcripts.OfInput(train_params.input) if trained is None else trained
  found = reader.Checkpoint(run_checkpoints.Find(run, checkpoint), averages)
  for name in datasets or train.final_eval_datasets or train.eval_datasets:
    _, params = load_run.ModelParams(run, name, data_dir)
    hydra_input.Validate(params.input)
    load_run.SetSearch(run, params, how)
    missing = hydra_input.MissingRecords(params.input)
    if missing and datasets:
      raise errors.ConfigError(f'--datasets: {name}: {missing}')
    if missing:
      print(f'{name}: not evaluated, {missing}', flush=True)
      continue
    transcripts.CheckComparable(name, transcripts.OfInput(params.input), trained)
    evaluation = evaluator.Evaluator(params)
    values, _, rows = evaluation.Run(evaluation.ReadWeights(found))
    yield name, found.step, values, rows


def Line(name, step, values):
  """Returns a line with the main metrics of a data set."""
  from fm_lingvo.evaluation import evaluator  # Only here: it imports TensorFlow.

  words = [f'{name}, step {step}']
  for key in sorted(values):
    branch, _, metric = key.rpartition('/')
    if metric in ('wer', 'cer'):
      low, high = (values[f'{key}_{end}'] for end in ('low', 'high'))
      words.append(f'{branch} {metric.upper()} {values[key]:.2%} ({low:.2%} to {high:.2%})')
    elif metric == 'hotwords_said':
      found, false = (values[f'{branch}/hotwords_{kind}'] for kind in ('found', 'false'))
      words.append(f'{branch} hotwords {found} of {values[key]} found, {false} not said')
    elif (
      metric in ('masked_accuracy', 'cross_entropy', 'perplexity', 'bits_per_character', 'examples')
      or metric == 'dropped'
      and values[key]
      or evaluator.IsManyUnknown(key, values[key])
    ):
      words.append(f'{key} {values[key]:.4g}')
  return ', '.join(words)


def Figures(name, values, ece):
  """Returns the kept_figures.Figure of a data set.

  Args:
    name: Of the data set.
    values: As of Line.
    ece: dict: kind of calibration -> expected calibration error of the words.
  """
  figures = []
  for key in sorted(values):
    branch, _, metric = key.rpartition('/')
    if metric in ('wer', 'cer'):
      rates = [100 * values[key + end] for end in ('', '_low', '_high')]
      figures += kept_figures.WithInterval(f'{name}, {branch}: {metric.upper()}', *rates, '%')
    elif metric in ('hotwords_said', 'hotwords_found', 'hotwords_false'):
      figures.append((f'{name}, {branch}: hotwords, {metric.partition("_")[2]}', values[key], ''))
  return figures + [(f'{name}: ECE of words, {kind}', value, '') for kind, value in ece.items()]


def _Run(args):
  kept_figures.Start('evaluate', args)
  with quiet.Imports():
    from fm_lingvo.evaluation import hotword_counts
    from fm_lingvo.evaluation import hypotheses
    from fm_lingvo.inference import graph_mode
    from fm_lingvo.run_files import metrics_log

    from .common import calibration
  graph_mode.Start()
  user_modules.Import(args.import_module)
  datasets = [name for name in args.datasets.split(',') if name]
  if args.calibrate and len(datasets) != 1:
    raise errors.ConfigError('--calibrate: expected one data set, such as --datasets=DevTarget')
  if args.output:
    with errors.Writing(f'--output={args.output}'):
      file_system.MakeFolder(args.output)  # Fail before minutes of work.
  step = None
  how = search_options.FromArgs(args)
  for name, step, values, rows in Evaluate(args.run, datasets, args.checkpoint, how, args.averages, args.data_dir):
    values.update(hotword_counts.Count(rows, [p if isinstance(p, str) else p[0] for p in how.hotwords or ()]))
    print(Line(name, step, values), flush=True)
    if (args.calibrate or args.confidence) and not rows:
      raise errors.ConfigError(f'{name}: the run has no head that decodes, and so no words')
    if args.calibrate:
      print('\n'.join(calibration.Calibrate(args.run, name, step, rows)), flush=True)
    if args.confidence or args.calibrate:
      print('\n'.join(calibration.Report(args.run, name, rows, args.output)), flush=True)
    ece = calibration.Ece(args.run, name, rows) if args.calibrate or args.confidence else {}
    kept_figures.Keep(args, Figures(name, values, ece))
    if args.output:
      with errors.Writing(f'--output={args.output}'):
        metrics_log.MetricsLog(args.output).Write(name, step, values)
        if rows:
          hypotheses.Write(args.output, name, step, rows)
  if step is None:
    raise errors.ConfigError(
      f'{args.run}: no data set to evaluate has files; relative paths count from the working directory'
    )


def Main(argv: list[str] | None = None) -> int:
  """Runs the tool; returns the exit code."""
  parser = command_line.Parser('evaluate', __doc__)
  parser.add_argument(
    'run',
    type=run_flags.RunFolder,
    metavar='RUN',
    help='folder of a run, or one that fm-export --format=safetensors wrote',
  )
  parser.add_argument(
    '--datasets',
    default='',
    metavar='A,B',
    help='data sets of its experiment, comma-separated (default: the '
    "run's final_eval_datasets, or its eval_datasets if it has none)",
  )
  run_flags.AddWeights(parser)
  run_flags.AddDataDir(parser)
  search_options.AddFlags(parser)
  user_modules.AddFlag(parser)
  parser.add_argument('--confidence', action='store_true', help='print the reliability of the confidence of words')
  parser.add_argument(
    '--calibrate',
    action='store_true',
    help='fit the confidence of words to the data set of --datasets; writes RUN/confidence.json, which transcription '
    'reads',
  )
  parser.add_argument(
    '--output', type=file_system.ExpandUser, metavar='FOLDER', help='folder to add metrics.jsonl and hypotheses/ to'
  )
  kept_figures.AddFlags(parser)
  given = (argv or sys.argv)[1:]
  args = parser.parse_args(given)
  args.given = given
  return exit_codes.Report('evaluate', lambda: _Run(args))


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
