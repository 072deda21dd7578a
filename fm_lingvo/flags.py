"""The trainer's own flags, in addition to Lingvo's; this module does not import TensorFlow."""

from absl import flags

flags.DEFINE_multi_string('gin_file', [], 'A Gin file to apply; repeatable, later files win.')
flags.DEFINE_multi_string(
  'gin_bindings',
  [],
  "A Gin binding such as 'task.encoder.num_layers = 2'; repeatable, applied "
  'after every --gin_file. --gin.NAME=VALUE is short for it.',
)
flags.DEFINE_multi_string('gin_search_paths', [], 'A folder to look for Gin files in; repeatable.')
flags.DEFINE_bool('list_models', False, 'Print the registered experiments and exit.')
flags.DEFINE_string(
  'list_metrics',
  '',
  'A data set that the run would evaluate: print the metrics of that evaluation, DATASET/METRIC a line, as '
  'task.train.best_metric and a sweep name them, and exit.',
)
flags.DEFINE_bool(
  'deterministic',
  False,
  'Make runs of the same command bit-identical on the CPU, also if one was stopped and '
  'resumed; everything is then computed in one thread, which is slower.',
)
flags.DEFINE_integer(
  'batch_parts',
  0,
  'Parts of each batch that a local run on the CPU computes in parallel, each on its '
  'own cores; 0: one per core, at most 8, in runs of 1000 steps or more, because the '
  'start takes longer.',
  lower_bound=0,
  upper_bound=64,
)
flags.DEFINE_bool(
  'dry_run',
  False,
  'Check everything that a run checks before its first step, print the configuration and the parameters of each '
  'component, and exit.',
)
flags.DEFINE_string(
  'logger',
  '',
  'Experiment trackers that a local run also sends its metrics to, comma-separated: mlflow, wandb. Each is a package '
  'of its own to install.',
)
flags.DEFINE_integer(
  'trace_step',
  0,
  'A step of a local run to trace: RUN/trace/step-N.txt has the time of each kind of operation, step-N.json a timeline '
  'for Perfetto or chrome://tracing; 0: none. Steps before 10 include what TensorFlow does once.',
  lower_bound=0,
)
