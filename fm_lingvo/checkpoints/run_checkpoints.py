"""Lists a run's checkpoints on disk, in the order in which a resumed run tries them.

A checkpoint consists of the files PREFIX.index and PREFIX.data-*; the file `checkpoint` in the same folder names the
newest one. TensorFlow stores a checksum for each tensor, so reading a tensor detects flipped bits.
"""

import os
import re
import shutil

from lingvo import compat as tf

from fm_lingvo.utils import files

BEST = 'best'  # Folder below a run's that keeps its best checkpoints; its file `checkpoint` names the best one.
_STEP = re.compile(r'ckpt-(\d+)$')


def Named(folder: str) -> str | None:
  """Returns the prefix that the file `checkpoint` of a train folder names, or None; the checkpoint may not exist.

  The prefix is always in `folder`, even if the folder was moved after the file was written.
  """
  try:
    state = tf.train.get_checkpoint_state(folder)
  except ValueError:  # An empty file.
    return None
  if not state or not state.model_checkpoint_path:
    return None
  return os.path.join(folder, os.path.basename(state.model_checkpoint_path))


def Step(prefix: str) -> int:
  """Returns the step in the name of a checkpoint, -1 if it has none."""
  found = _STEP.search(prefix)
  return int(found.group(1)) if found else -1


def Exists(prefix: str) -> bool:
  """Whether a checkpoint has an index; its data may be missing."""
  return tf.io.gfile.exists(prefix + '.index')


def _Glob(pattern: str) -> list[str]:
  return tf.io.gfile.glob(files.LiteralFolder(pattern))


def Prefixes(folder: str) -> list[str]:
  """Returns the checkpoints of a train folder in the order to try them.

  The one that the file `checkpoint` names comes first, then all others, newest first.
  """
  found = [path[: -len('.index')] for path in _Glob(os.path.join(folder, 'ckpt-*.index'))]
  found.sort(key=Step, reverse=True)
  named = Named(folder)
  first = [named] if named and Exists(named) else []
  same = {os.path.abspath(prefix) for prefix in first}
  return first + [prefix for prefix in found if os.path.abspath(prefix) not in same]


def Newest(folder: str) -> str | None:
  """Returns the checkpoint of a train folder to try first, or None."""
  return next(iter(Prefixes(folder)), None)


def Numbered(folder: str, but: str | None = None) -> list[str]:
  """Returns the checkpoints of a train folder that have a step in their name, oldest first, without the one of `but`.

  Args:
    folder: The train folder.
    but: Prefix of the checkpoint to leave out, or None.
  """
  steps = (-1, Step(but or ''))
  return sorted((prefix for prefix in Prefixes(folder) if Step(prefix) not in steps), key=Step)


def Best(run: str) -> str | None:
  """Returns the prefix of the best checkpoint that a run's folder keeps (task.train.best_metric), or None."""
  named = Named(os.path.join(run, BEST))
  return named if named and Exists(named) else None


def Copy(prefix: str, folder: str) -> str:
  """Puts a checkpoint into another folder, as hard links where the file system has them; returns its prefix there.

  The index comes last: a copy that was cut short counts as no checkpoint.
  """
  tf.io.gfile.makedirs(folder)
  for path in sorted(_Glob(prefix + '.*'), key=lambda p: p.endswith('.index')):
    target = os.path.join(folder, os.path.basename(path))
    try:
      os.link(path, target)
    except FileExistsError:
      os.remove(target)  # It may be of a checkpoint that has been overwritten since.
      os.link(path, target)
    except OSError:  # No links here, or a remote file system.
      tf.io.gfile.copy(path, target, overwrite=True)
  return os.path.join(folder, os.path.basename(prefix))


def Remove(prefix: str) -> None:
  """Removes a checkpoint's files, the index first."""
  for path in sorted(_Glob(prefix + '.*'), key=lambda p: not p.endswith('.index')):
    tf.io.gfile.remove(path)


def SavedAt(prefix: str) -> float:
  """Returns when a checkpoint was written, in seconds since 1970."""
  return tf.io.gfile.stat(prefix + '.index').mtime_nsec / 1e9


def Problems(folder: str) -> list[str]:
  """Returns a line for each inconsistency in a train folder; whether checkpoints can be read is not checked."""
  lines = []
  state = os.path.join(folder, 'checkpoint')
  named = Named(folder)
  if tf.io.gfile.exists(state) and not named:
    lines.append(f'{state}: names no checkpoint, which TensorFlow never writes')
  elif named and not Exists(named):
    lines.append(f'{state}: names {os.path.basename(named)}, which does not exist')
  stems = {re.sub(r'\.data-\d+-of-\d+$', '', path) for path in _Glob(os.path.join(folder, 'ckpt-*.data-*'))}
  lines += [f'{stem}: has data but no index' for stem in sorted(stems) if not Exists(stem) and stem != named]
  return lines


def RemoveUnfinished(folder: str) -> None:
  """Removes partial checkpoints of a process that died while saving; only the folder's single writer may call it."""
  if '://' in folder or not os.path.isdir(folder):
    return
  for entry in os.listdir(folder):
    if re.fullmatch(r'ckpt-\d+_temp', entry):
      shutil.rmtree(os.path.join(folder, entry))
    elif re.fullmatch(r'ckpt-\d+\.index\.tempstate\d+', entry):
      os.remove(os.path.join(folder, entry))
