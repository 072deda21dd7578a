"""Reads from a trained run's folder what recognition needs: params, checkpoint, head, tokenizer, adapters."""

import os

from lingvo import compat as tf
from lingvo import model_registry
from lingvo.core import hyperparams

from fm_lingvo import errors
from fm_lingvo.checkpoints import fingerprint
from fm_lingvo.checkpoints import reader
from fm_lingvo.checkpoints import run_checkpoints
from fm_lingvo.checkpoints import weights_file
from fm_lingvo.config import gin_config
from fm_lingvo.config import registry
from fm_lingvo.config import run_experiment
from fm_lingvo.data import spoken_language
from fm_lingvo.decoding import search_options
from fm_lingvo.inference import run as run_lib
from fm_lingvo.layers import adapter as adapter_lib
from fm_lingvo.run_files import run_dir
from fm_lingvo.utils import files
from fm_lingvo.utils import suggest


def Load(path, *, checkpoint=None, adapter=None, averages=True, how=search_options.Search(), language=None):
  """Reads a run's configuration and selects the checkpoint, the head and the adapters for recognition.

  Args:
    path: Folder of the run.
    checkpoint: See run_checkpoints.Find.
    adapter: Name of a set of adapters in the checkpoint, a folder with adapters that fm-export wrote, or
      adapter_lib.NO_ADAPTER; None: the run's active set.
    averages: Whether to use the moving averages of the weights (task.train.ema_decay), where there are any.
    how: The search_options.Search that overrides the run's own.
    language: Code of what the run transcribes, checked; None: that of its training data, if it is known.

  Returns:
    A run.Run.

  Raises:
    errors.ConfigError: There is no such run, checkpoint or adapter, or the run has no head that decodes.
  """
  model_name, params = ModelParams(path)
  checkpoint = run_checkpoints.Find(path, checkpoint)
  task = params.task.Copy().Set(input=None)
  head, stream = _KeepDecodingBranch(task, f'{path}: {model_name}')
  found = task.heads.Get(head)
  how.ApplyTo(found, head)
  _UseOwnTokenizer(found, path, head)
  adapter_file = weights_file.AdapterIn(adapter)
  if adapter_file is not None:
    adapter = fingerprint.CheckBase(checkpoint, adapter_file, averages)
  adapter = _ChooseAdapter(task, adapter, reader.Checkpoint(checkpoint, averages, adapter_file))
  return run_lib.Run(
    path=path,
    model_name=model_name,
    checkpoint=checkpoint,
    params=task,
    cluster=params.cluster,
    head=head,
    stream=stream,
    beam_size=found.beam_size if 'beam_size' in found else 1,
    adapter=adapter,
    averages=averages,
    max_seconds=float(params.input.streams.Get(stream).bucket_upper_bound_seconds[-1]),
    adapter_file=adapter_file,
    language=language or spoken_language.Recorded(path, stream),
  )


def ModelParams(path, dataset='Train', data_dir=None):
  """Builds the model Params that a run's config.gin configures.

  Args:
    path: Folder of the run.
    dataset: Name of one of the experiment's data sets.
    data_dir: Value of the experiment's knob data_dir; None: that of the run.

  Returns:
    (name of the experiment, its model Params with that data set's input).

  Raises:
    errors.ConfigError: There is no such run or data set, or the run needs a module that is not imported
      (--import_module).
  """
  config = os.path.join(path, 'config.gin')
  if not tf.io.gfile.exists(config):
    hint = files.HintBeside(path)
    raise errors.ConfigError(f'{path}: no config.gin in it; expected the folder of a run of the trainer{hint}')
  model_name = run_experiment.NameIn([config])
  if not model_name:
    raise errors.ConfigError(f'{config}: no experiment.name in it; expected a file that a run wrote')
  bindings = [] if data_dir is None else [f'{model_name.rpartition(".")[2]}.data_dir = {data_dir!r}']
  gin_config.Configure(model_name, [config], bindings)
  try:
    suggest.CheckChoice(f'{path}: {model_name}: data set', dataset, registry.DatasetNames(model_name))
    return model_name, model_registry.GetParams(model_name, dataset)
  finally:
    gin_config.Reset()


