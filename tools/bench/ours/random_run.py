"""A finished run with random weights, made without data, to time recognition with."""

import os

import numpy as np
from lingvo import compat as tf
from lingvo import model_registry
from lingvo.core import cluster_factory
from lingvo.core import py_utils

from fm_lingvo.config import gin_config
from fm_lingvo.decoding import language_model
from fm_lingvo.run_files import run_dir

_MODEL = 'asr.Supervised'
_LM = 'lm.npz'


def Write(folder: str, bindings: list[str], blank_bias: float) -> None:
  """Writes config.gin, a checkpoint, the tokenizers and a language model of the labels.

  Args:
    folder: Of the run, new.
    bindings: Of Gin, for asr.Supervised.
    blank_bias: Of the joint network: the higher, the rarer labels are.
  """
  gin_config.Configure(_MODEL, (), bindings)
  try:
    params, text = model_registry.GetParams(_MODEL, 'Train'), gin_config.ConfigText(_MODEL)
  finally:
    gin_config.Reset()
  os.makedirs(os.path.join(folder, 'train'), exist_ok=True)
  run_dir.WriteText(os.path.join(folder, 'config.gin'), text)
  with tf.Graph().as_default(), cluster_factory.Cluster(params.cluster), tf.Session() as sess:
    tf.random.set_seed(1)
    step = py_utils.GetOrCreateGlobalStepVar()
    task = params.task.Copy().Set(input=None).Instantiate()
    variables = {v.op.name: v for v in task.vars.Flatten()}
    sess.run(tf.global_variables_initializer())
    (bias,) = (v for name, v in variables.items() if name.endswith('joint/b/var'))
    (weight,) = (v for name, v in variables.items() if name.endswith('joint/w/var'))
    before = sess.run([bias, weight])
    before[0][0] += blank_bias
    bias.load(before[0], sess)
    weight.load(8.0 * before[1], sess)  # So that labels differ from frame to frame.
    tf.train.Saver({**variables, 'global_step': step}).save(
      sess, os.path.join(folder, 'train', 'ckpt-00000001'), write_meta_graph=False
    )
    run_dir.CopyTokenizers(task, folder)
    tokens = task.Head('transducer').tokenizer
  _WriteLanguageModel(os.path.join(folder, _LM), tokens)


def _WriteLanguageModel(path, tokens):
  """Writes one of the sizes of params/lm."""
  p, rng = language_model.Params(tokens.vocab_size, 48, 384), np.random.default_rng(1)
  with tf.Graph().as_default():
    shapes = {name: v.shape.as_list() for name, v in p.Instantiate().vars.FlattenItems()}
  values = py_utils.NestedMap()
  for name, shape in shapes.items():
    values.Set(name, 0.06 * rng.standard_normal(shape))
  language_model.Write(path, p, values, tokens)
