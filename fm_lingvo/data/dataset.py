"""The format of a data set on disk: TFRecord shards of 16 kHz speech, a manifest, a report and `dataset.json`.

Layout of the directory:
  train-00000-of-00004.tfrecord   uncompressed TFRecord of tf.train.Example, see FEATURES; the same for dev and test
  manifest.jsonl                  one JSON object per utterance with MANIFEST_KEYS
  report.json                     hours, utterances, rejected utterances with reasons
  dataset.json                    shards, hours and settings; written last, so a directory without it is incomplete

The module does not import TensorFlow at the top level; only remote paths (gs://, ...) and the codec import it.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any

from fm_lingvo import errors
from fm_lingvo.utils import audio
from fm_lingvo.utils import files
from fm_lingvo.utils import text_lines

SPLITS = ('train', 'dev', 'test')
FORMAT = 'fm_lingvo.dataset'
VERSION = 1

# Feature of a record -> kind. `audio` is 16 kHz mono PCM16, little endian; `text` is UTF-8, empty for unlabeled
# utterances; `duration` is in seconds.
FEATURES = {
  'utt_id': 'bytes',
  'audio': 'bytes',
  'text': 'bytes',
  'speaker': 'bytes',
  'domain': 'bytes',
  'duration': 'float',
}
MANIFEST_KEYS = ('utt_id', 'split', 'shard', 'text', 'speaker', 'domain', 'duration')

DatasetError = errors.DatasetError


@dataclasses.dataclass(frozen=True)
class Shard:
  """One TFRecord file of a data set."""

  name: str
  utterances: int
  size: int  # Bytes.


@dataclasses.dataclass(frozen=True)
class Dataset:
  """The contents of `dataset.json`."""

  path: str
  shards: dict  # Split -> tuple of Shard.
  hours: dict  # Split -> float.
  domains: tuple
  settings: dict  # How the data set was prepared.

  def Utterances(self, split: str) -> int:
    """Returns the number of utterances of a split."""
    return sum(shard.utterances for shard in self.shards[split])


def _Hash(utt_id: str, purpose: bytes, buckets: int) -> int:
  digest = hashlib.blake2b(utt_id.encode('utf-8'), digest_size=8, person=purpose)
  return int.from_bytes(digest.digest(), 'big') % buckets


def SplitOf(utt_id: str, dev_percent: float = 5.0, test_percent: float = 5.0) -> str:
  """Returns the split of an utterance: 'train', 'dev' or 'test'.

  The split depends only on the id and the two shares. The test set is the lower end of the hash's range and the dev
  set the upper end, so that changing one share does not change the other set.

  Args:
    utt_id: Id of the utterance.
    dev_percent: Share of the dev set in percent.
    test_percent: Share of the test set in percent.

  Returns:
    One of SPLITS.

  Raises:
    ValueError: A share is negative, or their sum exceeds 100.
  """
  if not (dev_percent >= 0 and test_percent >= 0 and dev_percent + test_percent <= 100):  # Also true for NaN.
    raise ValueError(
      f'dev_percent = {dev_percent}, test_percent = {test_percent}: expected shares >= 0 with a sum <= 100'
    )
  percent = _Hash(utt_id, b'split', 1_000_000) / 10_000
  if percent < test_percent:
    return 'test'
  return 'dev' if percent >= 100 - dev_percent else 'train'


def ShardIndex(utt_id: str, num_shards: int) -> int:
  """Returns the shard index of an utterance within its split; the hash is independent of that of SplitOf."""
  return _Hash(utt_id, b'shard', num_shards)


def ShardName(split: str, index: int, num_shards: int) -> str:
  """Returns the file name of a shard, e.g. train-00000-of-00004.tfrecord."""
  return f'{split}-{index:05d}-of-{num_shards:05d}.tfrecord'


def ReadDataset(path: str, check_shards: bool = True) -> Dataset:
  """Reads and validates a data set.

  Args:
    path: Directory of the data set, local or remote.
    check_shards: Whether to compare the sizes of the shards with dataset.json.

  Returns:
    A Dataset.

  Raises:
    DatasetError: The directory is missing, incomplete or of another format, or a shard is missing or cut off.
  """
  info_path = os.path.join(path, 'dataset.json')
  if not files.Exists(info_path):
    what = 'no dataset.json, so not a complete data set' if files.Exists(path) else 'no such data set'
    hint = files.HintBeside(path) or f'; make one with: fm-prepare --output={path} ...'
    raise DatasetError(f'{path}: {what}{hint}')
  with files.Open(info_path, 'rb') as f:
    try:
      info = json.loads(f.read())
    except ValueError as e:  # Not JSON or not UTF-8.
      raise DatasetError(f'{info_path}: not JSON ({e})') from e
  expected = {'format': FORMAT, 'version': VERSION, 'sample_rate': audio.SAMPLE_RATE}
  for key, value in expected.items():
    found = info.get(key) if isinstance(info, dict) else None
    if found != value:
      raise DatasetError(f'{info_path}: {key} = {found!r}, expected {value!r}')
  try:
    shards = {split: tuple(Shard(**shard) for shard in info['splits'][split]['shards']) for split in SPLITS}
    hours = {split: float(info['splits'][split]['hours']) for split in SPLITS}
    result = Dataset(path, shards, hours, tuple(info['domains']), info['settings'])
    for shard in (s for split in SPLITS for s in shards[split]):
      if not (isinstance(shard.name, str) and isinstance(shard.utterances, int) and isinstance(shard.size, int)):
        raise TypeError(f'a shard of {shard.name!r}, {shard.utterances!r} utterances, {shard.size!r} bytes')
  except (KeyError, TypeError, ValueError) as e:
    raise DatasetError(f'{info_path}: malformed entry ({type(e).__name__}: {e})') from e
  if check_shards:
    for shard in (s for split in SPLITS for s in shards[split]):
      shard_path = os.path.join(path, shard.name)
      size = files.FileSize(shard_path) if files.Exists(shard_path) else None
      if size != shard.size:
        raise DatasetError(
          f'{shard_path}: {"missing" if size is None else f"{size} bytes"}, expected {shard.size} bytes'
        )
  return result


def ReadManifest(path: str, split: str | None = None) -> Iterator[dict[str, Any]]:
  """Yields the manifest's rows, dicts with MANIFEST_KEYS, of one split or (None) of all.

  Raises:
    DatasetError: The manifest is missing, or a line is not a valid row.
  """
  name = os.path.join(path, 'manifest.jsonl')
  if not files.Exists(name):
    raise DatasetError(f'{name}: missing')
  for number, line in text_lines.Lines(name):
    try:
      row = json.loads(line)
      missing = set(MANIFEST_KEYS) - set(row)
    except (ValueError, TypeError) as e:
      raise DatasetError(f'{name}:{number}: not a JSON object ({e})') from e
    if missing:
      raise DatasetError(f'{name}:{number}: no {", ".join(sorted(missing))}')
    if split is None or row['split'] == split:
      yield row


def EncodeExample(record: dict[str, Any]) -> bytes:
  """Serialises a record, a dict with the keys of FEATURES (values str, bytes or float), as a tf.train.Example."""
  import tensorflow as tf

  if set(record) != set(FEATURES):
    raise ValueError(f'record has the features {sorted(record)}, expected {sorted(FEATURES)}')
  features = {}
  for name, kind in FEATURES.items():
    value = record[name]
    if kind == 'float':
      features[name] = tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
    else:
      value = value.encode('utf-8') if isinstance(value, str) else value
      features[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
  example = tf.train.Example(features=tf.train.Features(feature=features))
  return example.SerializeToString(deterministic=True)


def ReadShard(path: str) -> Iterator[dict[str, Any]]:
  """Yields the records of a shard, dicts with the keys of FEATURES: texts as str, audio as bytes.

  Raises:
    DatasetError: The shard is damaged.
  """
  import tensorflow as tf
  from google.protobuf import message
  from tensorflow.python.util import deprecation

  try:
    with deprecation.silence():  # The alternative that the warning names needs eager execution.
      records = tf.compat.v1.io.tf_record_iterator(path)
    for number, record in enumerate(records):
      features = tf.train.Example.FromString(record).features.feature
      values = {
        name: features[name].float_list.value if kind == 'float' else features[name].bytes_list.value
        for name, kind in FEATURES.items()
      }
      for name, found in values.items():
        if len(found) != 1:
          raise DatasetError(f'{path}: record {number}: {len(found)} values of {name}, expected 1')
      yield {
        name: found[0].decode('utf-8') if name != 'audio' and FEATURES[name] == 'bytes' else found[0]
        for name, found in values.items()
      }
  except (message.DecodeError, tf.errors.DataLossError, UnicodeDecodeError) as e:
    raise DatasetError(f'{path}: damaged ({errors.Reason(e)})') from e


def FeatureSpec() -> dict[str, Any]:
  """Returns the spec of FEATURES for tf.io.parse_single_example."""
  import tensorflow as tf

  kinds = {'bytes': tf.string, 'float': tf.float32}
  return {name: tf.io.FixedLenFeature([], kinds[kind]) for name, kind in FEATURES.items()}
