"""The data set's contract: stable splits and shards, and a reader that takes nothing for whole that is not."""

import json
import os
import re
import subprocess
import sys
import tempfile

from absl.testing import absltest

from fm_lingvo.data import dataset
from fm_lingvo.utils import audio as audio_format

IDS = [f'speaker-{i % 7}/utterance-{i}' for i in range(4000)]


def WriteDataset(path, **changes):
  """A data set of one shard of 10 bytes, with entries of dataset.json replaced."""
  os.makedirs(path)
  name = dataset.ShardName('train', 0, 1)
  with open(os.path.join(path, name), 'wb') as f:
    f.write(b'0123456789')
  splits = {s: {'hours': 0.0, 'utterances': 0, 'shards': []} for s in dataset.SPLITS}
  splits['train'] = {'hours': 0.5, 'utterances': 3, 'shards': [{'name': name, 'utterances': 3, 'size': 10}]}
  info = {
    'format': dataset.FORMAT,
    'version': dataset.VERSION,
    'sample_rate': audio_format.SAMPLE_RATE,
    'splits': splits,
    'domains': ['a'],
    'settings': {},
    **changes,
  }
  with open(os.path.join(path, 'dataset.json'), 'w', encoding='utf-8') as f:
    json.dump(info, f)
  return os.path.join(path, name)


class SplitTest(absltest.TestCase):
  def test_split_depends_on_the_id_only(self):
    first = {i: dataset.SplitOf(i, 5, 30) for i in IDS}
    second = {i: dataset.SplitOf(i, 5, 30) for i in reversed(IDS)}
    self.assertEqual(first, second)

  def test_split_is_the_same_in_another_process(self):
    code = 'import sys; from fm_lingvo.data import dataset; print([dataset.SplitOf(i, 5, 30) for i in sys.argv[1:]])'
    env = dict(os.environ, PYTHONHASHSEED='7', PYTHONPATH=os.pathsep.join(sys.path))
    out = subprocess.run([sys.executable, '-c', code, *IDS[:40]], env=env, capture_output=True, text=True, check=True)
    self.assertEqual(out.stdout.strip(), str([dataset.SplitOf(i, 5, 30) for i in IDS[:40]]))

  def test_shares_are_met(self):
    splits = [dataset.SplitOf(i, 5, 30) for i in IDS]
    self.assertAlmostEqual(splits.count('test') / len(IDS), 0.30, delta=0.03)
    self.assertAlmostEqual(splits.count('dev') / len(IDS), 0.05, delta=0.015)

  def test_changing_one_share_moves_nothing_of_the_other_set(self):
    for i in IDS:
      if dataset.SplitOf(i, 5, 30) == 'test':
        self.assertEqual(dataset.SplitOf(i, 20, 30), 'test')
      if dataset.SplitOf(i, 5, 30) == 'dev':
        self.assertEqual(dataset.SplitOf(i, 5, 10), 'dev')

  def test_extremes(self):
    self.assertEqual({dataset.SplitOf(i, 0, 0) for i in IDS}, {'train'})
    self.assertEqual({dataset.SplitOf(i, 0, 100) for i in IDS}, {'test'})

  def test_impossible_shares_are_refused(self):
    for dev, test in ((60, 50), (-1, 5), (float('nan'), 5)):
      with self.subTest(dev=dev, test=test), self.assertRaisesRegex(ValueError, f'dev_percent = {dev}'):
        dataset.SplitOf('x', dev, test)

  def test_shard_is_independent_of_the_split(self):
    test_ids = [i for i in IDS if dataset.SplitOf(i, 5, 30) == 'test']
    counts = [sum(dataset.ShardIndex(i, 4) == s for i in test_ids) for s in range(4)]
    self.assertGreater(min(counts), len(test_ids) / 4 * 0.8)


class ReadDatasetTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    tmp = tempfile.TemporaryDirectory()
    self.addCleanup(tmp.cleanup)
    self.path = os.path.join(tmp.name, 'data')

  def test_whole_data_set_is_read(self):
    shard = WriteDataset(self.path)
    read = dataset.ReadDataset(self.path)
    self.assertEqual([os.path.join(self.path, s.name) for s in read.shards['train']], [shard])
    self.assertEqual(read.shards['dev'], ())
    self.assertEqual(read.Utterances('train'), 3)

  def test_directory_without_dataset_json_is_refused(self):
    os.remove(os.path.join(os.path.dirname(WriteDataset(self.path)), 'dataset.json'))
    with self.assertRaisesRegex(dataset.DatasetError, 'no dataset.json, so not a complete data set'):
      dataset.ReadDataset(self.path)

  def test_missing_directory_is_named(self):
    with self.assertRaisesRegex(dataset.DatasetError, f'{self.path}: no such data set'):
      dataset.ReadDataset(self.path)

  def test_cut_off_shard_is_refused(self):
    shard = WriteDataset(self.path)
    with open(shard, 'wb') as f:
      f.write(b'01234')
    with self.assertRaisesRegex(dataset.DatasetError, 'train-00000-of-00001.tfrecord: 5 bytes, expected 10 bytes'):
      dataset.ReadDataset(self.path)

  def test_missing_shard_is_refused(self):
    os.remove(WriteDataset(self.path))
    with self.assertRaisesRegex(dataset.DatasetError, 'missing, expected 10 bytes'):
      dataset.ReadDataset(self.path)

  def test_other_formats_are_refused(self):
    for key, value in (('format', 'other'), ('version', 99), ('sample_rate', 8000)):
      with self.subTest(key=key):
        path = f'{self.path}-{key}'
        WriteDataset(path, **{key: value})
        with self.assertRaisesRegex(dataset.DatasetError, f'{key} = {value!r}, expected'):
          dataset.ReadDataset(path)

  def test_malformed_json_is_one_line(self):
    WriteDataset(self.path)
    info = os.path.join(self.path, 'dataset.json')
    with open(info, encoding='utf-8') as f:
      good = f.read()
    self.assertIn('"utterances": 3', good)
    for text in (
      b'{"format": ',
      b'[]',
      b'{"form\xe1t": 1}',
      good.replace('"utterances": 3', '"utterances": "3"').encode(),
      re.sub('"hours": [0-9.]+', '"hours": "x"', good).encode(),
    ):
      with open(info, 'wb') as f:
        f.write(text)
      with self.assertRaises(dataset.DatasetError) as raised:
        dataset.ReadDataset(self.path)
      self.assertNotIn('\n', str(raised.exception))

  def test_importing_the_module_does_not_import_tensorflow(self):
    code = 'import sys; import fm_lingvo.data.dataset; sys.exit("tensorflow" in sys.modules)'
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    self.assertEqual(subprocess.run([sys.executable, '-c', code], env=env, check=False).returncode, 0)


class ExampleTest(absltest.TestCase):
  def test_record_survives_the_codec(self):
    import tensorflow as tf

    record = {
      'utt_id': 'é/1',
      'audio': b'\x01\x00\xff\x7f',
      'text': 'ноль',
      'speaker': 's',
      'domain': 'd',
      'duration': 1.5,
    }
    parsed = tf.io.parse_single_example(dataset.EncodeExample(record), dataset.FeatureSpec())
    self.assertEqual(parsed['utt_id'].numpy().decode(), 'é/1')
    self.assertEqual(parsed['text'].numpy().decode(), 'ноль')
    self.assertEqual(tf.io.decode_raw(parsed['audio'], tf.int16).numpy().tolist(), [1, 32767])
    self.assertEqual(parsed['duration'].numpy(), 1.5)

  def test_incomplete_record_is_refused(self):
    with self.assertRaisesRegex(ValueError, 'expected .*audio'):
      dataset.EncodeExample({'utt_id': 'x'})


if __name__ == '__main__':
  absltest.main()
