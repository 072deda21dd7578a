"""Clusters: the commands of their jobs, and real ones on loopback."""

import contextlib
import glob
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from unittest import mock

import numpy as np
import pytest
from absl.testing import absltest

from fm_lingvo import errors
from fm_lingvo.run_files import metrics_log
from params import asr
from tests import cluster_case
from tests import process_case
from tests import tiny_data
from tools import run_local_cluster
from tools.cluster import local
from tools.cluster import plan
from tools.common import interrupts


def _Running(text):
  """Processes whose command line contains `text`."""
  found = []
  for path in glob.glob('/proc/[0-9]*/cmdline'):
    try:
      with open(path, 'rb') as f:
        if text.encode() in f.read():
          found.append(path)
    except OSError:  # It has ended.
      pass
  return found


class PlanTest(absltest.TestCase):
  def _Plan(self, mode, workers=2, ps=1, hosts=('a', 'b', 'c'), data_workers=0):
    names = plan.Names(mode, workers, ps, data_workers)
    return plan.Plan(mode, plan.OnHosts(names, list(hosts)), ['--model=asr.X', '--logdir=runs/x'])

  def test_the_host_of_an_address(self):
    for address, host in (('a:2222', 'a'), ('a', 'a'), ('[fd00::1]:2222', '[fd00::1]'), ('[fd00::1]', '[fd00::1]')):
      self.assertEqual(plan.Job('worker', 0, address, ()).host, host)
    args = ['run_local_cluster', '--hosts=a,fd00::1', '--', '--model=asr.Supervised', '--logdir=runs/x']
    with contextlib.redirect_stderr(io.StringIO()) as err:
      self.assertEqual(run_local_cluster.Main(args), 2)
    self.assertRegex(err.getvalue(), r'--hosts: fd00::1: expected a name without a port, or \[fd00::1\] for an address')

  def test_every_job_has_the_cluster_spec_and_its_own_task(self):
    for mode, spec, roles in (
      (
        'sync',
        'worker=a:2222,b:2222@controller=c:2222@trainer_client=a:2223',
        ['--worker_job=/job:worker', '--worker_replicas=2', '--ps_job=/job:worker', '--ps_replicas=2'],
      ),
      (
        'async',
        'ps=a:2222@controller=b:2222@trainer=c:2222,a:2223',
        ['--worker_job=/job:trainer', '--worker_replicas=2', '--ps_job=/job:ps', '--ps_replicas=1'],
      ),
    ):
      jobs = self._Plan(mode)
      self.assertLen({(job.name, job.task) for job in jobs}, 4)
      for job in jobs:
        self.assertEqual(
          job.Command(),
          [
            'trainer',
            '--model=asr.X',
            '--logdir=runs/x',
            f'--mode={mode}',
            f'--cluster_spec={spec}',
            *roles,
            f'--job={job.name}',
            f'--task={job.task}',
          ],
        )
        listed = re.search(rf'(?:^|@){job.name}=([^@]+)', spec).group(1).split(',')
        self.assertEqual(listed[job.task], job.address)

  def test_a_data_service_is_known_to_its_workers_and_all_trainers(self):
    dispatcher, *workers = [job.Command(python='py') for job in self._Plan('sync', data_workers=2, hosts='ab')]
    self.assertEqual(dispatcher, ['py', '-m', 'tools.data_service', 'dispatcher', '--port=2222'])
    data_workers, trainers = workers[:2], workers[2:]
    self.assertEqual(
      data_workers,
      [
        [
          'py',
          '-m',
          'tools.data_service',
          'worker',
          '--dispatcher=a:2222',
          f'--host={host}',
          f'--port={port}',
          '--wait_seconds=120',
        ]
        for host, port in (('b', 2222), ('a', 2223))
      ],
    )
    for command in trainers:
      self.assertEqual(command[0], 'trainer')
      self.assertIn('--tf_data_service_address=a:2222', command)
      self.assertIn('--cluster_spec=worker=b:2223,a:2224@controller=b:2224@trainer_client=a:2225', command)

  def test_gpus_of_a_host_are_shared_out_to_its_trainers(self):
    addresses = plan.OnHosts(plan.Names('async', 3, 1), ['a', 'b'])
    jobs = plan.Plan('async', addresses, ['--model=asr.X', '--logdir=runs/x'], worker_gpus=2)
    self.assertEqual(
      [(job.title, job.address[0], job.gpus) for job in jobs],
      [
        ('ps-0', 'a', ''),
        ('controller-0', 'b', ''),
        ('trainer-0', 'a', '0,1'),
        ('trainer-1', 'b', '0,1'),
        ('trainer-2', 'a', '2,3'),
      ],
    )
    self.assertEqual(jobs[-1].Command()[:3], ['env', 'CUDA_VISIBLE_DEVICES=2,3', 'trainer'])

  def test_no_two_jobs_share_an_address(self):
    for hosts in (['a'], ['a', 'b'], list('abcdefgh')):
      addresses = [job.address for job in self._Plan('async', workers=5, ps=3, hosts=hosts)]
      self.assertLen(set(addresses), len(addresses))

  def test_errors_are_one_line(self):
    for args, expected in (
      (('both', 1, 1), '--mode=both: expected one of sync, async'),
      (('sync', 0, 1), '--workers=0: expected >= 1'),
      (('async', 1, 0), '--ps=0: expected >= 1'),
      (('sync', 1, 1, -1), '--data_workers=-1: expected >= 0'),
    ):
      with self.assertRaises(errors.ConfigError) as caught:
        plan.Names(*args)
      self.assertEqual(str(caught.exception), expected)
    with self.assertRaisesRegex(errors.ConfigError, '^--worker_gpus=-3: expected >= 0$'):
      plan.Plan('sync', {}, [], worker_gpus=-3)


