"""Branches of a task: which stream feeds which head, and how much its loss counts."""

from collections.abc import Collection

from lingvo import compat as tf
from lingvo.core import hyperparams
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.data import tokenizer as tokenizer_lib
from fm_lingvo.utils import audio
from fm_lingvo.utils import own_names
from fm_lingvo.utils import suggest

_LETTERS_A_SECOND = 15  # In read English, spaces included; about half of the utterances have more.

# Layers of a HydraTask other than its heads.
_LAYERS = ('encoder', 'frontend', 'input', 'learners', 'ema_schedule')


def BranchParams(stream: str, head: str, weight: float = 1.0, decode: bool = True) -> hyperparams.Params:
  """Params of one branch: which stream feeds which head, how much its loss counts, whether it is decoded."""
  p = hyperparams.Params()
  p.Define('stream', stream, 'Name of the input stream that feeds this branch.')
  p.Define('head', head, 'Name of the head, in task.heads, that it trains.')
  p.Define('weight', weight, "Factor, >= 0, of the branch's loss in the sum.")
  p.Define('decode', decode, 'Whether evaluation and inference decode this branch, if its head can.')
  p.Define(
    'weight_schedule',
    None,
    'Params of a Lingvo schedule (lingvo/core/schedule.py) whose value at each '
    'step multiplies the weight; None: constant.',
  )
  return p


def CheckAll(p: hyperparams.Params) -> None:
  """Raises errors.ConfigError if branches and heads of a HydraTask's Params cannot be used.

  There is no branch, or one without a head or with a weight < 0, or a name is taken.
  """
  if not len(p.branches):
    raise errors.ConfigError(f'{p.name}.branches: expected at least one branch')
  if p.encode_together not in (None, True, False):
    raise errors.ConfigError(f'{p.name}.encode_together = {p.encode_together!r}: expected None, True or False')
  heads = [name for name, _ in p.heads.IterParams()]
  schedules = [f'{name}_weight' for name, branch in p.branches.IterParams() if branch.weight_schedule is not None]
  for name in heads:
    own_names.Check(f'{p.name}.heads', name, (*_LAYERS, *schedules))
  for name in p.encoder.adapters if 'adapters' in p.encoder else ():
    own_names.Check(f'{p.name}.encoder.adapters', name, heads)  # Patterns of variables, such as /ctc/, would find both.
  for name, branch in p.branches.IterParams():
    own_names.Check(f'{p.name}.branches', name, own_names.METRICS)
    if branch.head not in heads:
      raise errors.ConfigError(f'{p.name}.branches.{name}.head = {branch.head!r}: expected one of {", ".join(heads)}')
    if branch.weight < 0:
      raise errors.ConfigError(f'{p.name}.branches.{name}.weight = {branch.weight}: expected >= 0')


def CheckMetric(p: hyperparams.Params, metric: str) -> None:
  """Raises errors.ConfigError if a metric of evaluations, such as labeled/wer, is of none of a HydraTask's branches.

  Args:
    p: Params of the task.
    metric: The metric in task.train.best_metric.
  """
  owner, slash, _ = metric.partition('/')
  owners = sorted({owner for name, branch in p.branches.IterParams() for owner in (name, branch.stream)})
  if slash:
    suggest.CheckChoice(f'{p.name}.train.best_metric: branch or stream', owner, owners)


def FewFrames(p: hyperparams.Params) -> list[str]:
  """A line for each head of a HydraTask's Params whose encoded frames are too few for letters as labels."""
  frames = 1000 / audio.FRAME_STEP_MS / p.encoder.cls.DownsampleFactor(p.encoder)  # In a second.
  lines = []
  for name in sorted({branch.head for _, branch in p.branches.IterParams()}):
    head = p.heads.Get(name)
    most = frames * head.cls.most_labels_per_frame
    if most < _LETTERS_A_SECOND and tokenizer_lib.Tokenizer(head.tokenizer_file).spells_letters:
      lines.append(
        f'{p.name}.heads.{name}: its loss leaves out speech with more than {most:g} labels a second, the metric '
        f'unalignable; {head.tokenizer_file} makes one of each letter, about {_LETTERS_A_SECOND} a second; expected '
        'pieces of words (fm-train-tokenizer), shorter frames or no such head'
      )
  return lines


