"""From parsed flags to a run: configuration, data, then local or cluster jobs."""

import contextlib
import os
import shutil
import sys

from absl import logging
from lingvo import compat as tf
from lingvo import model_registry
from lingvo import trainer as lingvo_trainer
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.checkpoints import checkpointer
from fm_lingvo.checkpoints import run_checkpoints
from fm_lingvo.checkpoints import warm_start
from fm_lingvo.config import gin_config
from fm_lingvo.config import params_diff
from fm_lingvo.config import train_params
from fm_lingvo.data import base_input
from fm_lingvo.data import hydra_input
from fm_lingvo.data import shard_integrity
from fm_lingvo.evaluation import cluster_job
from fm_lingvo.evaluation import evaluator
from fm_lingvo.heads import branch as branch_lib
from fm_lingvo.run_files import dashboard
from fm_lingvo.run_files import run_dir
from fm_lingvo.run_files import run_lock
from fm_lingvo.runtime import batch_split
from fm_lingvo.runtime import graph_checks
from fm_lingvo.runtime import quiet
from fm_lingvo.runtime import session
from fm_lingvo.training import dry_run
from fm_lingvo.training import flag_checks
from fm_lingvo.training import followed
from fm_lingvo.training import start_data
from fm_lingvo.training import stop_signals
from fm_lingvo.training import train_loop
from fm_lingvo.training import xla_check
from fm_lingvo.training import xla_dump
from fm_lingvo.utils import files
from fm_lingvo.utils import suggest

_WRITERS = {'controller', 'executor_tpu'}  # Cluster jobs that save checkpoints.
_SERVICE_SECONDS = 120.0  # How long a cluster's job waits for a tf.data service that starts together with it.
_LONG_RUN_STEPS = 1000  # From here on, splitting batches saves more time than building the larger graph costs.


def Launch(flags):
  """Runs the job that the flags describe.

  Args:
    flags: Parsed absl flags of fm_lingvo/flags.py and of lingvo.trainer.

  Returns:
    The exit code.

  Raises:
    errors.ConfigError: The configuration, a device or a data set cannot be used.
    errors.RunError: The disk failed, or the run skipped too many steps.
  """
  _SetUpLingvo(flags)
  flags.logdir = files.ExpandUser(flags.logdir)
  flag_checks.CheckMode(flags)
  is_cluster = (
    flags.job or flags.cluster_spec or flags.tpu or flags.mode not in (*flag_checks.CLUSTER_MODES, 'xla_check')
  )
  if not is_cluster and not flags['verbosity'].present:
    # Lingvo logs thousands of lines; a local run prints its own progress.
    logging.set_verbosity(logging.ERROR)
  flag_checks.CheckParts(flags, is_cluster)
  loggers = followed.Loggers(flags, is_cluster)
  gin_config.Configure(flags.model, flags.gin_file, flags.gin_bindings, flags.gin_search_paths)
  gin_config.CheckIdle()
  with _Building(flags):
    flag_checks.CheckDatasets(flags)
    flag_checks.CheckTrace(flags, is_cluster)
  if flags.dry_run:
    flag_checks.CheckLogdir(flags.logdir)
    with _Building(flags):
      _PrintFewFrames(flags.model)
      return dry_run.Run(flags, is_cluster)
  if flags.list_metrics:
    return _ListMetrics(flags)
  if flags.mode == 'xla_check':
    return _XlaCheck(flags)
  if not flags.logdir:
    flags.logdir = run_dir.NewRunDir(flags.model)
  if not files.IsRemote(flags.logdir):
    flags.logdir = os.path.abspath(flags.logdir)  # The file `checkpoint` stores paths.
  flag_checks.CheckLogdir(flags.logdir)
  flag_checks.CheckService(flags, _SERVICE_SECONDS if flags.job else 0.0)
  with _Building(flags):
    _PrintFewFrames(flags.model)
  return _RunInCluster(flags) if is_cluster else _RunLocally(flags, loggers)


def _PrintFewFrames(model):
  """Prints what branch.FewFrames says of a model."""
  task = model_registry.GetParams(model, 'Train').task
  for line in branch_lib.FewFrames(task) if 'branches' in task else ():
    print(line, flush=True)


