"""Truncated and bit-flipped TFRecord files, a missing shard, a manifest that disagrees with its shards."""

import json
import os

from fm_lingvo.data import dataset
from fm_lingvo.data import shard_integrity
from fm_lingvo.utils import audio as audio_format
from tests.faults import suite as suite_lib
from tests.faults import tiny_run
from tools import check_data

_PER_SHARD = 12


def _WriteInfo(folder):
  """Writes dataset.json and manifest.jsonl for the shards in a folder, as tools.prepare_data would."""
  info = {'format': dataset.FORMAT, 'version': dataset.VERSION, 'sample_rate': audio_format.SAMPLE_RATE, 'splits': {}}
  rows = []
  for split in dataset.SPLITS:
    count = _PER_SHARD if split == 'train' else 4
    shards = sorted(folder.glob(f'{split}*.tfrecord'))
    listed = [{'name': s.name, 'utterances': count, 'size': s.stat().st_size} for s in shards]
    info['splits'][split] = {'hours': 0.1, 'utterances': count * len(shards), 'shards': listed}
    rows += [{'utt_id': f'{s.name}-{i}', 'shard': s.name, 'split': split} for s in shards for i in range(count)]
  other = {'text': '', 'speaker': '', 'domain': '', 'duration': 1.5}
  (folder / 'manifest.jsonl').write_text(''.join(json.dumps({**other, **row}) + '\n' for row in rows))
  (folder / 'dataset.json').write_text(json.dumps({**info, 'domains': ['test/tones'], 'settings': {}}))


def _Offset(path, record):
  """Where a record begins in a whole shard."""
  with open(path, 'rb') as f:
    for _ in range(record):
      length = int.from_bytes(f.read(12)[:8], 'little')
      f.seek(length + 4, 1)
    return f.tell()


def _Flip(path, record, offset):
  """Flips a bit of the byte at an offset in a record."""
  at = _Offset(path, record) + offset
  content = bytearray(path.read_bytes())
  content[at] ^= 0x10
  path.write_bytes(content)


# Name -> (what is done to a shard, records lost in it, what must be said of it).
FAULTS = {
  'bit flipped in a record': (lambda path: _Flip(path, 3, 5000), 1, 'record 3: its checksum is wrong'),
  'bit flipped in a length': (lambda path: _Flip(path, 9, 1), 3, 'record 9: its length is damaged'),
  'truncated': (lambda path: os.truncate(path, _Offset(path, 10) + 7000), 2, 'record 10: cut off'),
  'empty': (lambda path: os.truncate(path, 0), _PER_SHARD, '0 records, but dataset.json says 12'),
  'missing': (os.remove, _PER_SHARD, 'missing, but dataset.json says 12 records'),
}


def Run(suite):
  """Trains on data with each fault; yields a Case for each."""
  for name, (break_it, lost, message) in suite.Faults(FAULTS, 'bit flipped in a record'):
    run, shard = _RunWithData(suite, name)
    break_it(shard)
    done = run.Train(max_steps=16, save_interval_steps=8)  # More than two epochs.
    last = run.Metrics()[-1] if done.code == 0 else {'step': 0, 'unlabeled/dropped_damaged': 0}
    counted = last['unlabeled/dropped_damaged']
    holds = counted and counted % lost == 0 and last['step'] == 16 and len(check_data.Check(str(shard.parent))) == 1
    yield suite_lib.Ended(name, done, 0, message, holds)
  run, shard = _RunWithData(suite, 'limit')
  shard.unlink()
  done = run.Train('Train/input.streams.unlabeled.max_damaged_records = 3')
  message = 'max_damaged_records = 3: 12 records are lost'
  yield suite_lib.Ended('more than max_damaged_records: ends', done, 2, message)
  _, shard = _RunWithData(suite, 'manifest')
  manifest = shard.parent / 'manifest.jsonl'
  manifest.write_text(manifest.read_text().partition('\n')[2])
  found = check_data.Check(str(shard.parent))
  right = len(found) == 1 and '11 lines in manifest.jsonl' in found[0]
  yield suite_lib.Case('manifest one line short', right, '; '.join(found))
  shard_integrity.Forget()


def _RunWithData(suite, name):
  """A run with a data set of its own; returns (run, its second training shard)."""
  folder = suite.path / f'data {name}'
  run = tiny_run.TinyRun(suite.folder, f'run {name}', str(folder))
  _WriteInfo(folder / 'human')
  return run, folder / 'human' / dataset.ShardName('train', 1, 2)
