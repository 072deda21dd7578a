"""Writes checkpoints of weights; used by the tools that derive a checkpoint from others."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.checkpoints import reader

from . import files


def AddStep(checkpoint: Any, values: dict[str, Any]) -> None:
  """Adds the step of a reader.Checkpoint, if it has one, to the values to write."""
  if reader.STEP in checkpoint.others:
    values[reader.STEP] = checkpoint.Read(reader.STEP)


def Write(values: Mapping[str, Any], output: str) -> None:
  """Writes a TensorFlow checkpoint.

  Args:
    values: dict: name -> array.
    output: Prefix of the checkpoint's files, which must not exist yet.

  Raises:
    errors.ConfigError: The checkpoint exists, the prefix is a folder, or its folder cannot be created.
    errors.RunError: The files cannot be written.
  """
  if not os.path.basename(output):
    raise errors.ConfigError(
      f'--output={output}: is a folder; expected the prefix of a checkpoint, such as {output}ckpt'
    )
  if tf.io.gfile.exists(output + '.index'):
    raise errors.ConfigError(f'--output={output}: exists already; remove it, or choose another')
  files.MakeFolder(os.path.dirname(output), f'--output={output}')
  names = sorted(values)
  with tf.Graph().as_default(), tf.Session() as sess, errors.Writing(f'--output={output}'):
    holders = [tf.placeholder(tf.as_dtype(np.asarray(values[name]).dtype)) for name in names]
    save = tf.raw_ops.SaveV2(prefix=output, tensor_names=names, shape_and_slices=[''] * len(names), tensors=holders)
    sess.run(save, dict(zip(holders, [values[name] for name in names])))
