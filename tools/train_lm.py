"""Trains a language model for fusion in a transducer's beam: an LSTM over a tokenizer's labels, in one small file.

  python -m tools.lm_text --output=general_en.txt
  python -m tools.train_lm --input=general_en.txt,data/recipe/source --output=my_lm.npz
  python -m tools.transcribe RUN AUDIO --lm=my_lm.npz --beam_size=8

An input is a data set, whose training transcripts count, or a UTF-8 text file, an utterance a line, normalised as the
tokenizer's own texts. A hundredth of the lines is held out. The training is a run of the experiment text.LanguageModel
in OUTPUT.train/, with checkpoints, TensorBoard's curves and config.gin: the same command goes on where it stopped.
With --run instead of --input, the model of a finished run of that experiment is written, wherever it was trained.
Exit code 0: done; 1: cannot write; 2: bad usage; 130: Ctrl-C.
"""

import hashlib
import json
import math
import os
import sys

from fm_lingvo import errors
from fm_lingvo.run_files import metrics_log
from fm_lingvo.runtime import quiet
from fm_lingvo.utils import files as file_system

from . import train_tokenizer
from .common import command_line
from .common import exit_codes
from .common import flag_types
from .prepare import importers

_TOKENIZER = 'params/tokenizers/graphemes_en.model'
_EXPERIMENT = 'text.LanguageModel'
_HELD_OUT = 100  # One line of so many.
_MAX_LABELS = 512  # Of a line: the experiment's largest bucket, see params/text.py.
_WARMUP_STEPS = 200  # At most, and a tenth of all.
# Flags that are knobs, too.
_KNOBS = ('embedding_dim', 'hidden_dim', 'num_layers', 'batch_labels', 'learning_rate', 'seed')


def Split(texts, encode):
  """Splits distinct lines into training and held-out ones.

  Args:
    texts: list of str.
    encode: list of str -> list of lists of labels.

  Returns:
    (training lines, held-out lines, number of their labels, number of lines that are too long and left out).
  """
  texts = list(dict.fromkeys(texts))
  training, held_out, num_labels, too_long = [], [], 0, 0
  for text, labels in zip(texts, encode(texts)):
    if len(labels) > _MAX_LABELS:
      too_long += 1
    elif importers.Uniform(text, 'lm') < 1 / _HELD_OUT:
      held_out.append(text)
    elif labels:
      training.append(text)
      num_labels += len(labels)
  return training, held_out, num_labels, too_long


def CheckFolder(folder, settings):
  """Refuses to go on with what was trained from other settings; notes them in a new folder.

  Args:
    folder: Of the checkpoints.
    settings: dict of JSON values.

  Raises:
    exit_codes.UsageError: naming the first setting that differs, or a note that cannot be read.
    errors.RunError: the folder cannot be written.
  """
  path = os.path.join(folder, 'settings.json')
  instead = 'remove it to begin anew, or choose another --output'
  if os.path.exists(path):
    try:
      with open(path, encoding='utf-8') as f:
        old = dict(json.load(f))
    except (TypeError, ValueError) as e:
      raise exit_codes.UsageError(f'{folder}: its settings.json is cut off or no JSON object ({e}); {instead}') from e
    for name, value in settings.items():
      if old.get(name) != value:
        raise exit_codes.UsageError(f'{folder}: trained with {name} = {old.get(name)}, not {value}; {instead}')
    return
  with errors.Writing(path):
    os.makedirs(folder, exist_ok=True)
    with file_system.Replacing(path) as f:
      json.dump(settings, f)


def WriteTexts(folder, training, held_out):
  """Writes the experiment's data, train.txt and dev.txt."""
  with errors.Writing(folder):
    os.makedirs(folder, exist_ok=True)
    for name, lines in (('train.txt', training), ('dev.txt', held_out)):
      with file_system.Replacing(os.path.join(folder, name)) as f:
        f.writelines(line + '\n' for line in lines)


def Export(run, output, **facts):
  """Writes the language model of a finished run of text.LanguageModel.

  Args:
    run: Its folder.
    output: The file, .npz.
    **facts: What the file says of itself, beside steps and cross-entropy.

  Raises:
    errors.ConfigError: No such run, or one of another experiment.
  """
  with quiet.Imports():  # TensorFlow, which --help does not need.
    from lingvo.core import py_utils

    from fm_lingvo.checkpoints import reader
    from fm_lingvo.data import tokenizer
    from fm_lingvo.decoding import language_model
    from fm_lingvo.inference import load_run
    from fm_lingvo.run_files import run_dir
    from fm_lingvo.tasks import language_model_task

  name, params = load_run.ModelParams(run)
  if params.task.cls is not language_model_task.LanguageModelTask:
    raise errors.ConfigError(f'{run}: a run of {name}; expected one of {_EXPERIMENT}')
  checkpoint = reader.Checkpoint(run)
  prefix, suffix = f'{params.task.name}/{language_model_task.NAME}/', '/var'
  weights = py_utils.NestedMap()
  for variable in checkpoint.weights:
    if variable.startswith(prefix):
      weights.Set(variable[len(prefix) : -len(suffix)].replace('/', '.'), checkpoint.Read(variable))
  rows = [
    row
    for row in metrics_log.ReadMetrics(os.path.join(run, 'metrics.jsonl'))
    if row['dataset'] == 'Dev' and row['step'] == checkpoint.step
  ]
  if rows:
    facts['held_out_nats_per_label'] = round(rows[-1]['loss'], 4)
  tokens = tokenizer.Tokenizer(run_dir.TokenizerPath(run, language_model_task.NAME))
  language_model.Write(output, params.task.lm, weights, tokens, steps=checkpoint.step, **facts)
  nats = f', {rows[-1]["loss"]:.4f} nats a label on held-out lines' if rows else ''
  print(f'{output}: {os.path.getsize(output) / 1e6:.2f} MB{nats}')


