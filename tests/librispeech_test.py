"""LibriSpeech end to end: the commands of docs/scale.md, on a tiny copy of its layout."""

import os
import re
import shlex
import subprocess
import tempfile

import numpy as np
import pytest
import soundfile
from absl.testing import absltest

from fm_lingvo.run_files import metrics_log
from params import librispeech
from tests import fork_server
from tests import pages
from tests import process_case
from tests import tiny_data

_SUBSETS = (
  'train-clean-100',
  'dev-clean',
  'test-clean',
  'train-clean-360',
  'train-other-500',
  'dev-other',
  'test-other',
)


def _Commands():
  """The section's commands, as lists of words."""
  block = re.search(r'(?ms)^## LibriSpeech$.*?^```sh\n(.*?)^```$', pages.Read('docs/scale.md')).group(1)
  return [shlex.split(line) for line in block.replace('\\\n', ' ').splitlines()]


@pytest.mark.slow
class LibrispeechTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.dir = folder.name
    os.symlink(os.path.join(process_case.ROOT, 'params'), os.path.join(self.dir, 'params'))
    server = self.enter_context(fork_server.Server(process_case.ROOT, 'tests.page_preload'))
    server.WriteProgram(os.path.join(self.dir, 'python'))
    server.WriteProgram(os.path.join(self.dir, 'trainer'), '-m', 'fm_lingvo.trainer')
    for subset in _SUBSETS:
      self._WriteSubset(subset)

  def _WriteSubset(self, subset, utterances=3):
    chapter = os.path.join(self.dir, 'LibriSpeech', subset, '84', '7')
    os.makedirs(chapter)
    with open(os.path.join(chapter, '84-7.trans.txt'), 'w', encoding='utf-8') as f:
      for i in range(utterances):
        utt_id = f'84-7-{subset}-{i}'
        f.write(f'{utt_id} SOME WORDS\n')
        soundfile.write(os.path.join(chapter, f'{utt_id}.flac'), tiny_data.Waveform(1.5, i).astype(np.int16), 16000)

  def _Extra(self, words):
    """Flags that make a command small enough for a test."""
    if words[0] == 'python':
      return ['--num_shards=2']
    name = re.search(r'--model=librispeech\.(\w+)', ' '.join(words)).group(1)
    bindings = [*tiny_data.Bindings(getattr(librispeech, name)), f'{name}.max_steps = 2']
    if name == 'AdapterFinetuneOther':
      bindings.append(f'{name}.label_share = 1.0')
    elif name == 'JustHydra100':
      bindings += [f'{name}.unlabeled_batch_seconds = 6.0', 'task.train.final_eval_datasets = []']
    return [f'--gin_bindings={b}' for b in bindings]

  def test_the_commands_of_the_readme(self):
    outputs = []
    for words in _Commands():
      done = subprocess.run(
        [os.path.join(self.dir, words[0]), *words[1:], *self._Extra(words)],
        capture_output=True,
        text=True,
        cwd=self.dir,
        env=process_case.Environment(),
        check=False,
      )
      self.assertEqual(done.returncode, 0, f'{words}: {done.stdout}{done.stderr}')
      outputs.append(done.stdout)
    for out, train in zip(outputs, (3, 6)):
      self.assertRegex(out, rf'train {train} .*dev 3 .*test 3 ')
    self.assertLen(outputs, 5)
    rows = {
      row['dataset']: row
      for row in metrics_log.ReadMetrics(os.path.join(self.dir, 'runs', 'libri_adapted', 'metrics.jsonl'))
    }
    self.assertEqual(set(rows), {'train', 'DevSource', 'DevTarget', 'TestSource', 'TestTarget'})
    for name in set(rows) - {'train'}:
      self.assertIn('labeled/wer', rows[name])


if __name__ == '__main__':
  absltest.main()
