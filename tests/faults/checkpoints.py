"""Truncated, bit-flipped, empty and foreign checkpoints, and a file `checkpoint` that names a missing one."""

import os
import pathlib
import shutil

import numpy as np
from lingvo import compat as tf

from tests.faults import suite as suite_lib
from tests.faults import tiny_run


def FlipBit(path, rng):
  """Flips a random bit of a file."""
  content = bytearray(pathlib.Path(path).read_bytes())
  content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
  pathlib.Path(path).write_bytes(content)


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
  with tf.Graph().as_default(), tf.Session() as sess:
    tensors = [tf.constant(value) for value in values.values()]
    slices = [''] * len(values)
    sess.run(tf.raw_ops.SaveV2(prefix=prefix, tensor_names=list(values), shape_and_slices=slices, tensors=tensors))


def _ReplaceByForeign(prefix, rng):
  """Puts a whole checkpoint of another model in place of one."""
  del rng
  _Write(prefix, {'global_step': np.int64(0), 'task/other/w/var': np.zeros([3, 3], np.float32)})


def _PutNan(prefix, rng):
  """Puts NaN in one weight of a checkpoint."""
  del rng
  values = tiny_run.ReadCheckpoint(prefix)
  name = next(n for n in sorted(values) if n.endswith('/var') and values[n].dtype.kind == 'f')
  _Write(prefix, {**values, name: values[name] * float('nan')})


_DATA, _INDEX = tiny_run.DATA, '.index'
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
  state = os.path.join(run.folder, 'train', 'checkpoint')
  break_it(state if suffix is None else run.Prefix(run.Steps()[-1]) + suffix, rng)


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
    named = 'skipped: ' in done.out or name == '`checkpoint` bit-flipped'
    yield suite_lib.Ended(name, done, 0, message, named and run.Steps()[-1] == steps[-1] + 2)
    shutil.rmtree(run.folder)
  run = base.Copy('all')
  for step in steps:
    Truncate(run.Prefix(step) + _DATA, rng)
  before, done = run.State(), run.Train()
  yield suite_lib.Ended('all truncated: refused by name', done, 2, f'{run.Prefix(steps[0])}: ', run.State() == before)
