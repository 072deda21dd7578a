"""Trainers of a real asynchronous cluster: each reads its own share of the data, together they read all of it."""

import glob
import os
import subprocess
import time

import pytest
from absl.testing import absltest

from tests import cluster_case
from tests import process_case
from tests import tiny_data
from tools.cluster import local
from tools.cluster import plan

_FILES, _UTTERANCES = 5, 4  # Of the data set: uneven shares of whole files.
_DEADLINE_SECONDS = 900  # For an epoch of each trainer; the second one starts once some steps are done.


@pytest.mark.slow
class ShareTest(cluster_case.ClusterCase):
  def setUp(self):
    super().setUp()
    for i in range(_FILES):
      tiny_data.Write(os.path.join(self.data_dir, 'shared', f'train-{i}.tfrecord'), _UTTERANCES, domain=f'file-{i}')

  def _Start(self):
    """Starts a cluster whose two trainers write the utterances that they read; returns their files."""
    names = plan.Names('async', workers=2, ps=1)
    knobs = {
      'data_dir': self.data_dir,
      'unlabeled': ('shared',),
      'max_steps': 1000000,
      'batch_seconds': 4.0,
      'max_seconds': 4.0,
    }
    bindings = [*tiny_data.TINY_BINDINGS, *(f'BestRqPretrain.{k} = {v!r}' for k, v in knobs.items())]
    bindings.append('task.train.start_up_delay_steps = 10')
    flags = ['--model=asr.BestRqPretrain', f'--logdir={self.folder}/run', *(f'--gin_bindings={b}' for b in bindings)]
    spied = []
    for job in plan.Plan('async', local.FreeAddresses(names), flags):
      module = ['-m', 'fm_lingvo.trainer']
      if job.name == 'trainer':
        spied.append(os.path.join(self.folder, f'{job.title}.spied'))
        module = ['-m', 'tests.spying_trainer', spied[-1]]
      with open(os.path.join(self.folder, f'{job.title}.log'), 'wb') as log:
        child = subprocess.Popen(job.Command([self.python, *module]), cwd=process_case.ROOT, stdout=log, stderr=log)
      self.addCleanup(child.wait)
      self.addCleanup(child.kill)
    return spied

  def _Batches(self, path):
    """The batches, lists of utterances, that a trainer has written so far."""
    if not os.path.exists(path):
      return []
    with open(path, encoding='utf-8') as f:
      return [line.split() for line in f if line.endswith('\n')]

  def _Logs(self):
    """The last lines of every job."""
    text = ''
    for path in sorted(glob.glob(os.path.join(self.folder, '*.log'))):
      with open(path, encoding='utf-8') as f:
        text += f'\n{path}:\n{f.read()[-3000:]}'
    return text

  def test_shares_are_disjoint_and_together_everything(self):
    spied = self._Start()
    deadline = time.time() + _DEADLINE_SECONDS
    everything = {f'file-{i}/utt-{k}' for i in range(_FILES) for k in range(_UTTERANCES)}
    # Two epochs of the larger share: who reads beyond their own would have done so.
    enough = 2 * (_FILES // 2 + 1) * _UTTERANCES
    while min(sum(map(len, self._Batches(path))) for path in spied) < enough:
      if time.time() > deadline:
        self.fail(f'{[self._Batches(path) for path in spied]}{self._Logs()}')
      time.sleep(0.5)
    shares = [{utterance for batch in self._Batches(path) for utterance in batch if utterance != '/'} for path in spied]
    self.assertEmpty(shares[0] & shares[1])
    self.assertEqual(shares[0] | shares[1], everything)
    self.assertEqual([len(share) for share in shares], [3 * _UTTERANCES, 2 * _UTTERANCES])


if __name__ == '__main__':
  absltest.main()
