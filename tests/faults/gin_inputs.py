"""Mutated Gin files, bindings and command lines: each either runs --dry_run or ends with exit code 2 and one line.

Most processes are forks of one that has imported TensorFlow, for start-up would take most of the time; a sample starts
as a command does.
"""

import re
import string

from tests.faults import processes
from tests.faults import suite as suite_lib

SECONDS = 10  # Of processor time for each command, without its start-up.


def _Bindings(text):
  return [binding.replace('=', ' = ', 1) for binding in text.split()]


_TINY = _Bindings("""
  BestRqPretrain.data_dir='data/demo' BestRqPretrain.codebook_size=16 task.encoder.num_layers=1
  task.encoder.model_dim=16 task.encoder.num_heads=2 task.encoder.kernel_size=5""")
# Valid bindings, of which mutants are made.
SEEDS = [
  *_TINY,
  *_Bindings("""
  BestRqPretrain.num_codebooks=2 BestRqPretrain.size='tiny' BestRqPretrain.data_dir='data/x'
  BestRqPretrain.unlabeled=('a','b') BestRqPretrain.batch_seconds=8.0 BestRqPretrain.projection='pca'
  BestRqPretrain.max_steps=10 BestRqPretrain.mask_start_prob=0.1 BestRqPretrain.compute_dtype='bfloat16'
  task.train.eval_datasets=['DevHuman'] task.train.max_minutes=1 task.train.learner.learning_rate=0.1
  input.streams.unlabeled.shuffle_buffer_size=10 DevHuman/input.streams.unlabeled.domain_regex='a|b'
  input.streams.unlabeled.bucket_upper_bound_seconds=[1.0,2.0] task.frontend.mel.num_bins=40
  task.encoder.conv_norm="group_norm" task.heads.best_rq.masker.mask_span_ms=200.0
  task.heads.best_rq.quantizer.codebook_dim=8 task.branches.unlabeled.weight=2.0 task.encoder.atten_left_context=8
  model.cluster.split_id=0 schedule.train_executions_per_eval=1 task.frontend.normalization='none'
  task.random_seed=3"""),
  "include 'params/gin/small.gin'",
  'STEPS = 5\nBestRqPretrain.max_steps = %STEPS',
]
_VALUES = r"""
  0 -1 1 2 3 7 1e9 10**9 1e400 -0.0 nan inf None True 'x' '' () [] {} [1,2] ['x'] [None] ((1,),) {"a":1} %NOT_THERE @f
  @f() %gin.REQUIRED 2147483648 1000000 0.5 '..' '/' 'a'*9 lambda:1 b"x" 0x10 1_000 1j '\x00' 'é'""".split()
_VALUES.append('"""a\nb"""')
# Pattern of a value -> others of its type, which are refused later than those of a wrong type.
_SAME_TYPE = {
  r'-?\d+$': ['0', '-1', '1', '3', '7', '64', '2147483648', '1000000000000'],
  r'-?\d+\.\d+$': ['0.0', '-1.0', '1e-30', '1e30', '0.5', '1.0'],
  r'[\'"]': ["''", "'x'", "'../..'", "'é'", "'('"],
}
_NAMES = ['', 'x', 'task', 'encoder', 'params', 'cls', '__class__', 'name', 'dtype']
_FLAGS = """
  --gin_file= --gin_file=/ --gin_file=no.gin --gin_search_paths=/no --model= --model=asr --model=asr.X --model=a.b.c
  --gin. --gin.= --gin.x --gin.task=1 --gin_bindings --gin_bindings= --gin_bindings== --gin_bindings=% --logdir --mode=x
  --job=x --run_locally=x --verbosity=x --dry_run=x --no_such_flag -x -- word --= --model=../../etc
  --model_params_override=x --flagfile=/no --flagfile=/etc/passwd --gin_file=/dev/zero --gin_file=/dev/null
  --enable_asserts=x --worker_gpus=-1 --tf_master=x""".split()
_FLAGS += ['--gin_bindings=\0', '--gin_bindings=' + '(' * 300, '--gin_bindings=' + 'a' * 5000 + ' = 1']


def Mutant(rng):
  """A random list of arguments of the trainer, made from valid ones."""
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
      parts[rng.randrange(len(parts))] = rng.choice(_NAMES)
      text = f'{".".join(parts)} = {value}'
    elif kind == 5:  # The value of another binding.
      text = f'{name} = {rng.choice(SEEDS).partition(" = ")[2]}'
    elif kind == 6:
      text = text[: rng.randrange(len(text))]
    elif kind == 7:
      values = next((values for pattern, values in _SAME_TYPE.items() if re.match(pattern, value)), _VALUES)
      text = f'{name} = {rng.choice(values)}'
    else:
      arguments.append(rng.choice(_FLAGS))
    bindings[i] = text
  arguments += [f'--gin.{b.replace(" = ", "=", 1)}' if rng.random() < 0.2 else f'--gin_bindings={b}' for b in bindings]
  rng.shuffle(arguments)
  model = [] if rng.random() < 0.03 else ['--model=asr.BestRqPretrain']
  # --dry_run is first: a flag that lacks its value would take it for that, and the command would train.
  return ['--dry_run', *model, *(f'--gin_bindings={b}' for b in _TINY), *arguments]


def Judge(arguments, done, seconds=SECONDS):
  """Case of a command that ended as `done` says, and may take so many seconds of processor time."""
  lines = [line for line in done.err.splitlines() if line.strip()]
  last = (done.out.splitlines() or [''])[-1]
  if done.code == 0:
    right = last.startswith('parameters total=') or '--help' in arguments
  else:
    right = done.code == 2 and len(lines) == 1 and lines[0].startswith('trainer: ')
    last = (lines or ['no message'])[-1]
  return suite_lib.Case(
    ' '.join(arguments[1 + len(_TINY) :])[:200],
    right and done.is_clean and done.cpu_seconds <= seconds,
    f'{done.cpu_seconds:.1f} s, exit code {done.code}{", hung" if done.hung else ""}: {last}'[:300],
  )


def Run(suite):
  """Runs mutated commands; yields a Case for each."""
  rng = suite.Random('gin')
  for _ in range(suite.Pick(suite.count, 25)):
    arguments = Mutant(rng)
    yield Judge(arguments, processes.Run(['trainer', *arguments], suite.folder, seconds=60))
  for _ in range(suite.Pick(10, 1)):
    arguments = [argument.replace('\0', '') for argument in Mutant(rng)]  # No command line has a NUL.
    yield Judge(arguments, processes.Command('fm_lingvo.trainer', arguments, suite.folder), 2 * SECONDS)
