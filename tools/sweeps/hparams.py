"""Tells TensorBoard's tab HParams what a sweep searches, so that it shows these columns and the metric alone."""

import os
from collections.abc import Mapping

from fm_lingvo import errors

from . import space as space_lib


def Write(logdir: str, space: Mapping[str, space_lib.Dimension], dataset: str, metric: str) -> None:
  """Writes an event file with the searched values and the metric into a sweep's folder, unless there is one.

  Args:
    logdir: Of the sweep.
    space: Name -> dimension.
    dataset: Data set of the evaluations.
    metric: Name of the value.

  Raises:
    errors.RunError: The file cannot be written.
  """
  from tensorboard.compat.proto import event_pb2
  from tensorboard.plugins.hparams import summary_v2 as hp
  from tensorboard.summary.writer import event_file_writer

  if os.path.isdir(logdir) and any('.tfevents.' in name for name in os.listdir(logdir)):
    return

  def _Domain(dimension):
    if dimension.kind == 'choice':
      texts = any(isinstance(value, str) or value is None for value in dimension.values)
      return hp.Discrete([str(value) if texts else value for value in dimension.values], dtype=str if texts else None)
    low, high = dimension.values
    return hp.IntInterval(low, high) if dimension.kind.endswith('int') else hp.RealInterval(float(low), float(high))

  proto = hp.hparams_config_pb(
    hparams=[hp.HParam(name, _Domain(dimension)) for name, dimension in space.items()],
    metrics=[hp.Metric(metric, group=f'eval_{dataset.lower()}', display_name=f'{dataset}/{metric}')],
  )
  with errors.Writing(logdir):
    writer = event_file_writer.EventFileWriter(logdir)
    writer.add_event(event_pb2.Event(summary=proto))
    writer.close()
