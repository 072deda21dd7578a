"""The folder of a run: its default name, the parameter table, and copies of the tokenizers."""

import collections
import datetime
import json
import os
import types
from collections.abc import Sequence
from typing import Any

from lingvo import compat as tf
from lingvo.core import cluster_factory
from lingvo.core import py_utils

from fm_lingvo.run_files import tensorboard

Row = tuple[str, int, int]  # (component, parameters, trained parameters).


ROOT = 'runs'  # Folder of runs without a --logdir.


def NewRunDir(model_name: str, root: str = ROOT) -> str:
  """Returns the path of a new folder under `root`, named after the model and the time."""
  stamp = datetime.datetime.now().strftime('%Y%m%d-%H%M%S')
  base = os.path.join(root, f'{model_name.rpartition(".")[2]}-{stamp}')
  path, number = base, 1
  while os.path.exists(path):
    number += 1
    path = f'{base}-{number}'
  return path


def DeclaredTask(params: Any) -> Any:
  """Returns the task of model Params without an input, built without allocating its variables.

  Its variables are declarations: name, shape, dtype and whether they can be trained.
  """
  task_p = params.task.Copy()
  task_p.input = None
  with (
    tf.Graph().as_default(),
    cluster_factory.Cluster(params.cluster),
    py_utils.VariableCreatorScope(_DeclaredVariable),
  ):
    return task_p.Instantiate()


class _DeclaredVariable:
  """Stands in for a variable with its name, shape and dtype only; creating real variables takes twice as long."""

  def __init__(
    self, unused_next_creator: Any, var_name: str, shape: Any, dtype: Any, trainable: bool, **unused: Any
  ) -> None:
    self.op = types.SimpleNamespace(name=f'{var_name}/var')
    self.name = f'{self.op.name}:0'
    self.shape, self.dtype, self.trainable = tf.TensorShape(shape), tf.as_dtype(dtype), trainable


def _Placeholder(
  declared: _DeclaredVariable, dtype: Any = None, name: str | None = None, as_ref: bool = False
) -> tf.Tensor:
  """Converts a declared variable to a placeholder, for operations at build time such as a cast to bfloat16."""
  del dtype, as_ref
  return tf.placeholder(declared.dtype, declared.shape, name)


tf.register_tensor_conversion_function(_DeclaredVariable, _Placeholder)


def TaskParameterTable(task: Any) -> tuple[list[Row], int, int]:
  """Counts parameters by component.

  Args:
    task: An instantiated base_task.BaseTask, such as DeclaredTask returns.

  Returns:
    (rows, total, trained): rows is a list of (component, total, trained). The
    encoder's adapters and the parts of a head are separate components. `constants`
    are the variables that no experiment trains, such as those of quantizers; they
    are included in the total.
  """
  trained_vars: set[str] = set()
  for learner in task.learners:
    trained_vars.update(v.name for v in learner.GetTrainableVariables(task.vars).Flatten())
  counts: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
  for component, layer in task.Components().items():
    for path, v in sorted(layer.vars.FlattenItems(), key=lambda item: _Row(component, item[0])):
      row = counts[_Row(component, path) if v.trainable else 'constants']
      size = v.shape.num_elements()
      row[0] += size
      row[1] += size if v.name in trained_vars else 0
  if 'constants' in counts:
    counts['constants'] = counts.pop('constants')  # Moves it to the last row.
  rows = [(name, total, trained) for name, (total, trained) in counts.items()]
  return rows, sum(r[1] for r in rows), sum(r[2] for r in rows)


def _Row(component: str, path: str) -> str:
  """Returns the row of a variable: `encoder`, `encoder adapters NAME`, `heads.NAME PART`, ...

  Args:
    component: Name of the component in BaseTask.Components.
    path: Dotted path of the variable within its component.
  """
  parts = path.split('.')
  if component == 'encoder' and parts[0] == 'adapters':
    return f'encoder adapters {parts[1]}'
  if component.startswith('heads.') and len(parts) > 1:
    return f'{component} {parts[0]}'
  return component


def FormatParameterTable(rows: Sequence[Row], total: int, trained: int) -> str:
  """Formats the table as text; the last line is `parameters total=<int> trained=<int>`."""
  width = max([24] + [len(name) + 1 for name, _, _ in rows])
  lines = [f'{"component":<{width}}{"parameters":>14}{"trained":>14}{"frozen":>14}']
  lines += [f'{name:<{width}}{size:>14,}{part:>14,}{size - part:>14,}' for name, size, part in rows]
  lines.append(f'parameters total={total} trained={trained}')
  return '\n'.join(lines)


def ParameterSummary(rows: Sequence[Row], total: int, trained: int) -> tf.Summary:
  """Returns a tf.Summary of the table for TensorBoard's Text tab."""
  return tensorboard.Text('parameters', FormatParameterTable(rows, total, trained))


def WriteParameters(run_dir: str, rows: Sequence[Row], total: int, trained: int) -> None:
  """Writes RUN/parameters.json: {component: {"total": int, "trained": int}, ...}.

  The last key is `total`, the sum of all components.
  """
  counts = {name: {'total': size, 'trained': part} for name, size, part in [*rows, ('total', total, trained)]}
  WriteText(os.path.join(run_dir, 'parameters.json'), json.dumps(counts, indent=2) + '\n')


def WriteText(path: str, text: str) -> None:
  """Writes a text file atomically."""
  with tf.io.gfile.GFile(path + '.tmp', 'w') as f:
    f.write(text)
  tf.io.gfile.rename(path + '.tmp', path, overwrite=True)


def TokenizerPath(run_dir: str, name: str) -> str:
  """Returns the path of the run's copy of a tokenizer of BaseTask.TokenizersToKeep, in a hydra named after its head."""
  return os.path.join(run_dir, f'tokenizer_{name}.model')


def CopyTokenizers(task: Any, run_dir: str) -> None:
  """Copies the tokenizers of an instantiated task into the run's folder.

  The run can then be loaded without the original files. The checkpoint contains their
  digests, so that a different file is rejected.
  """
  for name, tokenizer in task.TokenizersToKeep().items():
    with tf.io.gfile.GFile(TokenizerPath(run_dir, name), 'wb') as f:
      f.write(tokenizer.model)
