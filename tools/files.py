"""Listing of local and remote directories, always in sorted order."""

import os

from fm_lingvo import dataset
from tools import importers


def LocalFolders(root):
  """Yields (directory, sorted file names) of a local tree, links followed; a folder that several links lead to comes once."""
  seen = set()
  for folder, folders, names in os.walk(root, followlinks=True):
    real = os.path.realpath(folder)
    if real in seen:
      folders.clear()
      continue
    seen.add(real)
    folders.sort()
    yield folder, sorted(names)


def Walk(root):
  """Yields (directory, sorted file names) of a tree, sorted."""
  if dataset.IsRemote(root):
    import tensorflow as tf  # pylint: disable=g-import-not-at-top
    walk = sorted((d, sorted(names)) for d, _, names in tf.io.gfile.walk(root))
  else:
    walk = sorted(LocalFolders(root))
  yield from walk


def RequireDirectory(importer, path):
  """The directory --input.

  Raises:
    importers.UsageError: it is unset or not a directory.
  """
  if not path:
    raise importers.UsageError(f'--importer={importer} needs --input=DIRECTORY')
  if dataset.IsRemote(path):
    import tensorflow as tf  # pylint: disable=g-import-not-at-top
    found = tf.io.gfile.isdir(path)
  else:
    found = os.path.isdir(path)
  if not found:
    raise importers.UsageError(f'--input={path}: no such directory')
  return path
