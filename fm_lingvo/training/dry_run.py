"""--dry_run: all that a run checks before its first step, without building its graph and without writing a file.

The model is built of declared variables (run_dir.DeclaredTask), which takes seconds at the paper's size, too. Of each
data set, records are read up to the first that can be used.
"""

import os

from lingvo import compat as tf
from lingvo import model_registry
from lingvo.core import cluster_factory

from fm_lingvo.checkpoints import checkpointer
from fm_lingvo.checkpoints import reader
from fm_lingvo.checkpoints import run_checkpoints
from fm_lingvo.checkpoints import training_state
from fm_lingvo.checkpoints import warm_start
from fm_lingvo.config import gin_config
from fm_lingvo.config import train_params
from fm_lingvo.data import example_filter
from fm_lingvo.data import hydra_input
from fm_lingvo.data import shard_integrity
from fm_lingvo.data import spoken_language
from fm_lingvo.run_files import metrics_log
from fm_lingvo.run_files import run_dir
from fm_lingvo.run_files import run_lock
from fm_lingvo.training import best_checkpoints
from fm_lingvo.training import flag_checks
from fm_lingvo.training import kept_decoder
from fm_lingvo.training import nonfinite_steps
from fm_lingvo.training import start_data
from fm_lingvo.utils import files


def Run(flags, is_cluster: bool) -> int:
  """Checks a run; prints its configuration and the table of its parameters, then the first error if there is one.

  Args:
    flags: As launch.Launch.
    is_cluster: Whether they are those of a cluster's job.

  Returns:
    The exit code 0.

  Raises:
    errors.ConfigError: The run would be refused before its first step.
  """
  params = model_registry.GetParams(flags.model, 'Train')
  names = train_params.DatasetsAtTheEnd(params.task.train)
  for name in ['Train', *names]:
    hydra_input.Validate(model_registry.GetParams(flags.model, name).input)
  task = run_dir.DeclaredTask(params)
  try:
    _CheckStart(flags, is_cluster, params.task)
    for learner in task.learners:
      if isinstance(learner, nonfinite_steps.Learner):
        learner.CheckTrained(task.vars)
    _CheckWeights(task, flags.logdir, params.input)
    _CheckData(flags, is_cluster, task, names)
    for shard in shard_integrity.Known():
      print(f'damaged: {shard.line}')
  finally:
    # Printed after an error, too: data and checkpoints may still be missing when a configuration is inspected.
    print(gin_config.ConfigText(flags.model, reference=False))
    print(run_dir.FormatParameterTable(*run_dir.TaskParameterTable(task)))
  return 0


def _CheckStart(flags, is_cluster, task_params):
  """Raises ConfigError for a device, a flag or a folder that the run cannot use."""
  tp = task_params.train
  is_new = not (flags.logdir and run_checkpoints.Newest(os.path.join(flags.logdir, 'train')))
  flag_checks.CheckService(flags)
  if is_cluster:
    flag_checks.CheckTpu(flags)
    flag_checks.CheckCluster(flags)
    flag_checks.CheckInCluster(flags)
    if is_new:
      task_params.cls.CheckNothingToFit(task_params)
      train_params.ValidateEnd('task.train', tp)
  else:
    flag_checks.CheckDevice(flags.run_locally or 'cpu', flags.worker_gpus)
    flag_checks.CheckPartsOfTask(flags, task_params)
    train_params.ValidateEnd('task.train', tp)
    train_params.ValidateLocal('task.train', tp)
  if is_new:
    warm_start.CheckSources(tp)
  run_lock.Check(flags.logdir or run_dir.ROOT)
  for name in ('metrics.jsonl', 'skipped.jsonl') if flags.logdir else ():
    path = os.path.join(flags.logdir, name)
    if files.Exists(path):
      metrics_log.ReadMetrics(path)


def _CheckWeights(task, logdir, train_input):
  """Raises ConfigError if the run's checkpoints, or else those of its warm start, do not fit a declared task.

  Of what only the training graph has, such as moving averages, is checked whether the checkpoint has any.
  """
  variables = {v.op.name: v for v in task.vars.Flatten()}

  def Use(prefix):
    checkpoint = reader.Checkpoint(prefix)
    checkpointer.CheckResumable(checkpoint, variables, [task])
    training_state.CheckDeclared(checkpoint, task)

  if not (logdir and checkpointer.FirstUsable(os.path.join(logdir, 'train'), Use)):
    warm_start.Check(task)
    kept_decoder.Print(task, train_input)


def _CheckData(flags, is_cluster, task, names):
  """Raises ConfigError for data that the run would refuse; prints which data sets it would not evaluate."""
  train = model_registry.GetParams(flags.model, 'Train')
  needs_demo = start_data.IsMissingDemo(train)
  if needs_demo:
    print(f'{start_data.DEMO_DATA}: not there yet; the run prepares it')
  else:
    start_data.RaiseIfMissing('Train', train)
  evaluated, of_demo = {}, []  # The latter are there once the run has prepared them.
  for name in names:
    params = model_registry.GetParams(flags.model, name)
    missing = hydra_input.MissingRecords(params.input)
    if start_data.IsMissingDemo(params):
      of_demo.append(name)
    elif missing:
      print(f'{name}: not evaluated, {missing}')
    else:
      evaluated[name] = params
  start_data.CheckTranscripts(train, evaluated, flags.logdir)
  spoken_language.OfInput(train.input)
  if not is_cluster:
    best_checkpoints.BestCheckpoints(task.params.train, flags.logdir, [*evaluated, *of_demo])
  if not needs_demo:
    start_data.CheckCharacters(train)
    _CheckInput(task, train, do_eval=False)
  for params in evaluated.values():
    _CheckInput(task, params, do_eval=True)


def _CheckInput(task, params, do_eval):
  """Raises ConfigError if the input of model Params does not fit the task or has no example to use."""
  p = params.Copy()
  p.cluster.do_eval = do_eval
  task.CheckInput(p.input, do_eval)

  def Read():
    with tf.Graph().as_default(), cluster_factory.Cluster(p.cluster), example_filter.NamingEmptyStreams():
      p.input.Instantiate().CheckUsable()

  try:
    Read()
  except tf.errors.DataLossError:
    hydra_input.ScanShards(p.input)  # As a run does; the second time, what is damaged is left out or refused.
    Read()