def _KeepDecodingBranch(task, where):
  """Removes all branches but the first whose head decodes; returns the names (head, stream) of that branch."""
  if 'branches' not in task:
    raise errors.ConfigError(f'{where} recognises no speech; expected a run with a transducer or a CTC head')
  for name, branch in task.branches.IterParams():  # noqa: B007 `name` is used after the loop.
    head = task.heads.Get(branch.head)
    if branch.decode and head.cls.Decodes():
      break
  else:
    heads = ', '.join(name for name, _ in task.heads.IterParams())
    raise errors.ConfigError(
      f'{where} has no head that decodes (heads: {heads}); expected a run with a transducer or a CTC head'
    )
  kept = branch.Copy().Set(weight=1.0, weight_schedule=None)
  task.heads, task.branches = hyperparams.Params(), hyperparams.Params()
  task.heads.Define(kept.head, head.Copy(), 'The head that decodes.')
  task.branches.Define(name, kept, 'Its branch.')
  return kept.head, kept.stream


def SetSearch(path, params, how):
  """Sets the search of all heads that decode, and uses the tokenizers in the run's folder.

  Args:
    path: Folder of the run.
    params: Model Params, changed in place.
    how: The search_options.Search.

  Raises:
    errors.ConfigError: A head does not support the search, or a search is given and no head decodes.
  """
  params.task.cls.UseKeptTokenizers(params, lambda name: run_dir.TokenizerPath(path, name))
  branches = [branch for _, branch in params.task.branches.IterParams()] if 'branches' in params.task else []
  decoded = {branch.head for branch in branches if branch.decode and params.task.heads.Get(branch.head).cls.Decodes()}
  if not decoded and how != search_options.Search():
    raise errors.ConfigError(f'{path}: no head has labels: expected neither a beam nor a language model')
  heads = params.task.heads.IterParams() if 'heads' in params.task else ()
  for name, head in heads:
    if name in decoded:
      how.ApplyTo(head, name)
    if 'tokenizer_file' not in head:
      continue
    _UseOwnTokenizer(head, path, name)
    for branch in branches:
      if branch.head == name and branch.stream in params.input.streams:
        params.input.streams.Get(branch.stream).tokenizer_file = head.tokenizer_file


def _UseOwnTokenizer(head, path, name):
  """Sets the tokenizer of the head `name` to the copy in the run's folder, if there is one.

  The run was trained with it; the file that the configuration names may have moved or changed since.
  """
  copy = run_dir.TokenizerPath(path, name)
  if 'tokenizer_file' in head and tf.io.gfile.exists(copy):
    head.tokenizer_file = copy


def _ChooseAdapter(task, adapter, checkpoint):
  """Makes `adapter` the only set of adapters of a reader.Checkpoint (None: the run's active one); returns its name."""
  encoder = task.encoder
  if adapter is None:
    adapter = encoder.cls.ActiveAdapter(encoder) or adapter_lib.NO_ADAPTER
  if adapter == adapter_lib.NO_ADAPTER:
    encoder.cls.UseAdapter(encoder, None)
    return adapter
  shapes = {name: shape for name, (_, shape) in checkpoint.weights.items()}
  found = adapter_lib.Saved(shapes, f'{task.name}/encoder')
  if adapter not in found:
    expected = ', '.join([*sorted(found), adapter_lib.NO_ADAPTER])
    raise errors.ConfigError(
      f'{checkpoint.prefix}: no adapters called {adapter!r}; expected one of {expected}'
      + suggest.DidYouMean(suggest.Nearest(adapter, [*found, adapter_lib.NO_ADAPTER]))
    )
  # Injected adapters may differ in position and width from the run's own.
  encoder.cls.UseAdapter(encoder, adapter, **found[adapter])
  return adapter