def _SetUpLingvo(flags):
  """Changes what Lingvo does by default, before it builds anything."""
  py_utils.SetEagerMode(False)
  session.PatchLingvo()
  if flags.deterministic:
    session.MakeDeterministic()
  checkpointer.PatchLingvo()
  graph_checks.TurnOff()


@contextlib.contextmanager
def _Building(flags):
  """Turns any error of building the configuration into a one-line ConfigError.

  Lingvo and TensorFlow raise errors of many types if values do not fit together. --verbosity=0 shows the traceback.
  """
  try:
    yield
  except (errors.ConfigError, errors.RunError, tf.errors.DataLossError):
    raise
  except Exception as e:
    if flags['verbosity'].present and flags.verbosity <= 0:
      raise
    where = suggest.Some([f'{path} = {value!r}'[:60] for path, value, _ in gin_config.Overrides()], 8)
    raise errors.ConfigError(
      f'--model={flags.model}: cannot be built ({type(e).__name__}: {errors.Reason(e)}); '
      f'{f"set: {where}; " if where else ""}--verbosity=0 shows where'
    ) from e


def _RunInCluster(flags):
  """Runs the cluster's job that --job names: Lingvo's, or our evaluation."""
  flag_checks.CheckTpu(flags)
  if flags.job.startswith(cluster_job.PREFIX):
    return _Evaluate(flags)
  flag_checks.CheckCluster(flags)
  flag_checks.CheckInCluster(flags)
  train_dir = os.path.join(flags.logdir, 'train')
  writes = bool(flag_checks.Jobs(flags) & _WRITERS)
  if not run_checkpoints.Newest(train_dir):
    task = model_registry.GetParams(flags.model, 'Train').task
    task.cls.CheckNothingToFit(task)
    train_params.ValidateEnd('task.train', task.train)
    if writes:
      warm_start.CheckSources(task.train)
  with contextlib.ExitStack() as stack:
    stack.enter_context(base_input.ResumeFrom(train_dir))
    if writes:
      stack.enter_context(run_lock.Hold(flags.logdir))
    lingvo_trainer.RunnerManager(flags.model).Start()
  return 0


def _Evaluate(flags):
  """Runs a cluster's evaluation job."""
  name = flags.job.removeprefix(cluster_job.PREFIX)
  params = _EvaluationParams(flags, name)
  train = model_registry.GetParams(flags.model, 'Train')
  start_data.CheckTranscripts(train, {name: params}, flags.logdir)
  with errors.Writing(flags.logdir):
    start_data.RecordTranscripts(train.input, flags.logdir)
  cluster_job.EvaluationJob(name, params, flags.logdir).Run()
  return 0


def _ListMetrics(flags):
  """Prints what --list_metrics asks for; builds the graph of the evaluation, but computes nothing."""
  train = model_registry.GetParams(flags.model, 'Train')
  suggest.CheckChoice('--list_metrics', flags.list_metrics, train_params.DatasetsAtTheEnd(train.task.train))
  start_data.PrepareDemo(train)
  with _Building(flags):
    names = evaluator.Evaluator(_EvaluationParams(flags, flags.list_metrics)).MetricNames()
  print('\n'.join(f'{flags.list_metrics}/{name}' for name in names))
  return 0


def _EvaluationParams(flags, name):
  """Returns model Params with the data set `name` as input; raises ConfigError if it has no files."""
  flags.run_locally = 'cpu'
  manager = lingvo_trainer.RunnerManager(flags.model)
  with quiet.HoldStderr():
    manager.MaybeConfigRunLocally()
  params = manager.GetParamsForDataset('evaler', name)
  start_data.RaiseIfMissing(name, params)
  return params


def _XlaCheck(flags):
  """Compiles every step on the CPU with a TPU's static shapes; does not train."""
  flags.enable_asserts = False  # TPUs have no assert ops.
  flags.add_summary = False
  dump_dir = xla_dump.Start()
  try:
    for report in xla_check.Check(flags.model, dump_dir):
      print(xla_check.Format(report), flush=True)
  finally:
    shutil.rmtree(dump_dir, ignore_errors=True)
  return 0


