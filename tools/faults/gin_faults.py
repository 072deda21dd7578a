"""Mutated Gin files, bindings and command lines: each either runs --dry_run or ends with exit code 2 and one line.

Processes are forks of one that has imported TensorFlow: start-up would dominate. A sample starts as a command does.
"""

import multiprocessing.connection
import os
import re
import string
import time

from . import outcome
from . import processes

SECONDS = 10  # For each process, of its own processor time, start-up not counted.
_TINY = [
  "BestRqPretrain.data_dir = 'nowhere'",
  'BestRqPretrain.codebook_size = 16',
  'task.encoder.num_layers = 1',
  'task.encoder.model_dim = 16',
  'task.encoder.num_heads = 2',
  'task.encoder.kernel_size = 5',
  'task.encoder.subsampling.channels = 4',
]
# Bindings that are right: mutations begin with them.
SEEDS = [
  *_TINY,
  'BestRqPretrain.num_codebooks = 2',
  "BestRqPretrain.size = 'tiny'",
  "BestRqPretrain.data_dir = 'data/x'",
  "BestRqPretrain.unlabeled = ('a', 'b')",
  'BestRqPretrain.batch_seconds = 8.0',
  "BestRqPretrain.projection = 'pca'",
  'BestRqPretrain.max_steps = 10',
  'BestRqPretrain.mask_start_prob = 0.1',
  "BestRqPretrain.compute_dtype = 'bfloat16'",
  "task.train.eval_datasets = ['DevHuman']",
  'task.train.max_minutes = 1',
  'task.train.learner.learning_rate = 0.1',
  'input.streams.unlabeled.shuffle_buffer_size = 10',
  "DevHuman/input.streams.unlabeled.domain_regex = 'a|b'",
  'input.streams.unlabeled.bucket_upper_bound_seconds = [1.0, 2.0]',
  'task.frontend.mel.num_bins = 40',
  "include 'params/gin/streaming.gin'",
  'STEPS = 5\nBestRqPretrain.max_steps = %STEPS',
  'task.encoder.conv_norm = "group_norm"',
  'task.heads.best_rq.masker.mask_span_ms = 200.0',
  'task.heads.best_rq.quantizer.codebook_dim = 8',
  'task.branches.unlabeled.weight = 2.0',
  'task.encoder.atten_left_context = 8',
  'model.cluster.split_id = 0',
  'schedule.train_executions_per_eval = 1',
  "task.frontend.normalization = 'none'",
  'task.random_seed = 3',
]
_VALUES = [
  '0',
  '-1',
  '1',
  '2',
  '3',
  '7',
  '1e9',
  '10**9',
  '1e400',
  '-0.0',
  'nan',
  'inf',
  'None',
  'True',
  "'x'",
  "''",
  '()',
  '[]',
  '{}',
  '[1, 2]',
  "['x']",
  '[None]',
  '((1,),)',
  '{"a": 1}',
  '%NOT_THERE',
  '@f',
  '@f()',
  '%gin.REQUIRED',
  '2147483648',
  '1000000',
  '0.5',
  "'..'",
  "'/'",
  "'a' * 9",
  'lambda: 1',
  'b"x"',
  '0x10',
  '1_000',
  '1j',
  "'\\x00'",
  "'é'",
  '"""a\nb"""',
]
# Values of the type that is expected, so that what is wrong is found later.
_SAME_TYPE = [
  (r'-?\d+$', ['0', '-1', '1', '3', '7', '64', '2147483648', '1000000000000']),
  (r'-?\d+\.\d+$', ['0.0', '-1.0', '1e-30', '1e30', '0.5', '1.0']),
  (r'[\'"]', ["''", "'x'", "'../..'", "'é'", "'('"]),
]
_FLAGS = [
  '--gin_file=',
  '--gin_file=/',
  '--gin_file=no.gin',
  '--gin_search_paths=/no',
  '--model=',
  '--model=asr',
  '--model=asr.X',
  '--model=a.b.c',
  '--gin.',
  '--gin.=',
  '--gin.x',
  '--gin.task=1',
  '--gin_bindings',
  '--gin_bindings=',
  '--gin_bindings==',
  '--gin_bindings=%',
  '--logdir',
  '--mode=x',
  '--job=x',
  '--run_locally=x',
  '--verbosity=x',
  '--dry_run=x',
  '--no_such_flag',
  '-x',
  '--',
  'word',
  '--=',
  '--gin_bindings=\0',
  '--gin_bindings=' + '(' * 300,
  '--model=../../etc',
  '--model_params_override=x',
  '--flagfile=/no',
  '--flagfile=/etc/passwd',
  '--gin_bindings=' + 'a' * 5000 + ' = 1',
  '--gin_file=/dev/zero',
  '--gin_file=/dev/null',
  '--enable_asserts=x',
  '--worker_gpus=-1',
  '--tf_master=x',
]


