"""Lists a run's checkpoints on disk, in the order in which a resumed run tries them.

A checkpoint consists of the files PREFIX.index and PREFIX.data-*; the file `checkpoint` in the same folder names the
newest one. TensorFlow stores a checksum for each tensor, so reading a tensor detects flipped bits.
"""

import os
import re
import shutil

from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.checkpoints import weights_file
from fm_lingvo.utils import files
from fm_lingvo.utils import suggest

BEST = 'best'  # Folder below a run's that keeps its best checkpoints; its file `checkpoint` names the best one.
NEWEST = 'newest'  # For Find.
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


def Find(path: str, name: str | None = None) -> str:
  """Returns the prefix of a run's checkpoint.

  Args:
    path: Folder of the run.
    name: Prefix of a checkpoint, its name in the run's train or best folder, or one of BEST, the best by
      task.train.best_metric, and NEWEST; None: BEST if the run keeps best checkpoints, else NEWEST.

  Raises:
    errors.ConfigError: There is no such checkpoint, or the run has none.
  """
  exported = weights_file.In(path)
  if exported:
    if name not in (None, BEST, NEWEST):
      raise errors.ConfigError(f'--checkpoint={name}: {path} has one set of weights only, {weights_file.MODEL}')
    return exported
  if weights_file.AdapterIn(path):
    raise errors.ConfigError(f'{path}: adapters alone; expected the run that they are for, and --adapter={path}')
  folders = [os.path.join(path, 'train'), os.path.join(path, BEST)]
  best = Best(path) if name in (None, BEST) else None
  if best:
    return best
  if name == BEST:
    raise errors.ConfigError(
      f'--checkpoint={BEST}: {path} keeps no best checkpoint; expected a run with task.train.best_metric'
    )
  found = Prefixes(folders[0])
  if name not in (None, NEWEST):
    for prefix in (name, *(os.path.join(folder, name) for folder in folders)):
      if tf.io.gfile.exists(prefix + '.index'):
        return prefix
    nearest = suggest.Nearest(name, [os.path.basename(f) for f in found] + [BEST, NEWEST])
    raise errors.ConfigError(f'{name}: no such checkpoint, here or in {folders[0]}' + suggest.DidYouMean(nearest))
  if not found:
    raise errors.ConfigError(f'{folders[0]}: no checkpoint (ckpt-*.index) in it yet')
  return found[0]


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
  if files.IsRemote(folder) or not os.path.isdir(folder):
    return
  for entry in os.listdir(folder):
    if re.fullmatch(r'ckpt-\d+_temp', entry):
      shutil.rmtree(os.path.join(folder, entry))
    elif re.fullmatch(r'ckpt-\d+\.index\.tempstate\d+', entry):
      os.remove(os.path.join(folder, entry))
