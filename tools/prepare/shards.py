"""Decodes, checks and writes the utterances of one shard: the part of data preparation that runs on the workers.

Only the names of the shards pass through Beam. The utterances of a shard are listed in a file in the same folder, and
audio never leaves its worker. A shard is written in the order of utterance ids, so its bytes depend only on the input.
"""

import dataclasses
import functools
import hmac
import json
import os
import pickle
import uuid

import apache_beam as beam

from fm_lingvo.data import dataset
from fm_lingvo.utils import audio as audio_format
from fm_lingvo.utils import files as file_system

from ..common import audio
from ..common import normalize

LISTING_SUFFIX = '.listing'  # The utterances of a shard, signed and pickled; removed when rows are merged.
ROWS_SUFFIX = '.rows.jsonl'  # A line per utterance of a shard; merged into the manifest, then removed.


@dataclasses.dataclass(frozen=True)
class Limits:
  """Limits that an utterance must satisfy."""

  min_duration: float = 0.3  # Seconds.
  max_duration: float = 30.0  # Seconds.
  silence_dbfs: float = -55.0  # The loudest 100 ms must be above this.
  min_chars_per_second: float = 0.5
  max_chars_per_second: float = 24.0
  require_text: bool = False


def LoadUtterance(utterance, limits):
  """Decodes and checks one importers.Utterance.

  Args:
    utterance: An importers.Utterance.
    limits: Limits.

  Returns:
    A record, see dataset.FEATURES.

  Raises:
    audio.Rejected: A check failed; the reason is that of the first one.
  """
  text = utterance.text
  if utterance.language is not None:
    text = normalize.NormalizeText(text, utterance.language)
  if limits.require_text and not text:
    raise audio.Rejected('no_text', 'no transcript, or no word in it')
  load = utterance.load or functools.partial(audio.Decode, utterance.source)
  samples = load(limits.max_duration)
  audio.CheckSpeech(
    samples, min_duration=limits.min_duration, max_duration=limits.max_duration, silence_dbfs=limits.silence_dbfs
  )
  duration = len(samples) / audio_format.SAMPLE_RATE
  audio.CheckText(
    text,
    duration,
    min_rate=limits.min_chars_per_second,
    max_rate=limits.max_chars_per_second,
    declared_duration=utterance.declared_duration,
  )
  return {
    'utt_id': utterance.utt_id,
    'audio': samples.astype('<i2').tobytes(),
    'text': text,
    'speaker': utterance.speaker,
    'domain': utterance.domain,
    'duration': duration,
  }


def _Sign(key, content):
  return hmac.digest(key, content, 'sha256')


def WriteListings(directory, utterances, shard_of, key):
  """Writes a listing for each shard with utterances; returns the sorted names of these shards.

  Args:
    directory: Directory of the shards.
    utterances: importers.Utterance, in any order.
    shard_of: Function: utterance -> name of its shard.
    key: Secret bytes of this preparation; listings signed with another key are not unpickled.
  """
  by_shard = {}
  for utterance in utterances:
    by_shard.setdefault(shard_of(utterance), []).append(utterance)
  for name, listed in by_shard.items():
    with file_system.Open(os.path.join(directory, name + LISTING_SUFFIX), 'wb') as f:
      content = pickle.dumps(sorted(listed, key=lambda u: u.utt_id))
      f.write(_Sign(key, content) + content)
  return sorted(by_shard)


class WriteShard(beam.DoFn):
  """Writes a shard and its rows to `directory`, from the listing there; maps the shard's name to itself.

  Both files are written under temporary names and renamed, so that the runner may safely repeat a bundle.
  """

  def __init__(self, directory, limits, key):
    super().__init__()
    self._key = key
    self._directory = directory
    self._limits = limits

  def process(self, name):
    import tensorflow as tf  # Slow to import, and only needed on the workers.

    with file_system.Open(os.path.join(self._directory, name + LISTING_SUFFIX), 'rb') as f:
      signature, content = f.read(32), f.read()
    if not hmac.compare_digest(signature, _Sign(self._key, content)):
      raise ValueError(f'{name}{LISTING_SUFFIX}: not written by this preparation')
    utterances = pickle.loads(content)
    attempt = os.path.join(self._directory, f'.{name}.{uuid.uuid4().hex}')
    with tf.io.TFRecordWriter(attempt) as shard, file_system.Open(attempt + ROWS_SUFFIX, 'w') as rows:
      for utterance in utterances:
        row = {'utt_id': utterance.utt_id}
        try:
          record = LoadUtterance(utterance, self._limits)
          shard.write(dataset.EncodeExample(record))
          row.update({key: record[key] for key in ('text', 'speaker', 'domain')}, duration=round(record['duration'], 6))
        except audio.Rejected as e:
          row.update(source=utterance.source, reason=e.reason, detail=e.detail)
        rows.write(json.dumps(row, ensure_ascii=False) + '\n')
        rows.flush()
    tf.io.gfile.rename(attempt + ROWS_SUFFIX, os.path.join(self._directory, name + ROWS_SUFFIX), overwrite=True)
    tf.io.gfile.rename(attempt, os.path.join(self._directory, name), overwrite=True)
    yield name
