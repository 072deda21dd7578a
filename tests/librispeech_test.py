"""LibriSpeech end to end, on a tiny copy of its layout: prepared and trained by README.md's commands."""

import os
import subprocess
import sys
import tempfile

from absl.testing import absltest
from fm_lingvo import metrics_log
import numpy as np
from params import librispeech
import soundfile
from tests import tiny_data

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_DATA_SETS = {
    'source': ('train-clean-100', 'dev-clean', 'test-clean'),
    'target': ('train-clean-360', 'train-other-500', 'dev-other', 'test-other'),
}


class LibrispeechTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.dir = folder.name

  def _Run(self, *args):
    done = subprocess.run([sys.executable, '-m', *args], capture_output=True, text=True, cwd=self.dir,
                          env={**os.environ, 'PYTHONPATH': _ROOT}, check=False)
    self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
    return done.stdout

  def _WriteSubset(self, subset, utterances=3):
    chapter = os.path.join(self.dir, 'LibriSpeech', subset, '84', '7')
    os.makedirs(chapter)
    with open(os.path.join(chapter, '84-7.trans.txt'), 'w', encoding='utf-8') as f:
      for i in range(utterances):
        utt_id = f'84-7-{subset}-{i}'
        f.write(f'{utt_id} SOME WORDS\n')
        soundfile.write(os.path.join(chapter, f'{utt_id}.flac'), tiny_data.Waveform(1.5, i).astype(np.int16), 16000)

  def test_prepared_and_trained(self):
    for name, subsets in _DATA_SETS.items():
      for subset in subsets:
        self._WriteSubset(subset)
      inputs = ','.join(f'LibriSpeech/{s}' for s in subsets)
      said = self._Run('tools.prepare_data', '--importer=librispeech', '--official_splits', f'--input={inputs}',
                       f'--output=data/librispeech/{name}', '--num_shards=2')
      train = 3 * sum(s.startswith('train') for s in subsets)
      self.assertRegex(said, rf'train {train} .*dev 3 .*test 3 ')
    bindings = [*tiny_data.Bindings(librispeech.JustHydra100), 'JustHydra100.max_steps = 2',
                'JustHydra100.unlabeled_batch_seconds = 6.0']
    tokenizer = os.path.join(_ROOT, librispeech.JustHydra100.tokenizer)
    self._Run('fm_lingvo.trainer', '--model=librispeech.JustHydra100', '--logdir=run',
              f'--gin.JustHydra100.tokenizer={tokenizer}', *(f'--gin_bindings={b}' for b in bindings))
    rows = {row['dataset']: row for row in metrics_log.ReadMetrics(os.path.join(self.dir, 'run', 'metrics.jsonl'))}
    self.assertEqual(set(rows), {'train', 'DevSource', 'DevTarget', 'TestSource', 'TestTarget'})
    self.assertEqual(rows['train']['step'], 2)
    for name in set(rows) - {'train'}:
      self.assertIn('labeled/wer', rows[name])
    self.assertGreater(rows['train']['unlabeled/audio_seconds'], 0)


if __name__ == '__main__':
  absltest.main()