def _RunLocally(flags, loggers):
  """Trains and evaluates in this process, see train_loop."""
  flags.run_locally = flags.run_locally or 'cpu'
  flag_checks.CheckDevice(flags.run_locally, flags.worker_gpus)
  if flags.run_locally == 'cpu':
    session.ComputeOnCpu()
  train = model_registry.GetParams(flags.model, 'Train')
  train_params.ValidateEnd('task.train', train.task.train)
  _ChooseParts(flags, train.task)
  start_data.PrepareDemo(train)
  manager = lingvo_trainer.RunnerManager(flags.model)
  flags.mode = 'sync'
  flags.add_summary = False  # Summaries are written from fetched metrics.
  with quiet.HoldStderr():
    manager.MaybeConfigRunLocally()
  train = manager.GetParamsForDataset('trainer_client', 'Train')
  start_data.RaiseIfMissing('Train', train)
  eval_params = start_data.Evaluated(manager, train_params.DatasetsAtTheEnd(train.task.train))
  start_data.CheckTranscripts(train, eval_params, flags.logdir)
  start_data.CheckCharacters(train)
  if not run_checkpoints.Newest(os.path.join(flags.logdir, 'train')):
    warm_start.CheckSources(train.task.train)
  with run_lock.Hold(flags.logdir):
    return _Train(flags, train, eval_params, flags.logdir, loggers)


def _ChooseParts(flags, task):
  """Chooses into how many parts a local run splits its batches; must run before TensorFlow computes anything."""
  flag_checks.CheckPartsOfTask(flags, task)
  if flags.deterministic or flags.run_locally != 'cpu':
    session.ComputeInParts(1, 1)
    return
  cores = session.Cores()
  worthwhile = task.cls.computes_in_parts and task.train.max_steps >= _LONG_RUN_STEPS
  suitable = batch_split.Suitable(cores) if worthwhile else 1
  parts = flags.batch_parts or suitable
  session.ComputeInParts(parts, cores)
  if parts > 1:
    print(f'each batch in {parts} parts, computed in parallel on {cores} cores')


def _Train(flags, train, eval_params, logdir, loggers):
  """Trains in `logdir`, whose lock the caller holds; returns the exit code."""
  train_dir = os.path.join(logdir, 'train')
  run_checkpoints.RemoveUnfinished(train_dir)
  print(f'run directory: {logdir}', flush=True)
  for path, value, source in gin_config.Overrides():
    print(f'set by {source}: {path} = {value!r}')
  for line in params_diff.SinceStart(train_dir, train):
    print(f'changed since the last start: {line}')
  print('building the graph', flush=True)
  config_text = gin_config.ConfigText(flags.model)
  overrides = {path: value for path, value, _ in gin_config.Overrides()}
  settings = dashboard.Compared(flags.model, gin_config.KnobValues(), overrides)
  known = []  # Damaged shards that have been printed.
  while True:
    with _Building(flags):
      runner = train_loop.LocalRunner(train, eval_params, logdir, config_text, settings, loggers, flags.trace_step)
    known = _PrintNewDamage(known)
    try:
      runner.Start()
      break
    except stop_signals.Interrupted as e:
      print(f'trainer: {e}', file=sys.stderr)
      return e.exit_code
    except train_loop.DamagedRecord as e:
      print(f'{e}; checking every shard for it', flush=True)
      inputs = [train.input, *(p.input for p in eval_params.values())]
      if not sum((hydra_input.ScanShards(p) for p in inputs), []):
        raise errors.RunError(f'{e}, but every shard is intact when read again: check the disk and the memory') from e
  print(f'done: {logdir}; tensorboard --logdir={logdir} shows it')
  return 0


def _PrintNewDamage(known):
  """Prints the damaged shards that are not in `known`; returns all damaged shards."""
  for shard in shard_integrity.Known():
    if shard not in known:
      print(f'damaged: {shard.line}', flush=True)
  return shard_integrity.Known()
