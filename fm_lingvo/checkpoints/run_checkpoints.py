"""A run's checkpoints on disk: which there are, and in which order a resumed run tries them.

A checkpoint is the files PREFIX.index and PREFIX.data-*; the file `checkpoint` beside them names the newest. TensorFlow
keeps a checksum of each tensor, so whatever reads one learns of flipped bits.
"""

import os
import re
import shutil

from lingvo import compat as tf

_STEP = re.compile(r'ckpt-(\d+)$')


def Named(folder: str) -> str | None:
  """The prefix that the file `checkpoint` of a train folder names, whether it exists or not; None if there is no name.

  It is one of this folder, wherever the folder was when the file was written.
  """
  try:
    state = tf.train.get_checkpoint_state(folder)
  except ValueError:  # An empty file.
    return None
  if not state or not state.model_checkpoint_path:
    return None
  return os.path.join(folder, os.path.basename(state.model_checkpoint_path))


def Step(prefix: str) -> int:
  """Step in the name of a checkpoint, -1 if there is none."""
  found = _STEP.search(prefix)
  return int(found.group(1)) if found else -1


def Exists(prefix: str) -> bool:
  """Whether a checkpoint has an index; its data may be missing."""
  return tf.io.gfile.exists(prefix + '.index')


def Prefixes(folder: str) -> list[str]:
  """Checkpoints of a train folder, the one to try first first: the named one, then all others, the newest first."""
  found = [path[: -len('.index')] for path in tf.io.gfile.glob(os.path.join(folder, 'ckpt-*.index'))]
  found.sort(key=Step, reverse=True)
  named = Named(folder)
  first = [named] if named and Exists(named) else []
  same = {os.path.abspath(prefix) for prefix in first}
  return first + [prefix for prefix in found if os.path.abspath(prefix) not in same]


def Newest(folder: str) -> str | None:
  """The checkpoint of a train folder to try first, or None."""
  return next(iter(Prefixes(folder)), None)


def Numbered(folder: str, but: str | None = None) -> list[str]:
  """Checkpoints of a train folder whose names have a step, the oldest first, without the one of the prefix `but`."""
  steps = (-1, Step(but or ''))
  return sorted((prefix for prefix in Prefixes(folder) if Step(prefix) not in steps), key=Step)


def SavedAt(prefix: str) -> float:
  """When a checkpoint was written, in seconds since the epoch."""
  return tf.io.gfile.stat(prefix + '.index').mtime_nsec / 1e9


def Problems(folder: str) -> list[str]:
  """One line for each sign, besides unreadable checkpoints, that the folder is not as a trainer left it."""
  lines = []
  state = os.path.join(folder, 'checkpoint')
  named = Named(folder)
  if tf.io.gfile.exists(state) and not named:
    lines.append(f'{state}: names no checkpoint, so it is not as TensorFlow writes it')
  elif named and not Exists(named):
    lines.append(f'{state}: names {os.path.basename(named)}, which is not there')
  stems = {re.sub(r'\.data-\d+-of-\d+$', '', path) for path in tf.io.gfile.glob(os.path.join(folder, 'ckpt-*.data-*'))}
  lines += [f'{stem}: has data but no index' for stem in sorted(stems) if not Exists(stem) and stem != named]
  return lines


def RemoveUnfinished(folder: str) -> None:
  """Removes what a process that died while saving left; to be called by the only writer of the folder."""
  if '://' in folder or not os.path.isdir(folder):
    return
  for entry in os.listdir(folder):
    if re.fullmatch(r'ckpt-\d+_temp', entry):
      shutil.rmtree(os.path.join(folder, entry))
    elif re.fullmatch(r'ckpt-\d+\.index\.tempstate\d+', entry):
      os.remove(os.path.join(folder, entry))
