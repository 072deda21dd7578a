"""Truncated, bit-flipped, empty and foreign checkpoints, and a file `checkpoint` that names a missing one."""

import os
import shutil

from lingvo import compat as tf
import numpy as np
from tests.faults import suite as suite_lib
from tests.faults import tiny_run


def FlipBit(path, rng):
  """Flips a bit of a file."""
  at = rng.randrange(os.path.getsize(path))
  with open(path, 'r+b') as f:
    f.seek(at)
    byte = f.read(1)[0]
    f.seek(at)
    f.write(bytes([byte ^ (1 << rng.randrange(8))]))


def Truncate(path, rng):
  """Cuts a file off somewhere between its first and its last byte."""
  os.truncate(path, rng.randrange(1, os.path.getsize(path) - 1))


def _Empty(path, rng):
  del rng
  os.truncate(path, 0)


def _Remove(path, rng):
  del rng
  os.remove(path)


def _Write(prefix, values):
  """Writes a checkpoint of a dict name -> value."""
  names = sorted(values)
  with tf.Graph().as_default(), tf.Session() as sess:
    sess.run(tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=[''] * len(names),
                               tensors=[tf.constant(values[name]) for name in names]))


def _ReplaceByForeign(prefix, rng):
  """Puts a whole checkpoint of another model in place of one."""
  del rng
  _Write(prefix, {'task/other/w/var': np.zeros([3, 3], np.float32), 'global_step': np.int64(0)})


def _PutNan(prefix, rng):
  """Puts NaN in one weight of a checkpoint."""
  del rng
  reader = tf.train.load_checkpoint(prefix)
  values = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
  name = next(n for n in sorted(values) if n.endswith('/var') and values[n].dtype.kind == 'f')
  _Write(prefix, {**values, name: values[name] * float('nan')})


_DATA, _INDEX = '.data-00000-of-00001', '.index'
# Name -> (suffix of the newest checkpoint's file, None for the file `checkpoint`; what is done to it).
NEWEST = {
    'data truncated': (_DATA, Truncate),
    'data bit-flipped': (_DATA, FlipBit),
    'data empty': (_DATA, _Empty),
    'data missing': (_DATA, _Remove),
    'index truncated': (_INDEX, Truncate),
    'index bit-flipped': (_INDEX, FlipBit),
    'index empty': (_INDEX, _Empty),
    'foreign': ('', _ReplaceByForeign),
    'NaN in a weight': ('', _PutNan),
    'index missing, as `checkpoint` names it': (_INDEX, _Remove),
    '`checkpoint` empty': (None, _Empty),
    '`checkpoint` bit-flipped': (None, FlipBit),
}


def Break(fault, run, rng):
  """Breaks the newest checkpoint of a run, or its file `checkpoint`, with a fault of NEWEST."""
  suffix, break_it = NEWEST[fault]
  break_it(os.path.join(run.folder, 'train', 'checkpoint') if suffix is None else run.Prefix(run.Steps()[-1]) + suffix, rng)


def Run(suite):
  """Breaks copies of one run and resumes each; yields a Case for each."""
  rng, base = suite.Random('checkpoints'), tiny_run.TinyRun(suite.folder, 'base')
  done = base.Train()
  steps = base.Steps()
  assert done.code == 0 and len(steps) == 3, done
  for name, (suffix, _) in suite.Faults(NEWEST, 'data bit-flipped', 'index missing, as `checkpoint` names it'):
    run = base.Copy('broken')
    Break(name, run, rng)
    done = run.Train(max_steps=steps[-1] + 2)
    # The flipped bit of `checkpoint` may be one that is not read, such as a time.
    message = 'resumed from' if suffix is None else f'resumed from {run.Prefix(steps[-2])}'
    named = 'passed over' in done.out or name == '`checkpoint` bit-flipped'
    yield suite_lib.Ended(name, done, 0, message, named and run.Steps()[-1] == steps[-1] + 2)
    shutil.rmtree(run.folder)
  run = base.Copy('all')
  for step in steps:
    Truncate(run.Data(step), rng)
  before = run.State()
  yield suite_lib.Ended('all truncated: refused by name', run.Train(), 2, f'{run.Prefix(steps[0])}: ', run.State() == before)
