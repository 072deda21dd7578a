"""The folder of a run: its default name, and the table of parameters."""

import datetime
import os

from lingvo import compat as tf
from lingvo.core import cluster_factory


def NewRunDir(model_name, root='runs'):
  """A folder under `root` that does not exist yet, named by model and time."""
  stamp = datetime.datetime.now().strftime('%Y%m%d-%H%M%S')
  base = os.path.join(root, f'{model_name.rpartition(".")[2]}-{stamp}')
  path, number = base, 1
  while os.path.exists(path):
    number += 1
    path = f'{base}-{number}'
  return path


def ParameterTable(params):
  """Counts parameters by component, without allocating them.

  Args:
    params: Model Params.

  Returns:
    (rows, total, trained): rows is a list of (component, total, trained).
  """
  task_p = params.task.Copy()
  task_p.input = None
  with tf.Graph().as_default(), cluster_factory.Cluster(params.cluster):
    return TaskParameterTable(task_p.Instantiate())


def TaskParameterTable(task):
  """As ParameterTable, of a built HydraTask."""
  trained_vars = set()
  for learner in task.learners:
    trained_vars.update(
        v.name for v in learner.GetTrainableVariables(task.vars).Flatten())
  rows = []
  for name, layer in task.Components().items():
    sizes = {v.name: v.shape.num_elements() for v in layer.vars.Flatten()}
    rows.append((name, sum(sizes.values()),
                 sum(n for v, n in sizes.items() if v in trained_vars)))
  return rows, sum(r[1] for r in rows), sum(r[2] for r in rows)


def FormatParameterTable(rows, total, trained):
  """Text of the table; its last line is `parameters total=<int> trained=<int>`."""
  lines = [f'{"component":<24}{"parameters":>14}{"trained":>14}']
  lines += [f'{name:<24}{size:>14,}{part:>14,}' for name, size, part in rows]
  lines.append(f'parameters total={total} trained={trained}')
  return '\n'.join(lines)
