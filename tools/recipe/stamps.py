"""The stamp of a stage: a digest of what its run is trained and evaluated with.

These are the params that Gin resolves (of the task, of its training data and of the data sets that are evaluated at
the end), the contents of the data sets and files that they name, and the stamp of the stage that it starts from.
Folders, names of Python modules and code are no part of it.
"""

import dataclasses
import glob
import hashlib
import json
import os
import re

from fm_lingvo import errors
from fm_lingvo.config import gin_config
from fm_lingvo.config import params_diff
from fm_lingvo.config import registry
from fm_lingvo.data import dataset

from ..common import this_machine
from .stage_spec import PSEUDO
from .stage_spec import Settings
from .stage_spec import Stage

# Params of task.train by which a run chooses its best checkpoint; they count only if it does.
_BEST = frozenset(
  f'task.train.{name}'
  for name in (
    'best_metric',
    'best_is_highest',
    'early_stop_patience',
    'early_stop_min_steps',
    'eval_interval_steps',
  )
)
# Params of task.train that change neither the weights nor what they recognise.
_NO_INPUTS = frozenset(
  f'task.train.{name}'
  for name in (
    'best_max_to_keep',
    'eval_datasets',
    'final_eval_datasets',
    'log_interval_steps',
    'summary_interval_steps',
    'save_interval_steps',
    'save_max_to_keep',
    'async_checkpointing',
  )
)
_DATA, _START = 'DATA', 'START'  # Stand for the folders of the data sets and of the run that a stage starts from.


class Stamps:
  """Inputs and stamps of stages, each computed when it is first asked for; 0.2 s a stage."""

  def __init__(self, settings: Settings, stages: dict[str, Stage]):
    """stages: resolved, by the names of their runs, with all that they start from."""
    self._data_dir, self._stages = settings.data_dir, stages
    self._inputs, self._digests = {}, {}

  def Inputs(self, run: str) -> dict[str, str]:
    """What a stage depends on: name of a param, a file, a data set or a stage -> its value or digest.

    Raises:
      errors.ConfigError: the params are wrong, or a data set is not there.
    """
    if run not in self._inputs:
      stage = self._stages[run]
      folders = {'init_from': _START} if stage.start else {}
      if stage.teacher:  # Its transcripts follow from the stage and the data set.
        folders['pseudo'] = PSEUDO
      bindings = stage.GinBindings(data_dir=_DATA, **folders)
      inputs = dict(Resolved(stage.model, tuple(f'{name} = {value!r}' for name, value in bindings.items())))
      values = ' '.join(inputs.values())
      for name in sorted({*re.findall(rf'\b{_DATA}/([^/\']+)/', values)} - ({PSEUDO} if stage.teacher else set())):
        for folder in sorted(glob.glob(os.path.join(self._data_dir, name))) or [os.path.join(self._data_dir, name)]:
          inputs[f'data {os.path.basename(folder)}'] = self._DataDigest(folder)
      for path in sorted({path for value in inputs.values() for path in re.findall(r"'([^']*)'", value)}):
        for found in (path, os.path.join(path, 'model.safetensors')):  # A file, or the folder of an exported model.
          if os.path.isfile(os.path.join(this_machine.ROOT, found)):
            inputs[f'file {found}'] = _FileDigest(os.path.join(this_machine.ROOT, found))
      for before in stage.needs:
        inputs[f'stage {before}'] = self.Stamp(before)
      self._inputs[run] = inputs
    return self._inputs[run]

  def Stamp(self, run: str) -> str:
    """Digest of a stage's inputs."""
    return _Digest(json.dumps(self.Inputs(run), sort_keys=True).encode())

  def _DataDigest(self, folder):
    """Digest of a data set's shards and manifest; how it was prepared is no input of its own."""
    if folder not in self._digests:
      try:
        shards = dataset.ReadDataset(folder).shards
      except dataset.DatasetError as e:
        raise errors.ConfigError(str(e)) from e
      shown = {split: [dataclasses.astuple(shard) for shard in found] for split, found in shards.items()}
      manifest = _FileDigest(os.path.join(folder, 'manifest.jsonl'))
      self._digests[folder] = _Digest(json.dumps([shown, manifest]).encode())
    return self._digests[folder]


def Resolved(model: str, bindings: tuple[str, ...]) -> dict[str, str]:
  """Path -> text of all params of an experiment that count, with bindings; no graph is built.

  Raises:
    gin_config.GinError: a binding is wrong.
  """
  gin_config.Configure(model, (), bindings)
  try:
    experiment = registry.ModelClass(model)()
    task = experiment.Task()
    trees = {'task': task}
    for name in ('Train', *task.train.final_eval_datasets):
      trees[name] = experiment.GetDatasetParams(name)
  finally:
    gin_config.Reset()
  params = {
    f'{root}.{path}': re.sub(r'\btype/[\w.]+/', '', value)
    for root, tree in trees.items()
    for path, value in params_diff.Params(tree.ToText()).items()
  }
  ignored = _NO_INPUTS if task.train.best_metric is not None else _NO_INPUTS | _BEST
  return {path: value for path, value in params.items() if path not in ignored}


def _FileDigest(path):
  with open(path, 'rb') as f:
    return _Digest(f.read())


def _Digest(data):
  return hashlib.sha256(data).hexdigest()[:12]
