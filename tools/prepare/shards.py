"""Decodes, checks and writes the utterances of one shard: the part of data preparation that runs on the workers.

What flows through Beam are the shards' names only. A shard's utterances are in a file beside it, its audio never leaves
the worker, and it is written in the order of its utterance ids, so its bytes depend on the input alone.
"""

import dataclasses
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

LISTING_SUFFIX = '.listing'  # A shard's utterances, signed and pickled, beside it until it is written.
ROWS_SUFFIX = '.rows.jsonl'  # A line per utterance of a shard beside it: merged into the manifest, then removed.


@dataclasses.dataclass(frozen=True)
class Limits:
  """What an utterance must satisfy."""

  min_duration: float = 0.3  # Seconds.
  max_duration: float = 30.0  # Seconds.
  silence_dbfs: float = -55.0  # The loudest 100 ms must be above this.
  min_chars_per_second: float = 0.5
  max_chars_per_second: float = 24.0
  require_text: bool = False


def LoadUtterance(utterance, limits):
  """Decodes and checks one importers.Utterance.

  Args:
    utterance: an importers.Utterance.
    limits: Limits.

  Returns:
    A record, see dataset.FEATURES.

  Raises:
    audio.Rejected: with the first check that failed.
  """
  if limits.require_text and not utterance.text:
    raise audio.Rejected('no_text', 'no transcript, or no word in it')
  samples = utterance.load(limits.max_duration)
  audio.CheckSpeech(
    samples, min_duration=limits.min_duration, max_duration=limits.max_duration, silence_dbfs=limits.silence_dbfs
  )
  duration = len(samples) / audio_format.SAMPLE_RATE
  audio.CheckText(
    utterance.text,
    duration,
    min_rate=limits.min_chars_per_second,
    max_rate=limits.max_chars_per_second,
    declared_duration=utterance.declared_duration,
  )
  return {
    'utt_id': utterance.utt_id,
    'audio': samples.astype('<i2').tobytes(),
    'text': utterance.text,
    'speaker': utterance.speaker,
    'domain': utterance.domain,
    'duration': duration,
  }


def _Sign(key, content):
  return hmac.digest(key, content, 'sha256')


def WriteListings(directory, utterances, shard_of, key):
  """Writes a listing per shard that has utterances; returns the shards' names, sorted.

  Args:
    directory: where the shards will be written.
    utterances: importers.Utterance, in any order.
    shard_of: utterance -> shard name.
    key: bytes that only this preparation knows; a listing of anybody else is not unpickled.
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
  """Shard name -> the shard and its rows in `directory`, from its listing there; yields the name.

  Both files are written under a name of their own and renamed, so that a bundle that the runner repeats does no harm.
  """

  def __init__(self, directory, limits, key):
    super().__init__()
    self._key = key
    self._directory = directory
    self._limits = limits

  def process(self, name):
    import tensorflow as tf  # Heavy, and needed on the workers only.

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
