"""Names that users choose for branches, streams, heads and adapters must not be those of our own metrics and layers."""

from collections.abc import Collection
from collections.abc import Mapping
from typing import Any

from fm_lingvo import errors

SKIPPED = 'skipped'
# Prefixes, before the first /, of the metrics of training itself, such as skipped/loss. The prefix of any other metric
# is the name of a branch or stream.
METRICS = (
  'branch',
  'grad_norm',
  'grad_norm_is_nan_or_inf',
  'grad_scale_all',
  'has_nan_or_inf',
  'l1_loss',
  'l2_loss',
  'learning_rate',
  'learning_rate_of',
  'loss',
  'lr_schedule',
  'num_samples_in_batch',
  SKIPPED,
  'throughput',
  'var_norm',
)


def IsSkipped(metrics: Mapping[str, Any]) -> bool:
  """Returns whether a training step was skipped, see training/nonfinite_steps.py.

  Args:
    metrics: Fetched metrics of the step: dict name -> (value, weight).
  """
  return any(name.partition('/')[0] == SKIPPED and value > 0 for name, (value, _) in metrics.items())


def Check(path: str, name: str, taken: Collection[str]) -> None:
  """Raises errors.ConfigError if the name of a branch, stream, head or set of adapters is taken.

  Args:
    path: Path of the Params with this name, such as 'task.branches'.
    name: The name.
    taken: Names that are ours.
  """
  if name in taken or name in dir(dict):  # Batches are NestedMaps, of which `items` and so on are methods.
    raise errors.ConfigError(f'{path}.{name}: this name is taken; expected another one, such as {name}_1')


def Add(target: dict[str, Any], added: Mapping[str, Any], what: str) -> None:
  """Adds metrics or tensors by name to others; raises errors.ConfigError if a name is already there.

  Args:
    target: Changed in place.
    added: What is added.
    what: Whose names they are, for the message.
  """
  for name, value in added.items():
    if name in target:
      raise errors.ConfigError(f'{what}: the name {name} is taken; expected another one')
    target[name] = value
