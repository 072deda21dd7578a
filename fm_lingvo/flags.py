"""Flags of the trainer that are not Lingvo's; imports no TensorFlow."""

from absl import flags

flags.DEFINE_multi_string('gin_file', [], 'A Gin file to apply; repeatable, later ones win.')
flags.DEFINE_multi_string(
  'gin_bindings',
  [],
  "A Gin binding such as 'task.encoder.num_layers = 2'; repeatable, applied "
  'after every --gin_file. --gin.NAME=VALUE is short for it.',
)
flags.DEFINE_multi_string('gin_search_paths', [], 'A folder to look for Gin files in; repeatable.')
flags.DEFINE_bool('list_models', False, 'Print the registered experiments and exit.')
flags.DEFINE_bool(
  'deterministic',
  False,
  'Two runs of one command are equal bit by bit on the CPU, and so is one that was '
  'stopped and resumed; everything is then computed by one thread.',
)
flags.DEFINE_integer(
  'batch_parts',
  0,
  'Parts of each batch that a local run on the CPU computes side by side, each on '
  'cores of its own; 0: one for each core, at most 8, in runs of 1000 steps or more: '
  'the start takes longer.',
  lower_bound=0,
  upper_bound=64,
)
flags.DEFINE_bool(
  'dry_run',
  False,
  'Build and check everything, print the configuration and the parameters of each component, and exit.',
)
