"""Which labels of the target a stage is given: exactly so many, whatever the hash of their names says.

The training stream chooses an utterance by its hash bucket, so a share of a few hundred gives more or fewer than it
says. The plan's shares are therefore nominal; Resolve puts the share in their place that holds the right number.
N: utterances of the target's training set that the training stream accepts.
"""

import bisect
import dataclasses
import fractions
import functools
import math
import os

from fm_lingvo import dataset
from fm_lingvo import errors


def Resolve(settings, stages):
  """The stages with the `label_share` that selects floor(share * N) utterances, never more.

  Shares of the same seed stay nested. Two utterances of the same bucket, of a million, cannot be told apart: if they
  lie at the border, both stay out.

  Args:
    settings: recipe_plan.Settings.
    stages: dict of Stages with nominal shares.

  Returns:
    dict: name -> Stage.

  Raises:
    errors.ConfigError: the target's data set is not there, or a share of it is no utterance.
  """
  return {name: dataclasses.replace(stage, knobs={**stage.knobs, 'label_share': _Share(settings, stage)})
          if 0 < stage.share < 1 else stage for name, stage in stages.items()}


def Count(share, size):
  """floor(share * size), of the share as it is written."""
  return math.floor(fractions.Fraction(str(share)) * size)


def Given(settings, stage):
  """Manifest rows of the utterances whose labels a resolved stage is given."""
  rows = Usable(settings)
  share = stage.knobs.get('label_share', 0.0)
  if not share:
    return []
  if share == 1:
    return rows
  threshold = round(share * _Accounting().SHARE_BUCKETS)
  return [row for row, bucket in zip(rows, _Buckets(rows, stage.knobs['label_seed'])) if bucket < threshold]


def TargetLabels(settings, stage):
  """(fraction of the N utterances, minutes) whose labels a resolved stage is given."""
  if not stage.share:
    return 0.0, 0.0
  given = Given(settings, stage)
  return len(given) / len(Usable(settings)), Minutes(given)


def Minutes(rows):
  """Length of utterances."""
  return sum(row['duration'] for row in rows) / 60


def Split(settings, split):
  """Manifest rows of the target's train, dev or test set, whether they can be used or not.

  Raises:
    errors.ConfigError: the data set is not there.
  """
  path = os.path.join(settings.data_dir, 'target')
  try:
    dataset.ReadDataset(path)
  except dataset.DatasetError as e:
    raise errors.ConfigError(str(e)) from e
  return list(dataset.ReadManifest(path, split))


def Usable(settings):
  """Manifest rows of the N utterances.

  Raises:
    errors.ConfigError: the data set is not there, or there is no such utterance.
  """
  limits = _Limits()
  rows = [row for row in Split(settings, 'train') if _Accepts(row, *limits)]
  if not rows:
    raise errors.ConfigError(f'{settings.data_dir}/target: no usable training utterance')
  return rows


def Tokenizer():
  """The SentencePiece model of every stage, from the checkout."""
  return TrainStream().tokenizer_file


@functools.lru_cache(maxsize=1)
def TrainStream():
  """StreamParams of the target's labeled training speech, as every stage has it but for the share."""
  # Lingvo takes seconds to import.
  from fm_lingvo import quiet  # pylint: disable=g-import-not-at-top
  with quiet.HoldStderr():
    from params import asr  # pylint: disable=g-import-not-at-top
  return asr.FullFinetune().Train().streams.labeled


def _Limits():
  """(samples at least, upper bounds of the buckets in samples, labels at most in each bucket) of the stream."""
  p = TrainStream()
  bounds = [round(bound * dataset.SAMPLE_RATE) for bound in p.bucket_upper_bound_seconds]
  return (max(1, round(p.min_seconds * dataset.SAMPLE_RATE)), bounds,
          _Accounting().MaxLabels(bounds, p.max_chars_per_second))


def _Accepts(row, min_samples, bounds, max_labels):
  """Whether the training stream accepts an utterance of the manifest, as accounting.Accountant says it."""
  samples = round(row['duration'] * dataset.SAMPLE_RATE)
  if not row['text'].strip() or not min_samples <= samples <= bounds[-1]:
    return False
  return len(row['text']) + 1 <= max_labels[bisect.bisect_left(bounds, samples)]


def _Share(settings, stage):
  """The smallest share that selects the right number."""
  rows = Usable(settings)
  count = Count(stage.share, len(rows))
  if not count:
    raise errors.ConfigError(f'{settings.data_dir}/target: {100 * stage.share:g} % of {len(rows)} usable training '
                             f'utterances is none; {stage.name} needs more speech')
  buckets = sorted(_Buckets(rows, stage.knobs['label_seed']))
  while count < len(buckets) and buckets[count - 1] == buckets[count]:
    count -= 1
    if not count:
      raise errors.ConfigError(f'{settings.data_dir}/target: the utterances of {stage.name} cannot be told apart')
  return (buckets[count - 1] + 1) / _Accounting().SHARE_BUCKETS


def _Buckets(rows, seed):
  """The hash bucket of each utterance, list of int."""
  return _HashBuckets(tuple(row['utt_id'] for row in rows), seed)


@functools.lru_cache(maxsize=16)
def _HashBuckets(utt_ids, seed):
  accounting = _Accounting()
  from fm_lingvo import quiet  # pylint: disable=g-import-not-at-top
  from lingvo import compat as tf  # pylint: disable=g-import-not-at-top
  with quiet.HoldStderr(), tf.Graph().as_default(), tf.Session() as sess:
    return sess.run(accounting.ShareBuckets(tf.constant(utt_ids), seed)).tolist()


@functools.lru_cache(maxsize=1)
def _Accounting():
  from fm_lingvo import quiet  # pylint: disable=g-import-not-at-top
  with quiet.HoldStderr():
    from fm_lingvo import accounting  # pylint: disable=g-import-not-at-top
  return accounting
