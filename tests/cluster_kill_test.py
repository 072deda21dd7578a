"""Clusters whose jobs are killed one by one: each is started again, and training goes on from the newest checkpoint."""

import glob
import os
import re
import signal
import subprocess
import time

import pytest
from absl.testing import absltest

from params import asr
from tests import cluster_case
from tests import process_case
from tests import tiny_data

_DEADLINE_SECONDS = 240  # For the next checkpoint after a kill.
_STEPS_A_CHECKPOINT = 20


def _PidOf(logdir, job):
  """The process of a job of the cluster in `logdir`."""
  for path in glob.glob('/proc/[0-9]*/cmdline'):
    try:
      with open(path, 'rb') as f:
        words = f.read().decode().split('\0')
    except OSError:  # It has ended.
      continue
    if f'--logdir={logdir}' in words and f'--job={job}' in words and '--task=0' in words:
      return int(path.split('/')[2])
  raise AssertionError(f'no process of {job} in {logdir}')


@pytest.mark.slow
class KillTest(cluster_case.ClusterCase):
  def _Start(self, logdir, *flags):
    """Starts a cluster that trains until it is stopped."""
    knobs = {
      'data_dir': self.data_dir,
      'max_steps': 1000000,
      'save_interval_steps': _STEPS_A_CHECKPOINT,
      'batch_seconds': 4.0,
      'max_seconds': 4.0,
    }
    bindings = [*tiny_data.Bindings(asr.BestRqPretrain), *(f'BestRqPretrain.{k} = {v!r}' for k, v in knobs.items())]
    self._out = open(f'{logdir}.out', 'w', encoding='utf-8')
    self.addCleanup(self._out.close)
    child = subprocess.Popen(
      [
        self.python,
        '-m',
        'tools.run_local_cluster',
        *flags,
        '--max_restarts=1',
        '--',
        '--model=asr.BestRqPretrain',
        f'--logdir={logdir}',
        *(f'--gin_bindings={b}' for b in bindings),
      ],
      cwd=process_case.ROOT,
      stdout=self._out,
      stderr=subprocess.STDOUT,
    )
    self.addCleanup(self._Stop, child)
    return child

  def _Stop(self, child):
    child.send_signal(signal.SIGTERM)
    child.wait(60)

  def _NewestStep(self, logdir):
    steps = [
      int(re.search(r'ckpt-(\d+)\.index', path).group(1))
      for path in glob.glob(os.path.join(logdir, 'train', 'ckpt-*.index'))
    ]
    return max(steps, default=-1)

  def _WaitForStep(self, child, logdir, step):
    """Waits for a checkpoint of `step` or later; returns its step."""
    deadline = time.time() + _DEADLINE_SECONDS
    while self._NewestStep(logdir) < step:
      self.assertIsNone(child.poll(), f'the cluster has ended, see {self._Read(f"{logdir}.out")}')
      self.assertLess(time.time(), deadline, f'no checkpoint of step {step} in {logdir}: {self._Logs(logdir)}')
      time.sleep(0.5)
    return self._NewestStep(logdir)

  def _Read(self, path):
    with open(path, encoding='utf-8') as f:
      return f.read()

  def _Logs(self, logdir):
    return ''.join(f'\n{path}:\n{self._Read(path)[-3000:]}' for path in glob.glob(os.path.join(logdir, 'jobs', '*')))

  def _CheckSurvives(self, logdir, jobs, trainer, *flags):
    child = self._Start(logdir, *flags)
    step = self._WaitForStep(child, logdir, _STEPS_A_CHECKPOINT)
    for job in jobs:
      os.kill(_PidOf(logdir, job), signal.SIGKILL)
      step = self._WaitForStep(child, logdir, step + 2 * _STEPS_A_CHECKPOINT)
      self.assertIn(f'{job}-0: ended with exit code -9, restarted\n', self._Read(f'{logdir}.out'))
    # Never from the beginning: after the first checkpoint no step before it is taken again.
    steps = [
      int(step)
      for step in re.findall(r'step: *(\d+), steps/sec', self._Read(os.path.join(logdir, 'jobs', f'{trainer}-0.log')))
    ]
    after = steps[next(i for i, step in enumerate(steps) if step > 2 * _STEPS_A_CHECKPOINT) :]
    self.assertGreater(min(after), _STEPS_A_CHECKPOINT)

  def test_async_ps_controller_and_trainer(self):
    self._CheckSurvives(
      os.path.join(self.folder, 'async'),
      ['ps', 'controller', 'trainer'],
      'trainer',
      '--mode=async',
      '--workers=1',
      '--ps=1',
    )

  def test_sync_worker_controller_and_client(self):
    self._CheckSurvives(
      os.path.join(self.folder, 'sync'),
      ['worker', 'controller', 'trainer_client'],
      'trainer_client',
      '--mode=sync',
      '--workers=2',
    )


if __name__ == '__main__':
  absltest.main()