def Mutant(rng):
  """A random list of arguments of the trainer, made from right ones."""
  bindings = rng.sample(SEEDS, rng.randrange(1, 4))
  arguments = []
  for _ in range(rng.randrange(1, 3)):
    i, kind = rng.randrange(len(bindings)), rng.randrange(9)
    text = bindings[i]
    name, _, value = text.partition(' = ')
    if kind == 0:  # A character changed, added or left out.
      at = rng.randrange(len(text) + 1)
      text = text[:at] + rng.choice(['', rng.choice(string.printable)]) + text[at + rng.randrange(2) :]
    elif kind in (1, 2, 3):  # Another value.
      text = f'{name} = {rng.choice(_VALUES)}'
    elif kind == 4:  # Another name.
      parts = name.split('.')
      parts[rng.randrange(len(parts))] = rng.choice(
        ['', 'x', 'task', 'encoder', 'params', 'cls', '__class__', 'name', 'dtype']
      )
      text = f'{".".join(parts)} = {value}'
    elif kind == 5:  # The value of another binding.
      text = f'{name} = {rng.choice(SEEDS).partition(" = ")[2]}'
    elif kind == 6:
      text = text[: rng.randrange(len(text))]
    elif kind == 7:
      values = next((values for pattern, values in _SAME_TYPE if re.match(pattern, value)), _VALUES)
      text = f'{name} = {rng.choice(values)}'
    else:
      arguments.append(rng.choice(_FLAGS))
    bindings[i] = text
  arguments += [f'--gin.{b.replace(" = ", "=", 1)}' if rng.random() < 0.2 else f'--gin_bindings={b}' for b in bindings]
  rng.shuffle(arguments)
  model = [] if rng.random() < 0.03 else ['--model=asr.BestRqPretrain']
  # First, lest a flag without its value takes it for one: then the command would train, and prepare data.
  return ['--dry_run', *model, *(f'--gin_bindings={b}' for b in _TINY), *arguments]


def Judge(arguments, code, out, err, seconds):
  """Case of one command: what must hold is in the module's first line."""
  lines = [line for line in err.splitlines() if line.strip()]
  told = out.splitlines()[-1:] or ['']
  if code == 0:
    right = told[0].startswith('parameters total=') or '--help' in arguments
  else:
    right = code == 2 and len(lines) == 1 and lines[0].startswith('trainer: ')
  right = right and 'Traceback' not in out + err and seconds <= SECONDS
  seen = told[0] if code == 0 else (lines or ['nothing said'])[-1]
  return outcome.Case(
    ' '.join(arguments[1 + len(_TINY) :])[:200], right, f'{seconds:.1f} s, exit code {code}: {seen}'[:300]
  )


def _Child(connection, arguments, folder, out, err):
  """Runs the trainer here with output into files, and says what processor time it took."""
  import sys

  for path, number in ((out, 1), (err, 2)):
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(opened, number)
  os.setsid()  # It is killed with what it starts.
  os.chdir(folder)
  from fm_lingvo import trainer

  started, code = time.process_time(), 1
  try:
    code = trainer.Main(['trainer', *arguments])
  except SystemExit as e:
    code = e.code
  except BaseException:
    import traceback

    traceback.print_exc()
  sys.stdout.flush()
  sys.stderr.flush()
  connection.send((code, time.process_time() - started))


def Forked(arguments, folder, limit=60):
  """Runs one command in a fork; returns its Case."""
  context = multiprocessing.get_context('forkserver')
  context.set_forkserver_preload(processes.PRELOADED)
  here, there = context.Pipe(duplex=False)
  out, err = os.path.join(folder, 'out'), os.path.join(folder, 'err')
  child = context.Process(target=_Child, args=(there, arguments, folder, out, err))
  child.start()
  there.close()
  code, seconds = 'hung', float(limit)
  if here.poll(limit):
    try:
      code, seconds = here.recv()
    except EOFError:  # It died before it could say.
      child.join()
      code, seconds = f'{child.exitcode} of the process', 0.0
  processes.KillGroup(child)
  texts = []
  for path in (out, err):
    with open(path, encoding='utf-8', errors='replace') as f:
      texts.append(f.read())
  return Judge(arguments, code, *texts, seconds)


def Run(folder, size):
  """Runs mutated commands; returns a Case for each."""
  rng = size.Random('gin')
  cases = [Forked(Mutant(rng), folder) for _ in range(size.Pick(size.count, 25))]
  for _ in range(size.Pick(10, 1)):
    arguments = Mutant(rng)
    started = os.times()
    done = processes.Run(['trainer', *arguments], folder, warm=False)
    ended = os.times()
    seconds = max(0.0, ended.children_user - started.children_user)
    cases.append(
      Judge(arguments, done.code, done.out, done.err, min(seconds, SECONDS) if seconds <= 2 * SECONDS else seconds)
    )
  return cases
