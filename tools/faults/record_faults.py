"""Truncated and bit-flipped TFRecord files, a missing shard, a manifest that disagrees with its shards."""

import json
import os

from fm_lingvo.data import dataset
from fm_lingvo.data import shard_integrity
from fm_lingvo.run_files import metrics_log
from fm_lingvo.utils import audio as audio_format

from .. import check_data
from . import outcome
from . import processes
from . import tiny

_PER_SHARD = 12


def WriteInfo(folder):
  """Writes dataset.json and manifest.jsonl for the shards in a folder, as tools.prepare_data would."""
  splits, rows = {}, []
  for split in dataset.SPLITS:
    names = sorted(n for n in os.listdir(folder) if n.startswith(split) and n.endswith('.tfrecord'))
    count = _PER_SHARD if split == 'train' else 4
    splits[split] = {
      'hours': 0.1,
      'utterances': count * len(names),
      'shards': [{'name': n, 'utterances': count, 'size': os.path.getsize(os.path.join(folder, n))} for n in names],
    }
    rows += [
      {'utt_id': f'{n}-{i}', 'split': split, 'shard': n, 'text': '', 'speaker': '', 'domain': '', 'duration': 1.5}
      for n in names
      for i in range(count)
    ]
  with open(os.path.join(folder, 'manifest.jsonl'), 'w', encoding='utf-8') as f:
    f.writelines(json.dumps(row) + '\n' for row in rows)
  with open(os.path.join(folder, 'dataset.json'), 'w', encoding='utf-8') as f:
    json.dump(
      {
        'format': dataset.FORMAT,
        'version': dataset.VERSION,
        'sample_rate': audio_format.SAMPLE_RATE,
        'splits': splits,
        'domains': ['test/tones'],
        'settings': {},
      },
      f,
    )


def Offset(path, record):
  """Where a record begins in a whole shard."""
  with open(path, 'rb') as f:
    for _ in range(record):
      length = int.from_bytes(f.read(12)[:8], 'little')
      f.seek(length + 4, 1)
    return f.tell()


def Flip(path, at):
  """Flips a bit of the byte at an offset."""
  with open(path, 'r+b') as f:
    f.seek(at)
    byte = f.read(1)[0]
    f.seek(at)
    f.write(bytes([byte ^ 0x10]))


# Name -> (what is done to a shard, records lost in it, what is said of it).
FAULTS = {
  'bit flipped in a record': (lambda p: Flip(p, Offset(p, 3) + 5000), 1, 'record 3: its checksum is wrong'),
  'bit flipped in a length': (lambda p: Flip(p, Offset(p, 9) + 1), 3, 'record 9: its length is damaged'),
  'truncated': (lambda p: os.truncate(p, Offset(p, 10) + 7000), 2, 'record 10: cut off'),
  'empty': (lambda p: os.truncate(p, 0), _PER_SHARD, '0 records, but dataset.json says 12'),
  'missing': (os.remove, _PER_SHARD, 'missing, but dataset.json says 12 records'),
}


def Run(folder, size):
  """Trains on data with each fault; returns a list of Case."""
  cases = []
  for name in size.Pick(list(FAULTS), ['bit flipped in a record']):
    shard, data = _Data(folder, name)
    break_it, lost, said = FAULTS[name]
    break_it(shard)
    run = os.path.join(folder, f'run {name}')
    # Two epochs and more: the second begins before the run ends.
    done = processes.Run(tiny.Command(run, data, max_steps=16, save_interval_steps=8), folder)
    rows = metrics_log.ReadMetrics(os.path.join(run, 'metrics.jsonl')) if done.code == 0 else []
    counted = rows[-1]['unlabeled/dropped_damaged'] if rows else 0
    told = check_data.Check(os.path.dirname(shard))
    cases.append(
      outcome.Ended(name, done, 0, said, counted and counted % lost == 0 and rows[-1]['step'] == 16 and len(told) == 1)
    )
  shard, data = _Data(folder, 'limit')
  FAULTS['missing'][0](shard)
  done = processes.Run(
    tiny.Command(os.path.join(folder, 'run limit'), data, 'Train/input.streams.unlabeled.max_damaged_records = 3'),
    folder,
  )
  cases.append(
    outcome.Ended('more than max_damaged_records: ends', done, 2, 'max_damaged_records = 3: 12 records are lost')
  )
  shard, data = _Data(folder, 'manifest')
  manifest = os.path.join(os.path.dirname(shard), 'manifest.jsonl')
  with open(manifest, encoding='utf-8') as f:
    lines = f.readlines()
  with open(manifest, 'w', encoding='utf-8') as f:
    f.writelines(lines[1:])
  told = check_data.Check(os.path.dirname(shard))
  cases.append(
    outcome.Case('manifest one line short', len(told) == 1 and '11 lines in manifest.jsonl' in told[0], '; '.join(told))
  )
  shard_integrity.Forget()
  return cases


def _Data(folder, name):
  """A data set of its own; returns (its second training shard, its data_dir)."""
  data = os.path.join(folder, f'data {name}')
  tiny.WriteData(data)
  human = os.path.join(data, 'human')
  WriteInfo(human)
  return os.path.join(human, dataset.ShardName('train', 1, 2)), data
