"""Truncated, bit-flipped, empty and foreign checkpoints, and a file `checkpoint` that names a missing one."""

import os
import shutil

from lingvo import compat as tf

from . import outcome
from . import processes
from . import tiny


def _Data(run, step):
  return tiny.Prefix(run, step) + '.data-00000-of-00001'


def _Index(run, step):
  return tiny.Prefix(run, step) + '.index'


def FlipBit(path, rng):
  """Flips one bit of a file."""
  with open(path, 'r+b') as f:
    at = rng.randrange(os.path.getsize(path))
    f.seek(at)
    byte = f.read(1)[0]
    f.seek(at)
    f.write(bytes([byte ^ (1 << rng.randrange(8))]))


def Truncate(path, rng):
  """Cuts a file off somewhere, its beginning and its end left out."""
  os.truncate(path, rng.randrange(1, os.path.getsize(path) - 1))


def Foreign(run, step):
  """Puts a whole checkpoint of another model in place of one."""
  with tf.Graph().as_default(), tf.Session() as sess:
    variables = [
      tf.get_variable('task/other/w/var', [3, 3]),
      tf.get_variable('global_step', [], tf.int64, trainable=False, initializer=tf.zeros_initializer()),
    ]
    sess.run(tf.global_variables_initializer())
    tf.train.Saver(variables).save(sess, tiny.Prefix(run, step), write_meta_graph=False, write_state=False)


def Poison(run, step):
  """Rewrites a checkpoint with NaN in one weight."""
  values = tiny.Weights(run, step)
  name = next(n for n in sorted(values) if n.endswith('/var') and values[n].dtype.kind == 'f')
  values[name] = values[name] * float('nan')
  names = sorted(values)
  with tf.Graph().as_default(), tf.Session() as sess:
    sess.run(
      tf.raw_ops.SaveV2(
        prefix=tiny.Prefix(run, step),
        tensor_names=names,
        shape_and_slices=[''] * len(names),
        tensors=[tf.constant(values[n]) for n in names],
      )
    )


# Name -> function (run, steps, rng) that does it to the newest checkpoint.
NEWEST = {
  'data truncated': lambda run, steps, rng: Truncate(_Data(run, steps[-1]), rng),
  'data bit-flipped': lambda run, steps, rng: FlipBit(_Data(run, steps[-1]), rng),
  'data empty': lambda run, steps, rng: os.truncate(_Data(run, steps[-1]), 0),
  'data missing': lambda run, steps, rng: os.remove(_Data(run, steps[-1])),
  'index truncated': lambda run, steps, rng: Truncate(_Index(run, steps[-1]), rng),
  'index bit-flipped': lambda run, steps, rng: FlipBit(_Index(run, steps[-1]), rng),
  'index empty': lambda run, steps, rng: os.truncate(_Index(run, steps[-1]), 0),
  'foreign': lambda run, steps, rng: Foreign(run, steps[-1]),
  'NaN in a weight': lambda run, steps, rng: Poison(run, steps[-1]),
  'index missing, as `checkpoint` names it': lambda run, steps, rng: os.remove(_Index(run, steps[-1])),
  '`checkpoint` empty': lambda run, steps, rng: os.truncate(os.path.join(run, 'train', 'checkpoint'), 0),
  '`checkpoint` bit-flipped': lambda run, steps, rng: FlipBit(os.path.join(run, 'train', 'checkpoint'), rng),
}


def Run(folder, size):
  """Breaks copies of one run, resumes each; returns a list of Case."""
  rng = size.Random('checkpoints')
  data, base = os.path.join(folder, 'data'), os.path.join(folder, 'base')
  tiny.WriteData(data)
  done = processes.Run(tiny.Command(base, data), folder)
  steps = tiny.Steps(base)
  assert done.code == 0 and len(steps) == 3, done
  cases = []
  for name in size.Pick(list(NEWEST), ['data bit-flipped', 'index missing, as `checkpoint` names it']):
    run = tiny.Copy(base, os.path.join(folder, 'broken'))
    NEWEST[name](run, steps, rng)
    done = processes.Run(tiny.Command(run, data, max_steps=steps[-1] + 2), folder)
    # One flipped bit may be one that is not read, such as a time.
    expected = 'resumed from' if name.startswith('`checkpoint`') else f'resumed from {tiny.Prefix(run, steps[-2])}'
    told = 'passed over' in done.out or name == '`checkpoint` bit-flipped'
    cases.append(outcome.Ended(name, done, 0, expected, told and tiny.Steps(run)[-1] == steps[-1] + 2))
    shutil.rmtree(run)
  run = tiny.Copy(base, os.path.join(folder, 'all'))
  for step in steps:
    Truncate(_Data(run, step), rng)
  before = _Files(run)
  done = processes.Run(tiny.Command(run, data), folder)
  cases.append(
    outcome.Ended('all truncated: refused by name', done, 2, f'{tiny.Prefix(run, steps[0])}: ', _Files(run) == before)
  )
  return cases


def _Files(run):
  """dict: name -> content of a run's checkpoints and configuration."""
  paths = [os.path.join(run, 'config.gin')] + [
    os.path.join(run, 'train', n)
    for n in os.listdir(os.path.join(run, 'train'))
    if n.startswith(('ckpt', 'checkpoint', 'trainer_params'))
  ]
  found = {}
  for path in paths:
    with open(path, 'rb') as f:
      found[path] = f.read()
  return found
