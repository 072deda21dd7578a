"""Reads the project's data sets without TensorFlow: utterances of a split, their audio and transcripts."""

import json
import os
import struct

import numpy as np

RATE = 16000  # Hz.


class Split:
  """Utterances of one split of a data set, in the order of its manifest.

  Attributes:
    texts: Transcripts, list of str.
    seconds: Durations, list of float.
  """

  def __init__(self, path, split, longest=float('inf')):
    """Reads the manifest and finds the records.

    Args:
      path: Folder of the data set.
      split: train, dev or test.
      longest: Seconds; longer utterances, and those without a transcript, are left out.
    """
    places = {}
    for name in sorted(os.listdir(path)):
      if name.startswith(f'{split}-') and name.endswith('.tfrecord'):
        places.update(_Places(os.path.join(path, name)))
    self.texts, self.seconds, self._places = [], [], []
    with open(os.path.join(path, 'manifest.jsonl'), encoding='utf-8') as f:
      for row in map(json.loads, f):
        if row['split'] == split and row['text'].strip() and row['duration'] <= longest:
          self.texts.append(' '.join(row['text'].split()))
          self.seconds.append(row['duration'])
          self._places.append(places[row['utt_id']])

  def Audio(self, i):
    """Samples of an utterance, float32 in [-1, 1)."""
    path, offset, size = self._places[i]
    return np.fromfile(path, '<i2', size // 2, offset=offset).astype(np.float32) / 32768


def _Places(path):
  """Yields (utt_id, (path, offset, size of the audio in bytes)) of a shard's records."""
  with open(path, 'rb') as f:
    start = 0
    while head := f.read(12):  # Length, and its checksum.
      (size,) = struct.unpack('<Q', head[:8])
      record = f.read(size)
      f.read(4)
      features = dict(_Features(record))
      begin, end = features['audio']
      name = slice(*features['utt_id'])
      yield record[name].decode(), (path, start + 12 + begin, end - begin)
      start += size + 16


def _Features(record):
  """Yields (name, (begin, end)) of the bytes features of a serialised tf.train.Example."""
  ((_, *features),) = _Fields(record, 0, len(record))  # Example.features
  for _, *entry in _Fields(record, *features):  # Features.feature, a map.
    (_, *key), (_, *value) = _Fields(record, *entry)
    ((kind, *value),) = _Fields(record, *value)  # Feature.bytes_list is 1.
    if kind == 1:
      ((_, *value),) = _Fields(record, *value)
      yield record[slice(*key)].decode(), tuple(value)


def _Fields(data, begin, end):
  """Yields (number, begin, end) of the length-delimited fields of a protocol buffer's message."""
  while begin < end:
    tag, begin = _Varint(data, begin)
    if tag & 7 != 2:
      raise ValueError(f'field of wire type {tag & 7}: expected 2')
    size, begin = _Varint(data, begin)
    yield tag >> 3, begin, begin + size
    begin += size


def _Varint(data, begin):
  value = shift = 0
  while True:
    byte = data[begin]
    begin += 1
    value |= (byte & 127) << shift
    shift += 7
    if byte < 128:
      return value, begin
