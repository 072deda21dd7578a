"""Which labels of the target a stage is given: exactly so many as its share says, and never more.

The training stream chooses an utterance by the hash of its name, so a share of a few hundred utterances gives more or
fewer than it says. Resolve therefore gives the trainer the share that selects floor(share * N) of the N utterances that
the training stream accepts. Shares of one seed stay nested.
"""

import bisect
import dataclasses
import fractions
import functools
import math
import os

from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.config import registry
from fm_lingvo.data import dataset
from fm_lingvo.data import example_filter
from fm_lingvo.utils import audio as audio_format
from fm_lingvo.utils import files as file_system

from . import plan
from .stage_spec import Settings
from .stage_spec import Stage


class Labels:
  """The labels of the data sets that stages adapt to."""

  def __init__(self, settings: Settings):
    self._settings = settings
    self.Of = functools.cache(self._Read)

  def _Read(self, name: str) -> 'TargetLabels':
    return TargetLabels(os.path.join(self._settings.data_dir, name))

  def Resolve(self, stages: dict[str, Stage]) -> dict[str, Stage]:
    """The stages whose target is there, with the knob `label_share` that selects the right number of utterances.

    Raises:
      errors.ConfigError: a share is no utterance, or a data set is incomplete.
    """
    return {
      run: dataclasses.replace(stage, bindings={**stage.bindings, 'label_share': self.Of(stage.target).Share(stage)})
      if 0 < stage.share < 1
      else stage
      for run, stage in stages.items()
      if file_system.Exists(os.path.join(self._settings.data_dir, stage.target))
    }

  def Given(self, stage: Stage) -> list[dict]:
    """Rows of the manifest whose labels a resolved stage is given."""
    return self.Of(stage.target).Given(stage) if stage.share else []


class TargetLabels:
  """The labels of one data set."""

  def __init__(self, path: str):
    """Reads the manifest.

    Raises:
      errors.ConfigError: the data set is not there, or the training stream accepts no utterance of it.
    """
    self._path = path
    try:
      dataset.ReadDataset(self._path)
    except dataset.DatasetError as e:
      raise errors.ConfigError(str(e)) from e
    rows = list(dataset.ReadManifest(self._path))
    self.train = [row for row in rows if row['split'] == 'train']
    self.test = [row for row in rows if row['split'] == 'test']
    accepts = _Acceptance()
    self.usable = [row for row in self.train if accepts(row)]
    if not self.usable:
      raise errors.ConfigError(f'{self._path}: no usable training utterance')
    self._buckets = functools.cache(self._Buckets)

  def Given(self, stage: Stage) -> list[dict]:
    """Rows of the manifest whose labels a resolved stage is given."""
    if stage.share == 1:
      return self.usable
    limit = round(stage.bindings['label_share'] * example_filter.SHARE_BUCKETS)
    return [row for row, bucket in zip(self.usable, self._buckets(stage.bindings['label_seed'])) if bucket < limit]

  def Share(self, stage: Stage) -> float:
    """The smallest share that selects the right number; utterances of one bucket at the border stay out together."""
    count = math.floor(fractions.Fraction(str(stage.share)) * len(self.usable))
    if not count:
      raise errors.ConfigError(
        f'{self._path}: {100 * stage.share:g} % of {len(self.usable)} usable training '
        f'utterances is none; {stage.run} needs more speech'
      )
    buckets = sorted(self._buckets(stage.bindings['label_seed']))
    chosen = [bucket for bucket in buckets if bucket < buckets[count]]
    if not chosen:
      raise errors.ConfigError(f'{self._path}: the utterances of {stage.run} cannot be told apart')
    return (chosen[-1] + 1) / example_filter.SHARE_BUCKETS

  def _Buckets(self, seed):
    """Hash bucket of each usable utterance, list of int."""
    with tf.Graph().as_default(), tf.Session() as sess:
      return sess.run(example_filter.ShareBuckets(tf.constant([row['utt_id'] for row in self.usable]), seed)).tolist()


def Minutes(rows: list[dict]) -> float:
  """Length of the utterances of a manifest's rows."""
  return sum(row['duration'] for row in rows) / 60


def TrainStream():
  """StreamParams of the target's labeled training speech, the same in every stage but for the share."""
  experiment = registry.Import('asr.FullFinetune')()
  experiment.max_seconds = plan.COMMON['max_seconds']
  return experiment.Train().streams.labeled


def _Acceptance():
  """Function that says whether the training stream accepts a row of the manifest, as example_filter.FilterScan does."""
  p = TrainStream()
  bounds = [round(bound * audio_format.SAMPLE_RATE) for bound in p.bucket_upper_bound_seconds]
  max_labels = example_filter.MaxLabels(bounds, p.max_chars_per_second)
  shortest = max(1, round(p.min_seconds * audio_format.SAMPLE_RATE))

  def _Accepts(row):
    samples = round(row['duration'] * audio_format.SAMPLE_RATE)
    return (
      bool(row['text'].strip())
      and shortest <= samples <= bounds[-1]
      and len(row['text']) + 1 <= max_labels[bisect.bisect_left(bounds, samples)]
    )

  return _Accepts
