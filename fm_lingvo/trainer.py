"""The trainer: `trainer --model=asr.BestRqPretrain` runs one experiment.

Exit codes: 0 done, 2 wrong usage or configuration, 128 + N after signal N (after
saving a checkpoint; immediately after a second signal), 1 anything else.
"""

import contextlib
import logging
import os
import sys

from absl import flags
from absl.testing import flagsaver

from fm_lingvo import errors
from fm_lingvo import flags as trainer_flags
from fm_lingvo.config import list_experiments
from fm_lingvo.config import user_modules
from fm_lingvo.runtime import garbage
from fm_lingvo.runtime import huge_pages
from fm_lingvo.runtime import lazy_imports
from fm_lingvo.runtime import quiet

FLAGS = flags.FLAGS
_USAGE = """usage: trainer --model=asr.BestRqPretrain [flags]

Trains, evaluates, writes summaries and checkpoints; resumes from the newest
checkpoint in --logdir.

  --model=NAME           experiment to run; --list_models lists them; not needed
                         if --gin_file is the config.gin of a run
  --import_module=MODULE a Python module or .py file with your own
                         experiments, imported first; repeatable
  --logdir=DIR           folder of the run; default: a new folder under runs/
  --run_locally=DEVICE   cpu (the default), gpu or tpu; with --job and
                         --cluster_spec instead, Lingvo's cluster jobs
  --worker_gpus=N        GPUs that share a batch, with --run_locally=gpu
  --list_metrics=DATASET print the metrics of an evaluation, and exit
  --mode=xla_check       compile every step with XLA, as for a TPU, and report
                         the result; with --job: sync or async
  --tf_data_service_address=HOST:PORT
                         read training data from a tf.data service
  --verbosity=N          0 shows Lingvo's log too
  --version              print the versions of fm_lingvo, TensorFlow, Lingvo and
                         Python, and exit
"""


def main_cli():
  """Entry point of the `trainer` command."""
  huge_pages.Use()
  sys.exit(Main(sys.argv))


def Main(argv):
  """Runs the trainer.

  Args:
    argv: The command line, program name first.

  Returns:
    The exit code; see the module's docstring.
  """
  # Requests that need neither TensorFlow nor a graph are answered first.
  if any(a in ('--help', '-help', '-h') for a in argv[1:]):
    print(_USAGE + FLAGS.module_help(trainer_flags))
    return 0
  wants_list = any(a in ('--list_models', '--list_models=true') for a in argv[1:])
  if wants_list and not any(a.startswith(f'--{user_modules.FLAG}') for a in argv):
    print(list_experiments.Format(list_experiments.ListModels()))
    return 0
  if any(a in ('--version', '-version', '--version=true') for a in argv[1:]):
    print('\n'.join(_Versions()))
    return 0
  try:
    return _Run(argv)
  except errors.ConfigError as e:
    print(f'trainer: {e}', file=sys.stderr)
    return 2
  except errors.RunError as e:
    print(f'trainer: {e}', file=sys.stderr)
    return 1
  except KeyboardInterrupt:
    print('trainer: interrupted; steps since the newest checkpoint are lost', file=sys.stderr)
    return 130


def _Versions():
  """Yields a line for each of the project, TensorFlow, Lingvo and Python; imports none of them."""
  import importlib.metadata  # Only here: it takes longer than the rest of --help.

  for name, package in (('fm_lingvo', 'fm_lingvo'), ('TensorFlow', 'tensorflow'), ('Lingvo', 'lingvo')):
    try:
      yield f'{name} {importlib.metadata.version(package)}'
    except importlib.metadata.PackageNotFoundError:
      yield f'{name}: not installed as a package'
  yield f'Python {sys.version.split()[0]}'


def _Run(argv):
  """Parses, configures and starts; see Main."""
  garbage.CollectRarely()
  # `bazel run` changes the working directory; relative paths refer to the user's.
  os.chdir(os.environ.get('BUILD_WORKING_DIRECTORY', '.'))
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
  # Lingvo imports names that TensorFlow has moved; users can do nothing about these warnings.
  logging.getLogger('tensorflow').setLevel(logging.ERROR)
  lazy_imports.Install()
  with quiet.HoldStderr():
    import lingvo.trainer  # noqa: F401 Defines its flags.

    from fm_lingvo.config import gin_config
    from fm_lingvo.config import registry
    from fm_lingvo.config import run_experiment
    from fm_lingvo.training import launch
  with _FlagsOfThisCall():
    try:
      rest = FLAGS(gin_config.RewriteGinArgs(argv))[1:]
    except flags.Error as e:
      raise errors.ConfigError(' '.join(str(e).split())) from e
    if rest:
      raise errors.ConfigError(f'{rest[0]}: no arguments are expected, only flags')
    user_modules.Import(FLAGS.import_module)
    if FLAGS.list_models:
      print(list_experiments.Format(registry.ListExperiments()))
      return 0
    if not FLAGS.model:
      FLAGS.model = run_experiment.NameIn(FLAGS.gin_file, FLAGS.gin_bindings, FLAGS.gin_search_paths)
    if not FLAGS.model:
      config = os.path.join(FLAGS.logdir or '', 'config.gin')
      begun = FLAGS.logdir and os.path.isfile(config)
      hint = f'--gin_file={config} resumes this run' if begun else '--list_models lists the experiments'
      raise errors.ConfigError(f'--model is required; {hint}')
    for name in ('model_params_override', 'model_params_file_override'):
      if FLAGS[name].value:
        raise errors.ConfigError(
          f'--{name}: not supported, since config.gin would not replay it; use --gin_bindings or --gin_file'
        )
    try:
      return launch.Launch(FLAGS)
    finally:
      gin_config.Reset()


@contextlib.contextmanager
def _FlagsOfThisCall():
  """Context after which all flags are as before, so that Main can be called again in one process.

  A second call would otherwise add to flags that can be repeated, and be taken for a cluster's job, since a local run
  sets --job and --cluster_spec.
  """
  before = flagsaver.save_flag_values(FLAGS)
  try:
    yield
  finally:
    defined_since = flagsaver.save_flag_values(FLAGS)
    flagsaver.restore_flag_values({**defined_since, **before})


if __name__ == '__main__':
  main_cli()