def _Parser():
  parser = command_line.Parser('train_lm', __doc__)
  parser.add_argument('--input', default='', help='data sets and text files, with commas between them')
  parser.add_argument(
    '--run',
    type=file_system.ExpandUser,
    default='',
    help='write the model of this finished run of the trainer, without training',
  )
  parser.add_argument(
    '--output', type=flag_types.LocalPath, required=True, help='the file to write, .npz; one that exists is replaced'
  )
  parser.add_argument(
    '--tokenizer',
    type=file_system.ExpandUser,
    default=_TOKENIZER,
    help=f'SentencePiece model of the labels (default: {_TOKENIZER})',
  )
  parser.add_argument('--embedding_dim', type=int, default=48, help='width of embedded labels (default: 48)')
  parser.add_argument('--hidden_dim', type=int, default=384, help='width of the LSTM (default: 384)')
  parser.add_argument('--num_layers', type=int, default=1, help='LSTMs, one on another (default: 1)')
  parser.add_argument('--max_steps', type=int, default=12000, help='(default: 12000)')
  parser.add_argument('--batch_labels', type=int, default=4096, help='labels of a step, with padding (default: 4096)')
  parser.add_argument('--learning_rate', type=float, default=3e-3, help='peak of a cosine (default: 3e-3)')
  parser.add_argument('--seed', type=int, default=1, help='of weights and order (default: 1)')
  return parser


def _CheckFlags(args):
  """Raises UsageError for flags that no training could go by."""
  if bool(args.input) == bool(args.run):
    raise exit_codes.UsageError('--input or --run: expected one of them')
  for name in ('tokenizer', 'max_steps', *_KNOBS):
    if args.run and getattr(args, name) != _Parser().get_default(name):
      raise exit_codes.UsageError(f'--{name}: not used with --run, whose model is written as it was trained')
  for name in ('embedding_dim', 'hidden_dim', 'num_layers', 'max_steps', 'batch_labels', 'learning_rate'):
    if not 0 < getattr(args, name) < math.inf:
      raise exit_codes.UsageError(f'--{name}={getattr(args, name)}: expected a number > 0 and finite')
  if not 0 <= args.seed < 2**31:
    raise exit_codes.UsageError(f'--seed={args.seed}: expected a number from 0 to 2**31 - 1')
  if not args.output.endswith('.npz'):
    raise exit_codes.UsageError(f'--output={args.output}: expected a name that ends in .npz')


def _Prepare(args, run):
  """Writes the texts of a run."""
  texts = train_tokenizer.ReadTexts(file_system.SplitPaths(args.input))
  with quiet.Imports():
    from fm_lingvo.data import tokenizer
  tokens = tokenizer.Tokenizer(args.tokenizer)
  training, held_out, num_labels, too_long = Split(texts, tokens.EncodeTexts)
  if not training or not held_out:
    raise exit_codes.UsageError(
      f'--input={args.input}: {len(texts)} lines; expected more, a hundredth of which is held out'
    )
  print(
    f'{len(training)} lines of {num_labels} labels, {len(held_out)} held out, {too_long} too long and left out',
    flush=True,
  )
  unknown = sum(tokens.unk_id in labels for labels in tokens.EncodeTexts(training))
  if unknown:
    print(
      f'{unknown} lines have characters that {args.tokenizer} does not know (case, digits, punctuation?), '
      'learnt as <unk>',
      flush=True,
    )
  CheckFolder(
    run,
    {
      'tokenizer': tokens.sha256,
      'lines': len(training),
      'text': hashlib.sha256('\n'.join(training + held_out).encode()).hexdigest(),
      'input': args.input,
      **{name: getattr(args, name) for name in _KNOBS},
    },
  )
  WriteTexts(os.path.join(run, 'text'), training, held_out)


def _Train(args, run):
  """Runs the trainer; returns its exit code."""
  from fm_lingvo import trainer

  knobs = {
    'data_dir': os.path.join(run, 'text'),
    'tokenizer': args.tokenizer,
    'max_steps': args.max_steps,
    'warmup_steps': max(1, min(_WARMUP_STEPS, args.max_steps // 10)),
    **{name: getattr(args, name) for name in _KNOBS},
  }
  name = _EXPERIMENT.rpartition('.')[2]
  return trainer.Main(
    [
      'trainer',
      f'--model={_EXPERIMENT}',
      f'--logdir={run}',
      *(f'--gin_bindings={name}.{knob} = {value!r}' for knob, value in knobs.items()),
    ]
  )


def _Run(args):
  """Does what the arguments ask for; returns the exit code."""
  _CheckFlags(args)
  if args.run:
    Export(args.run, args.output)
    return 0
  run = os.path.abspath(args.output + '.train')
  _Prepare(args, run)
  code = _Train(args, run)
  if not code:
    Export(run, args.output, input=args.input)
  return code


def Main(argv: list[str] | None = None) -> int:
  """Runs the tool; returns the exit code."""
  args = _Parser().parse_args((argv or sys.argv)[1:])
  return exit_codes.Report('train_lm', lambda: _Run(args))


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
