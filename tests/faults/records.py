"""Truncated and bit-flipped TFRecord files, a missing shard, a manifest that disagrees with its shards."""

import json
import os

from fm_lingvo import damage
from fm_lingvo import dataset
from tests.faults import suite as suite_lib
from tests.faults import tiny_run
from tools import check_data

_PER_SHARD = 12


def _WriteInfo(folder):
  """Writes dataset.json and manifest.jsonl for the shards in a folder, as tools.prepare_data would."""
  splits, rows = {}, []
  for split in dataset.SPLITS:
    names = sorted(n for n in os.listdir(folder) if n.startswith(split) and n.endswith('.tfrecord'))
    count = _PER_SHARD if split == 'train' else 4
    splits[split] = {'hours': 0.1, 'utterances': count * len(names), 'shards': [
        {'name': n, 'utterances': count, 'size': os.path.getsize(os.path.join(folder, n))} for n in names]}
    rows += [{'utt_id': f'{n}-{i}', 'split': split, 'shard': n, 'text': '', 'speaker': '', 'domain': '', 'duration': 1.5}
             for n in names for i in range(count)]
  with open(os.path.join(folder, 'manifest.jsonl'), 'w', encoding='utf-8') as f:
    f.writelines(json.dumps(row) + '\n' for row in rows)
  with open(os.path.join(folder, 'dataset.json'), 'w', encoding='utf-8') as f:
    json.dump({'format': dataset.FORMAT, 'version': dataset.VERSION, 'sample_rate': dataset.SAMPLE_RATE,
               'splits': splits, 'domains': ['test/tones'], 'settings': {}}, f)


def _Offset(path, record):
  """Where a record begins in a whole shard."""
  with open(path, 'rb') as f:
    for _ in range(record):
      length = int.from_bytes(f.read(12)[:8], 'little')
      f.seek(length + 4, 1)
    return f.tell()


def _Flip(path, at):
  """Flips a bit of the byte at an offset."""
  with open(path, 'r+b') as f:
    f.seek(at)
    byte = f.read(1)[0]
    f.seek(at)
    f.write(bytes([byte ^ 0x10]))


# Name -> (what is done to a shard, records lost in it, what must be said of it).
FAULTS = {
    'bit flipped in a record': (lambda p: _Flip(p, _Offset(p, 3) + 5000), 1, 'record 3: its checksum is wrong'),
    'bit flipped in a length': (lambda p: _Flip(p, _Offset(p, 9) + 1), 3, 'record 9: its length is damaged'),
    'truncated': (lambda p: os.truncate(p, _Offset(p, 10) + 7000), 2, 'record 10: cut off'),
    'empty': (lambda p: os.truncate(p, 0), _PER_SHARD, '0 records, but dataset.json says 12'),
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
    yield suite_lib.Ended(name, done, 0, message, counted and counted % lost == 0 and last['step'] == 16 and
                          len(check_data.Check(os.path.dirname(shard))) == 1)
  run, shard = _RunWithData(suite, 'limit')
  os.remove(shard)
  done = run.Train('Train/input.streams.unlabeled.max_damaged_records = 3')
  yield suite_lib.Ended('more than max_damaged_records: ends', done, 2, 'max_damaged_records = 3: 12 records are lost')
  _, shard = _RunWithData(suite, 'manifest')
  manifest = os.path.join(os.path.dirname(shard), 'manifest.jsonl')
  with open(manifest, encoding='utf-8') as f:
    lines = f.readlines()
  with open(manifest, 'w', encoding='utf-8') as f:
    f.writelines(lines[1:])
  found = check_data.Check(os.path.dirname(shard))
  yield suite_lib.Case('manifest one line short', len(found) == 1 and '11 lines in manifest.jsonl' in found[0], '; '.join(found))
  damage.Forget()


def _RunWithData(suite, name):
  """A run with a data set of its own; returns (run, its second training shard)."""
  data_dir = suite.Path(f'data {name}')
  tiny_run.WriteData(data_dir)
  _WriteInfo(os.path.join(data_dir, 'human'))
  return tiny_run.TinyRun(suite.folder, f'run {name}', data_dir), os.path.join(data_dir, 'human', dataset.ShardName('train', 1, 2))
