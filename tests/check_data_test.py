"""tools/check_data.py says of every data set what is wrong with it, and goes on to the next."""

import contextlib
import io
import json
import os
import shutil
import tempfile

from absl.testing import absltest

from fm_lingvo.data import dataset
from fm_lingvo.data import shard_integrity
from fm_lingvo.utils import audio as audio_format
from tests import tiny_data
from tools import check_data


class CheckDataTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.path = self._Make()

  def _Make(self):
    """A whole data set of three utterances in one shard."""
    path = tempfile.mkdtemp()
    self.addCleanup(shutil.rmtree, path)
    name = dataset.ShardName('train', 0, 1)
    shard = os.path.join(path, name)
    tiny_data.Write(shard, 3, seconds=0.2)
    splits = {s: {'hours': 0.0, 'utterances': 0, 'shards': []} for s in dataset.SPLITS}
    splits['train'] = {
      'hours': 0.1,
      'utterances': 3,
      'shards': [{'name': name, 'utterances': 3, 'size': os.path.getsize(shard)}],
    }
    with open(os.path.join(path, 'dataset.json'), 'w', encoding='utf-8') as f:
      json.dump(
        {
          'format': dataset.FORMAT,
          'version': dataset.VERSION,
          'sample_rate': audio_format.SAMPLE_RATE,
          'splits': splits,
          'domains': ['a'],
          'settings': {},
        },
        f,
      )
    self._WriteManifest(path, [name] * 3)
    return path

  def _WriteManifest(self, path, shards):
    rows = [{**dict.fromkeys(dataset.MANIFEST_KEYS, ''), 'shard': shard} for shard in shards]
    with open(os.path.join(path, 'manifest.jsonl'), 'w', encoding='utf-8') as f:
      f.writelines(json.dumps(row) + '\n' for row in rows)

  def _Main(self, *paths):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
      code = check_data.Main(['check_data', *paths])
    return code, out.getvalue(), err.getvalue()

  def test_a_whole_one(self):
    self.assertEqual(self._Main(self.path), (0, f'{self.path}: intact\n', ''))

  def test_what_is_wrong_is_a_line_each(self):
    manifest = os.path.join(self.path, 'manifest.jsonl')
    name = dataset.ShardName('train', 0, 1)
    for shards, expected in (
      ([name] * 2, f'{name}: 2 lines in manifest.jsonl, but dataset.json says 3'),
      ([name] * 3 + ['other'], 'manifest.jsonl: 1 lines of other, which dataset.json does not list'),
    ):
      self._WriteManifest(self.path, shards)
      code, out, _ = self._Main(self.path)
      self.assertEqual((code, out.count('\n')), (1, 1), out)
      self.assertIn(expected, out)
    for text, expected in (
      ('{"utt_id": "a\n', 'manifest.jsonl:1: not a JSON object'),
      ('[]\n', 'manifest.jsonl:1: no domain, '),
      ('3\n', 'manifest.jsonl:1: not a JSON object'),
    ):
      with open(manifest, 'w', encoding='utf-8') as f:
        f.write(text)
      code, out, _ = self._Main(self.path)
      self.assertEqual(code, 1)
      self.assertIn(expected, out)
    with open(manifest, 'wb') as f:
      f.write(b'{"utt_id": "\xe9"}\n')
    self.assertEqual(
      self._Main(self.path)[:2], (1, f'{manifest}:1: expected text in UTF-8 (invalid continuation byte)\n')
    )
    os.remove(manifest)
    self.assertEqual(self._Main(self.path)[:2], (1, f'{manifest}: missing\n'))

  def test_a_stream_misses_no_shard_that_its_globs_leave_out(self):
    folder = tempfile.mkdtemp()
    self.addCleanup(shutil.rmtree, folder)
    whole = os.path.join(folder, 'human', dataset.ShardName('train', 0, 1))
    shutil.copytree(self.path, os.path.join(folder, 'human'))
    hidden = shutil.copytree(self.path, os.path.join(folder, '.human.partial-host-1-a.old'))
    os.remove(os.path.join(hidden, dataset.ShardName('train', 0, 1)))
    self.assertEqual(shard_integrity.Check([os.path.join(folder, '*', 'train-*.tfrecord')], [whole]), {})
    os.remove(whole)
    for characters, missing in (('[0]', 1), ('[^0]', 0), ('[!0]', 0), ('[^1]', 1)):
      self.assertLen(shard_integrity.Check([os.path.join(folder, 'human', f'train-0000{characters}-*')], []), missing)

  def test_after_one_that_is_none_the_others_are_checked(self):
    code, out, err = self._Main(os.path.join(self.path, 'gone'), self.path)
    self.assertEqual((code, out), (2, f'{self.path}: intact\n'))
    self.assertRegex(err, r'^check_data: .*gone: no such data set.*\n$')


if __name__ == '__main__':
  absltest.main()
