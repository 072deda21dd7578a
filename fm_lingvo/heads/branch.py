"""Branches of a task: which stream feeds which head, and how much its loss counts."""

from lingvo.core import hyperparams

from fm_lingvo import errors
from fm_lingvo.data import tokenizer as tokenizer_lib


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
  """Raises errors.ConfigError if a HydraTask's Params have no branch, or one without a head or with a weight < 0."""
  if not len(p.branches):
    raise errors.ConfigError(f'{p.name}.branches: expected at least one branch')
  heads = [name for name, _ in p.heads.IterParams()]
  for name, branch in p.branches.IterParams():
    if branch.head not in heads:
      raise errors.ConfigError(f'{p.name}.branches.{name}.head = {branch.head!r}: expected one of {", ".join(heads)}')
    if branch.weight < 0:
      raise errors.ConfigError(f'{p.name}.branches.{name}.weight = {branch.weight}: expected >= 0')


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
