"""Scalars of a run, read from its TensorBoard event files.

A run is a folder with one folder of event files per data set: train, eval_devhuman,
eval_devsynthetic, ...
"""

import collections
import glob
import os

import numpy as np

from fm_lingvo import errors
from fm_lingvo.utils import suggest

# What TensorBoard calls a folder of a run, in a reader's words.
_DESCRIPTIONS = {
  'train': 'training data',
  'eval_devhuman': 'held-out human speech',
  'eval_testhuman': 'held-out human speech (test)',
  'eval_devsynthetic': 'held-out synthetic speech',
}

# One tag over steps: step, value and wall_time (seconds since the epoch) are arrays
# of the same length, by increasing step.
Series = collections.namedtuple('Series', 'step value wall_time')


def Describe(dataset):
  """The data set of a folder such as `eval_devhuman`, in words."""
  return _DESCRIPTIONS.get(dataset, dataset)


def Folders(run):
  """Sorted paths of the folders of a run that have event files.

  Raises:
    errors.ConfigError: No such run, or no event files in it.
  """
  if not os.path.isdir(run):
    raise errors.ConfigError(f'{run}: no such run directory')
  folders = sorted(
    {os.path.dirname(f) for f in glob.glob(os.path.join(glob.escape(run), '*', 'events.out.tfevents.*'))}
  )
  if not folders:
    raise errors.ConfigError(
      f'{run}: no event files (expected {os.path.join(run, "train")}'
      '/events.out.tfevents.* and one such folder per evaluated data set)'
    )
  return folders


def ReadRun(run):
  """Scalars of each data set of a run.

  Args:
    run: Folder of a run.

  Returns:
    dict data set (name of the folder with event files) -> dict tag -> Series.

  Raises:
    errors.ConfigError: No such folder, no event files, or none with a scalar.
  """
  folders = Folders(run)
  datasets = {os.path.basename(f): ReadScalars(f) for f in folders}
  datasets = {name: tags for name, tags in datasets.items() if tags}
  if not datasets:
    raise errors.ConfigError(
      f'{run}: event files without a scalar in {", ".join(os.path.basename(f) for f in folders)}'
    )
  return datasets


def ReadScalars(folder):
  """Scalars of all event files in a folder, as one run wrote them.

  A resumed run begins a new file at its checkpoint: from the first step of a newer
  file on, what older files say is dropped.

  Returns:
    dict tag -> Series.
  """
  parts = sorted(
    (_ReadFile(path) for path in glob.glob(os.path.join(glob.escape(folder), 'events.out.tfevents.*'))),
    key=lambda part: part[0],
  )
  merged = {}
  for _, tags in parts:
    if not tags:
      continue
    first = min(events[0].step for events in tags.values())
    merged = {tag: [e for e in events if e.step < first] for tag, events in merged.items()}
    for tag, events in tags.items():
      merged.setdefault(tag, []).extend(events)
  return {
    tag: Series(
      np.array([e.step for e in events]),
      np.array([e.value for e in events], np.float64),
      np.array([e.wall_time for e in events], np.float64),
    )
    for tag, events in sorted(merged.items())
    if events
  }


def _ReadFile(path):
  """(time of the first event, dict tag -> ScalarEvents by increasing step)."""
  # TensorBoard's reader brings TensorFlow along.
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  from tensorboard.backend.event_processing import event_accumulator

  keep_all, keep_one = 0, 1
  accumulator = event_accumulator.EventAccumulator(
    path,
    size_guidance={
      event_accumulator.SCALARS: keep_all,
      event_accumulator.IMAGES: keep_one,
      event_accumulator.AUDIO: keep_one,
      event_accumulator.HISTOGRAMS: keep_one,
      event_accumulator.COMPRESSED_HISTOGRAMS: keep_one,
      event_accumulator.TENSORS: keep_one,
    },
  )
  accumulator.Reload()
  tags = {}
  for tag in accumulator.Tags()[event_accumulator.SCALARS]:
    newest = {event.step: event for event in accumulator.Scalars(tag)}
    tags[tag] = [newest[step] for step in sorted(newest)]
  try:
    started = accumulator.FirstEventTimestamp()
  except ValueError:  # An empty file: the writer was killed before its first event.
    started = 0.0
  return started, tags


def Branch(run, datasets, branch=''):
  """The branch (prefix of tags) with a masked prediction task.

  Args:
    run: Folder of the run, for the error.
    datasets: What ReadRun returned.
    branch: Name wanted; '' for the only one there is.

  Raises:
    errors.ConfigError: There is none, not the one wanted, or a choice to make.
  """
  suffix = '/masked_accuracy'
  found = sorted({tag[: -len(suffix)] for tags in datasets.values() for tag in tags if tag.endswith(suffix)})
  if not found:
    every = sorted({tag for tags in datasets.values() for tag in tags})
    raise errors.ConfigError(f'{run}: no scalar BRANCH/masked_accuracy; tags found: {", ".join(every)}')
  if not branch and len(found) == 1:
    return found[0]
  if branch in found:
    return branch
  if not branch:
    raise errors.ConfigError(f'{run}: several branches, expected --branch=NAME with one of {", ".join(found)}')
  raise errors.ConfigError(f'{run}: --branch={branch}: no such branch{DidYouMean(branch, found)}')


def DidYouMean(name, known):
  """The end of an error: nearest name, or else all names."""
  return suggest.Hint(name, known) or f'; expected one of {", ".join(sorted(known)) or "(none)"}'
