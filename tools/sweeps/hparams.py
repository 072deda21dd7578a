"""Tells TensorBoard's tab HParams what a sweep searches, so that it shows these columns and the metric alone."""

import os
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from fm_lingvo import errors

from . import space as space_lib


def Config(space: Mapping[str, space_lib.Dimension], dataset: str, metric: str) -> Any:
  """Returns what Write writes, a summary with the searched values and the metric.

  Args:
    space: Name -> dimension.
    dataset: Data set of the evaluations.
    metric: Name of the value.
  """
  from tensorboard.plugins.hparams import summary_v2 as hp

  def _Domain(dimension):
    if dimension.kind == 'choice':
      return hp.Discrete(_OfOneType(dimension.values))
    low, high = dimension.values
    return hp.IntInterval(low, high) if dimension.kind.endswith('int') else hp.RealInterval(float(low), float(high))

  return hp.hparams_config_pb(
    hparams=[hp.HParam(name, _Domain(dimension)) for name, dimension in space.items()],
    metrics=[hp.Metric(metric, group=f'eval_{dataset.lower()}', display_name=f'{dataset}/{metric}')],
  )


def _OfOneType(values: Sequence[Any]) -> list[Any]:
  """Choices as TensorBoard takes them, all of one type: numbers of two types become float, other mixtures text."""
  types = {type(value) for value in values}
  if types == {int, float}:
    return [float(value) for value in values]
  return list(values) if len(types) == 1 and types <= {bool, int, float} else [str(value) for value in values]


def Write(logdir: str, config: Any) -> None:
  """Writes an event file with what Config returned into a sweep's folder, unless there is one.

  Args:
    logdir: Of the sweep.
    config: See Config.

  Raises:
    errors.RunError: The file cannot be written.
  """
  from tensorboard.compat.proto import event_pb2
  from tensorboard.summary.writer import event_file_writer

  if os.path.isdir(logdir) and any('.tfevents.' in name for name in os.listdir(logdir)):
    return
  with errors.Writing(logdir):
    writer = event_file_writer.EventFileWriter(logdir)
    writer.add_event(event_pb2.Event(summary=config))
    writer.close()
