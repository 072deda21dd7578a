"""The folder of a run: its default name, and the table of parameters."""

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

Row = tuple[str, int, int]  # Component, parameters, those of them that are trained.


def NewRunDir(model_name: str, root: str = 'runs') -> str:
  """A folder under `root` that does not exist yet, named by model and time."""
  stamp = datetime.datetime.now().strftime('%Y%m%d-%H%M%S')
  base = os.path.join(root, f'{model_name.rpartition(".")[2]}-{stamp}')
  path, number = base, 1
  while os.path.exists(path):
    number += 1
    path = f'{base}-{number}'
  return path


def ParameterTable(params: Any) -> tuple[list[Row], int, int]:
  """Counts parameters by component, without allocating them.

  Args:
    params: Model Params.

  Returns:
    (rows, total, trained): rows is a list of (component, total, trained). The
    encoder's adapters and the parts of a head are components of their own;
    `constants` are the frozen variables that no experiment trains: quantizers and
    records. They count in the total.
  """
  task_p = params.task.Copy()
  task_p.input = None
  with tf.Graph().as_default(), cluster_factory.Cluster(params.cluster), py_utils.VariableCreatorScope(_Declared):
    return TaskParameterTable(task_p.Instantiate())


class _Declared:
  """In place of a variable, what a table needs to know of it: to make real ones takes twice as long."""

  def __init__(
    self, unused_next_creator: Any, var_name: str, shape: Any, dtype: Any, trainable: bool, **unused: Any
  ) -> None:
    self.op = types.SimpleNamespace(name=f'{var_name}/var')
    self.name = f'{self.op.name}:0'
    self.shape, self.dtype, self.trainable = tf.TensorShape(shape), tf.as_dtype(dtype), trainable


def _Placeholder(declared: _Declared, dtype: Any = None, name: str | None = None, as_ref: bool = False) -> tf.Tensor:
  """What is computed with a declared variable while layers are built, as its cast to bfloat16, is computed with."""
  del dtype, as_ref
  return tf.placeholder(declared.dtype, declared.shape, name)


tf.register_tensor_conversion_function(_Declared, _Placeholder)


def TaskParameterTable(task: Any) -> tuple[list[Row], int, int]:
  """As ParameterTable, of a built base_task.BaseTask."""
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
    counts['constants'] = counts.pop('constants')  # The last row.
  rows = [(name, total, trained) for name, (total, trained) in counts.items()]
  return rows, sum(r[1] for r in rows), sum(r[2] for r in rows)


def _Row(component: str, path: str) -> str:
  """Row of a variable: `encoder`, `encoder adapters NAME`, `heads.NAME PART`, ...

  Args:
    component: As BaseTask.Components.
    path: Dotted path of the variable in its component.
  """
  parts = path.split('.')
  if component == 'encoder' and parts[0] == 'adapters':
    return f'encoder adapters {parts[1]}'
  if component.startswith('heads.') and len(parts) > 1:
    return f'{component} {parts[0]}'
  return component


def FormatParameterTable(rows: Sequence[Row], total: int, trained: int) -> str:
  """Text of the table; its last line is `parameters total=<int> trained=<int>`."""
  width = max([24] + [len(name) + 1 for name, _, _ in rows])
  lines = [f'{"component":<{width}}{"parameters":>14}{"trained":>14}{"frozen":>14}']
  lines += [f'{name:<{width}}{size:>14,}{part:>14,}{size - part:>14,}' for name, size, part in rows]
  lines.append(f'parameters total={total} trained={trained}')
  return '\n'.join(lines)


def ParameterSummary(rows: Sequence[Row], total: int, trained: int) -> tf.Summary:
  """tf.Summary of the table, for TensorBoard's Text tab."""
  return tensorboard.Text('parameters', FormatParameterTable(rows, total, trained))


def WriteParameters(run_dir: str, rows: Sequence[Row], total: int, trained: int) -> None:
  """Writes RUN/parameters.json: {component: {"total": int, "trained": int}, ...}.

  The last key is `total`, the sum of all components.
  """
  counts = {name: {'total': size, 'trained': part} for name, size, part in [*rows, ('total', total, trained)]}
  WriteText(os.path.join(run_dir, 'parameters.json'), json.dumps(counts, indent=2) + '\n')


def WriteText(path: str, text: str) -> None:
  """Writes a text file, whole or not at all."""
  with tf.io.gfile.GFile(path + '.tmp', 'w') as f:
    f.write(text)
  tf.io.gfile.rename(path + '.tmp', path, overwrite=True)


def TokenizerPath(run_dir: str, name: str) -> str:
  """Where a run keeps its copy of the tokenizer `name` of BaseTask.TokenizersToKeep, of a hydra the head's."""
  return os.path.join(run_dir, f'tokenizer_{name}.model')


def CopyTokenizers(task: Any, run_dir: str) -> None:
  """Copies the tokenizers of a built task into the run's folder.

  So a run can be read without the folder that its tokenizers came from. The checkpoint
  holds their digests: another file in their place is refused.
  """
  for name, tokenizer in task.TokenizersToKeep().items():
    with tf.io.gfile.GFile(TokenizerPath(run_dir, name), 'wb') as f:
      f.write(tokenizer.model)