class InterruptTest(absltest.TestCase):
  def test_a_job_that_is_being_started_when_a_signal_comes_is_ended_too(self):
    child = mock.Mock()

    def Popen(*unused_args, **unused_kwargs):
      os.kill(os.getpid(), signal.SIGTERM)  # Between the fork and its return.
      return child

    for signum in (signal.SIGTERM, signal.SIGINT):
      self.addCleanup(signal.signal, signum, signal.getsignal(signum))
    interrupts.Raise()
    cluster = local.Cluster([plan.Job('worker', 0, 'a:1', ())], self.enter_context(tempfile.TemporaryDirectory()))
    with mock.patch.object(subprocess, 'Popen', Popen), self.assertRaises(KeyboardInterrupt) as caught:
      cluster.Start()
    self.assertEqual(caught.exception.args, (signal.SIGTERM,))
    child.poll.return_value = None
    cluster.Stop()
    child.terminate.assert_called_once_with()


class LoopbackTest(absltest.TestCase):
  def test_where_only_half_of_it_is_allowed_the_old_network_stays_and_the_reason_is_returned(self):
    code = (
      'import errno, fcntl, os\nfrom unittest import mock\nfrom tools.cluster import loopback\n'
      'before = os.readlink("/proc/self/ns/net")\n'
      'with mock.patch.object(fcntl, "ioctl", side_effect=OSError(errno.EPERM, "no")):\n'
      '  print(loopback.Enter())\n'
      'print(os.readlink("/proc/self/ns/net") == before)\n'
    )
    done = subprocess.run(
      [sys.executable, '-c', code], env=process_case.Environment(), capture_output=True, text=True, check=True
    )
    self.assertEqual(done.stdout, 'Operation not permitted\nTrue\n')


class HostsTest(absltest.TestCase):
  def _Main(self, *argv):
    """Runs the tool; returns (exit code, standard output, standard error)."""
    for signum in (signal.SIGTERM, signal.SIGINT):
      self.addCleanup(signal.signal, signum, signal.getsignal(signum))
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
      code = run_local_cluster.Main(['run_local_cluster', *argv])
    return code, out.getvalue(), err.getvalue()

  def test_commands_for_hosts_start_nothing(self):
    logdir = os.path.join(self.enter_context(tempfile.TemporaryDirectory()), 'nowhere')
    flags = ['--', '--model=asr.Supervised', f'--logdir={logdir}']
    code, out, _ = self._Main('--workers=2', '--hosts=a,b', *flags)
    self.assertEqual(code, 0)
    self.assertEqual(
      re.findall(r'(?m)^# (.*)$', out), ['worker-0 on a', 'worker-1 on b', 'controller-0 on a', 'trainer_client-0 on b']
    )
    self.assertLen(re.findall(r'(?m)^trainer --model=asr.Supervised ', out), 4)
    self.assertFalse(os.path.exists(logdir))
    self.assertEqual(
      self._Main('--hosts=,', *flags), (2, '', 'run_local_cluster: --hosts=,: expected names of hosts, such as a,b\n')
    )


