"""Finished runs with random weights, made without training, for tests."""

import os

import numpy as np
from lingvo import compat as tf
from lingvo import model_registry

from fm_lingvo.config import gin_config
from fm_lingvo.data import dataset
from fm_lingvo.run_files import run_dir
from tests import shared_graphs  # Recognizers of runs share graphs, too.
from tests import tiny_data

TINY_BINDINGS = (
  'task.encoder.num_layers = 1',
  'task.encoder.model_dim = 16',
  'task.encoder.num_heads = 2',
  'task.encoder.kernel_size = 5',
)


def Configure(model_name, data_dir, *bindings):
  """Binds a tiny experiment on data under `data_dir`."""
  knobs = model_name.rpartition('.')[2]
  every = (f'{knobs}.data_dir = {data_dir!r}', f'{knobs}.max_seconds = 4.0')
  gin_config.Configure(model_name, [], TINY_BINDINGS + every + bindings)


def MakeRun(folder, model_name, data_dir, *bindings, step=3, words=True, blank_bias=4.0):
  """Writes a run's folder: config.gin, a checkpoint and the tokenizers.

  Args:
    folder: Of the run.
    model_name: Of the experiment.
    data_dir: Its data_dir.
    *bindings: Gin bindings beside those of Configure.
    step: Of the checkpoint.
    words: Whether blanks and spaces are made likely in a transducer.
    blank_bias: How likely blanks are made then; the more, the longer are the pauses.

  Returns:
    dict: name of each variable of the task -> its value.
  """
  Configure(model_name, data_dir, *bindings)
  try:
    params = model_registry.GetParams(model_name, 'Train')
    text = gin_config.ConfigText(model_name)
  finally:
    gin_config.Reset()
  os.makedirs(os.path.join(folder, 'train'))
  with open(os.path.join(folder, 'config.gin'), 'w', encoding='utf-8') as f:
    f.write(text)
  rng = np.random.RandomState(1)
  task, variables, global_step, saver = shared_graphs.Weights(params)
  with tf.Session(graph=global_step.graph) as sess:
    sess.run([v.initializer for v in (global_step, *variables.values())])
    global_step.load(step, sess)
    values = sess.run(variables)  # All at once: TensorFlow optimises the graph for each new set of fetches.
    for name, value in values.items():
      if variables[name].trainable and not value.any():
        values[name] = value = 0.3 * rng.randn(*value.shape)
      if words and name.endswith('joint/b/var'):
        value[0] += blank_bias
        value[2] += 7.0
      elif words and name.endswith('joint/w/var'):
        value *= 8.0
    initializers = {name: v.initializer for name, v in variables.items()}
    sess.run(list(initializers.values()), {op.inputs[1]: values[name] for name, op in initializers.items()})
    values = sess.run(variables)
    saver.set_last_checkpoints([])  # Those of other runs are not this one's to remove.
    saver.save(sess, os.path.join(folder, 'train', f'ckpt-{step:08d}'), write_meta_graph=False)
  run_dir.CopyTokenizers(task, folder)
  return values


def WriteData(data_dir, num_utterances=5):
  """Labeled source and target data sets of every split."""
  for name in ('source', 'target'):
    for split in ('train', 'dev', 'test'):
      tiny_data.Write(os.path.join(data_dir, name, f'{split}-00000-of-00001.tfrecord'), num_utterances)


def Audio(data_dir, name='target', split='test'):
  """dict: utt_id -> int16 [S] of a data set that WriteData wrote."""
  path = os.path.join(data_dir, name, f'{split}-00000-of-00001.tfrecord')
  return {record['utt_id']: np.frombuffer(record['audio'], '<i2') for record in dataset.ReadShard(path)}
