"""Decodes, checks and writes the utterances of one shard: the part of data preparation that runs on the workers.

Only the names of the shards pass through Beam. The utterances of a shard are listed in a file in the same folder, and
audio never leaves its worker. A shard is written in the order of utterance ids, parts of one recording in the order of
time, so its bytes depend only on the input.
"""

import dataclasses
import hmac
import json
import os
import pickle
import uuid

import apache_beam as beam

from fm_lingvo.data import dataset
from fm_lingvo.utils import files as file_system

from . import load

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
  cut_unlabeled: bool = True  # Whether unlabeled recordings longer than max_duration are cut, not rejected.
  normalizer: str = 'prompts'  # Name of the normaliser of transcripts.


def _Sign(key, content):
  return hmac.digest(key, content, 'sha256')


def WriteListings(directory, utterances, shard_of, key):
  """Writes a listing for each shard with utterances; returns the sorted names of these shards.

  Args:
    directory: Directory of the shards.
    utterances: importers.Utterance, in any order.
    shard_of: Function: (utterance, id of the first utterance of its recording) -> name of its shard. Utterances of one
      recording and split are in one shard, so that it is decoded once for all.
    key: Secret bytes of this preparation; listings signed with another key are not unpickled.
  """
  by_shard = {}
  for group in load.Groups(utterances):
    for utterance in group:
      by_shard.setdefault(shard_of(utterance, group[0].utt_id), []).append(utterance)
  for name, listed in by_shard.items():
    with file_system.Open(os.path.join(directory, name + LISTING_SUFFIX), 'wb') as f:
      content = pickle.dumps(listed)
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
      for utterance, record, rejected in load.Load(utterances, self._limits):
        row = {'utt_id': utterance.utt_id}  # That of a piece, if it is cut.
        if rejected is None:
          shard.write(dataset.EncodeExample(record))
          row.update({key: record[key] for key in ('text', 'speaker', 'domain')}, duration=round(record['duration'], 6))
        else:
          row.update(
            source=file_system.Printable(utterance.source),
            reason=rejected.reason,
            detail=file_system.Printable(rejected.detail),
          )
        rows.write(json.dumps(row, ensure_ascii=False) + '\n')
        rows.flush()
    tf.io.gfile.rename(attempt + ROWS_SUFFIX, os.path.join(self._directory, name + ROWS_SUFFIX), overwrite=True)
    tf.io.gfile.rename(attempt, os.path.join(self._directory, name), overwrite=True)
    yield name