@pytest.mark.slow
class LocalClusterTest(cluster_case.ClusterCase):
  """Real clusters: only they show that the jobs find each other, train and end."""

  def _TrainerFlags(self, batch_seconds=4.0, last=4):
    knobs = {
      'data_dir': self.data_dir,
      'source': 'human',
      'target': 'synthetic',
      'max_steps': 4,
      'augment': False,
      'spec_augment': False,
    }
    bindings = [
      *tiny_data.Bindings(asr.Supervised),
      *(f'Supervised.{k} = {v!r}' for k, v in knobs.items()),
      f'Supervised.batch_seconds = {batch_seconds}',
      'Supervised.max_seconds = 4.0',
      f'task.train.max_steps = {last}',
    ]  # Of a schedule for 4.
    return ['--model=asr.Supervised', *(f'--gin_bindings={b}' for b in bindings)]

  def _Command(self, *flags, logdir='run', **kwargs):
    return [
      self.python,
      '-m',
      'tools.run_local_cluster',
      *flags,
      '--',
      *self._TrainerFlags(**kwargs),
      f'--logdir={os.path.join(self.folder, logdir)}',
    ]

  def _Run(self, *args, code=0, **kwargs):
    done = subprocess.run(
      self._Command(*args, **kwargs), cwd=process_case.ROOT, capture_output=True, text=True, check=False
    )
    self.assertEqual(done.returncode, code, done.stdout + done.stderr)
    return done

  def _Losses(self, logdir):
    with open(os.path.join(self.folder, logdir, 'jobs', 'trainer_client-0.log'), encoding='utf-8') as f:
      found = re.findall(r'step: +(\d+), steps/sec.* loss:([\d.]+)', f.read())
    self.assertEqual([int(step) for step, _ in found], [1, 2, 3, 4])
    return [float(loss) for _, loss in found]

  def test_two_workers_train_as_one_does_with_the_same_global_batch_also_when_they_resume(self):
    self._Run('--mode=sync', '--workers=1', logdir='one', batch_seconds=8.0)
    for last in (2, 4):
      self._Run('--mode=sync', '--workers=2', logdir='two', batch_seconds=4.0, last=last)
    np.testing.assert_allclose(self._Losses('two'), self._Losses('one'), rtol=1e-5)
    for run in ('one', 'two'):
      self.assertTrue(os.path.exists(os.path.join(self.folder, run, 'train', 'ckpt-00000004.index')))

  def test_asynchronous_trainers_reach_the_last_step_which_is_evaluated(self):
    out = self._Run(
      '--mode=async', '--workers=2', '--ps=1', '--evaluate=DevTarget', '--data_workers=1', logdir='async'
    ).stdout
    self.assertLen(re.findall(r'(?m)^trainer .*--tf_data_service_address=localhost:\d+ .*--job=trainer ', out), 2)
    self.assertRegex(out, r'(?m)^trainer-0: done$')
    self.assertRegex(out, r'(?m)^evaler_DevTarget-0: done$')
    run = os.path.join(self.folder, 'async')
    self.assertTrue(os.path.exists(os.path.join(run, 'train', 'ckpt-00000004.index')))
    last = metrics_log.ReadMetrics(os.path.join(run, 'metrics.jsonl'))[-1]
    self.assertEqual((last['dataset'], last['step']), ('DevTarget', 4))
    self.assertGreater(last['labeled/wer'], 0)
    for name in ('hypotheses/DevTarget.jsonl', 'tokenizer_transducer.model'):
      self.assertTrue(os.path.exists(os.path.join(run, name)), name)
    self.assertNotEmpty(os.listdir(os.path.join(run, 'eval_devtarget')))
    # Of the same checkpoint a local run says the same, but for rounding: other passes optimise a job's graphs.
    local = os.path.join(self.folder, 'local')
    shutil.copytree(os.path.join(run, 'train'), os.path.join(local, 'train'))
    flags = [*self._TrainerFlags(), f'--logdir={local}']
    subprocess.run(
      [self.python, '-m', 'fm_lingvo.trainer', *flags], cwd=process_case.ROOT, check=True, capture_output=True
    )
    rows = metrics_log.ReadMetrics(os.path.join(local, 'metrics.jsonl'))
    (here,) = [row for row in rows if row['dataset'] == 'DevTarget']
    self.assertEqual(here.keys(), last.keys())
    for name in here.keys() - {'time'}:
      if isinstance(here[name], float):
        self.assertAlmostEqual(here[name], last[name], delta=1e-6 * abs(last[name]), msg=name)
      else:
        self.assertEqual(here[name], last[name], name)

  def test_a_folder_that_cannot_be_made_is_named(self):
    path = os.path.join(self.folder, 'file')
    with open(path, 'w', encoding='utf-8'):
      pass
    done = subprocess.run(
      [
        self.python,
        '-m',
        'tools.run_local_cluster',
        '--workers=1',
        '--',
        '--model=asr.Supervised',
        f'--logdir={path}',
      ],
      cwd=process_case.ROOT,
      capture_output=True,
      text=True,
      check=False,
    )
    self.assertEqual(done.returncode, 1, done.stderr)
    self.assertRegex(done.stderr, r'(?m)^run_local_cluster: .*/file/jobs: cannot be written \(Not a directory\)$')

  def test_a_job_that_cannot_start_ends_the_cluster(self):
    command = self._Command('--workers=1', logdir='bad') + ['--gin_bindings=task.encoder.num_heads = 3']
    done = subprocess.run(command, cwd=process_case.ROOT, capture_output=True, text=True, check=False)
    self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
    self.assertRegex(done.stderr, r'^run_local_cluster: [\w-]+ ended with exit code 2; see .*/bad/jobs/[\w-]+\.log\n$')

  def test_sigterm_ends_every_process(self):
    child = subprocess.Popen(
      self._Command('--workers=1', logdir='stopped'),
      cwd=process_case.ROOT,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    logs = os.path.join(self.folder, 'stopped', 'jobs')
    while not os.path.exists(os.path.join(logs, 'trainer_client-0.log')):
      time.sleep(0.1)
    child.send_signal(signal.SIGTERM)
    _, error = child.communicate(timeout=60)
    self.assertEqual(child.returncode, 143)
    self.assertEqual(error, 'run_local_cluster: stopped; the same command resumes from the newest checkpoint\n')
    self.assertEmpty(_Running(f'logdir={self.folder}/stopped'))


if __name__ == '__main__':
  absltest.main()