def Idle(p: hyperparams.Params) -> dict[str, str]:
  """The params of heads and branches of a HydraTask's Params that have no effect; see config/idle.py."""
  branches = dict(p.branches.IterParams())
  used = {branch.head for branch in branches.values()}
  idle = {
    f'heads.{name}': f'without a branch with head = {name!r}' for name, _ in p.heads.IterParams() if name not in used
  }
  for name, branch in branches.items():
    if branch.head in p.heads and not p.heads.Get(branch.head).cls.Decodes():
      idle[f'branches.{name}.decode'] = 'with a head that does not decode'
  if len(branches) < 2:
    idle['train.gradient_share_interval_steps'] = 'with one branch'
  return idle


def CheckTokenizer(p: hyperparams.Params, name: str, tokenizer: tokenizer_lib.Tokenizer | None, decodes: bool) -> None:
  """Raises errors.ConfigError if a branch lacks a tokenizer, or its stream has labels of another one than its head.

  Args:
    p: Params of a HydraTask.
    name: Of the branch.
    tokenizer: Of its head; None: it has no labels.
    decodes: Whether the branch is decoded.
  """
  branch, streams = p.branches.Get(name), getattr(p.input, 'streams', None)
  if decodes and tokenizer is None:
    raise errors.ConfigError(f'{p.name}.heads.{branch.head}: has Decode, but no tokenizer; expected both or neither')
  if tokenizer is None or streams is None or branch.stream not in streams:
    return
  found = streams.Get(branch.stream).tokenizer_file
  if found != tokenizer.path and (not found or tokenizer_lib.Tokenizer(found).sha256 != tokenizer.sha256):
    raise errors.ConfigError(
      f'{p.name}.branches.{name}: stream {branch.stream} has tokenizer_file = {found!r}, '
      f'but head {branch.head} has {tokenizer.path!r}; expected the same model'
    )


def ForStreams(p: hyperparams.Params, streams: Collection[str], partial: bool) -> list[tuple[str, hyperparams.Params]]:
  """The (name, Params) of the branches that these streams feed.

  Args:
    p: Params of a HydraTask.
    streams: Names of the input's streams.
    partial: Whether branches of other streams may be left out, as in evaluation.

  Raises:
    errors.ConfigError: There is none, or, unless `partial`, a branch has another stream.
  """
  every = list(p.branches.IterParams())
  found = [(name, branch) for name, branch in every if branch.stream in streams]
  if len(found) < (1 if partial else len(every)):
    raise errors.ConfigError(
      f'{p.name}.branches: the input has the streams {", ".join(sorted(streams))}; expected '
      f'{", ".join(sorted({branch.stream for _, branch in every}))}'
    )
  return found


def SummaryTensors(view: py_utils.NestedMap) -> dict[str, tf.Tensor]:
  """The tensors of a branch's view, see HydraTask.ComputePredictions, that TensorBoard shows of the first utterance."""
  return {
    'features': view.clean.features[:1],  # [1, T, F]
    'masked_features': view.corrupted.features[:1],  # [1, T, F]
    'paddings': view.clean.paddings[:1],  # [1, T]
  }


def GradientShares(losses, variables):
  """Measures each branch's part in the gradient of variables that all branches use.

  Args:
    losses: dict: branch name -> its loss times its weight.
    variables: List of the shared variables.

  Returns:
    dict: name of a metric -> (scalar, weight); see hydra.HydraTask.GradientShares.
  """
  squares = {}
  for name, loss in losses.items():
    gradients = [g for g in tf.gradients(loss, variables) if g is not None]
    squares[name] = py_utils.SumSquared(gradients) if gradients else tf.zeros([])
  total = tf.maximum(tf.add_n(list(squares.values())), 1e-30)
  one = tf.constant(1.0)
  found = {f'branch/{name}_encoder_grad_share': (square / total, one) for name, square in squares.items()}
  found.update({f'branch/{name}_encoder_grad_norm': (tf.sqrt(square), one) for name, square in squares.items()})
  return found
