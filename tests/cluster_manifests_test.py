"""Files for schedulers start the jobs of the plan: read by a YAML parser and run by bash instead of the schedulers."""

import contextlib
import io
import os
import re
import shlex
import stat
import subprocess
import tempfile

import yaml
from absl.testing import absltest
from absl.testing import parameterized

from tools import cluster_manifests
from tools.cluster import plan

_FLAGS = ['--model=asr.JustHydra', '--logdir=/shared/run', '--gin_bindings=JustHydra.unlabeled = (\'a b\', "c$d")']


def _Generate(*args, flags=_FLAGS):
  """Runs the tool; returns (exit code, standard output, standard error)."""
  out, err = io.StringIO(), io.StringIO()
  with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
    code = cluster_manifests.Main(['cluster_manifests', *args, '--', *flags])
  return code, out.getvalue(), err.getvalue()


class KubernetesTest(parameterized.TestCase):
  def _JobSet(self, *args):
    code, out, err = _Generate('--scheduler=kubernetes', '--image=registry/fm:1', *args)
    self.assertEqual(code, 0, err)
    return yaml.safe_load(out)

  @parameterized.parameters(('sync', 3, 1, 0), ('async', 2, 2, 0), ('sync', 2, 1, 2))
  def test_every_pod_runs_its_job_and_is_found_under_its_name(self, mode, workers, ps, data_workers):
    made = self._JobSet(
      f'--mode={mode}', f'--workers={workers}', f'--ps={ps}', f'--data_workers={data_workers}', '--name=fm'
    )
    started, pods = [], {}
    for replicated in made['spec']['replicatedJobs']:
      job = replicated['template']['spec']
      self.assertEqual(job['completions'], job['parallelism'])
      (container,) = job['template']['spec']['containers']
      for index in range(job['completions']):
        command = [word.replace('$(JOB_COMPLETION_INDEX)', str(index)) for word in container['command']]
        started.append(command)
        # The name that JobSet gives a pod, see its documentation of enableDNSHostnames.
        host = f'{made["metadata"]["name"]}-{replicated["name"]}-0-{index}.{made["spec"]["network"]["subdomain"]}'
        pods[replicated['name'].replace('-', '_'), index] = f'{host}:2222'
    names = plan.Names(mode, workers, ps, data_workers)
    self.assertCountEqual(pods, names)
    planned = plan.Plan(mode, {name: pods[name] for name in names}, _FLAGS)
    self.assertCountEqual(started, [job.Command() for job in planned])

  def test_only_trainers_get_gpus(self):
    made = self._JobSet('--mode=async', '--worker_gpus=4')
    limits = {
      job['name']: job['template']['spec']['template']['spec']['containers'][0]['resources']['limits']
      for job in made['spec']['replicatedJobs']
    }
    self.assertEqual({name for name, limit in limits.items() if 'nvidia.com/gpu' in limit}, {'trainer'})

  def test_the_set_ends_with_its_controller(self):
    made = self._JobSet()
    targets = made['spec']['successPolicy']['targetReplicatedJobs']
    self.assertEqual(targets, ['controller'])
    self.assertIn('controller', [job['name'] for job in made['spec']['replicatedJobs']])


class SlurmTest(parameterized.TestCase):
  """The script is run by bash; replacements of srun and scontrol write down their arguments."""

  def _Script(self, *args):
    code, out, err = _Generate('--scheduler=slurm', *args)
    self.assertEqual(code, 0, err)
    return out

  def _Run(self, script, failing='none', restarts=0):
    """Returns (exit code, list of (host, command) of srun, arguments of scontrol)."""
    with tempfile.TemporaryDirectory() as folder:
      # Workers and parameter servers never end; the others end once all have been started, or only the failing one.
      count = len(re.findall(r'(?m)^(?:GPUS=\S* )?(?:run|serve) "', script))
      self._Write(
        folder,
        'srun',
        f"""
          while [[ "$1" != trainer && "$1" != python && "$1" != env ]]; do
            [[ "$1" == --nodelist=* ]] && host="${{1#*=}}"
            shift
          done
          printf '%q ' "$host" "$@" > "$(mktemp "$0.XXXXXX")"
          case "$*" in *--job=worker*|*--job=ps*|*tools.data_service*) exec sleep 60;; esac
          until [ "$(find "${{0%/*}}" -name 'srun.*' -size +0 | wc -l)" = {count} ]; do sleep 0.1; done
          case "$*" in *--job={failing}*) exit 7;; esac
          [ {failing} = none ] || exec sleep 60""",
      )
      self._Write(
        folder,
        'scontrol',
        """
          if [ "$1" = show ]; then printf 'n%s\\n' 1 2 3; else echo "$@" >> "$0.log"; fi""",
      )
      path = os.path.join(folder, 'script')
      with open(path, 'w', encoding='utf-8') as f:
        f.write(script)
      done = subprocess.run(
        ['bash', path],
        env={
          'PATH': f'{folder}:{os.environ["PATH"]}',
          'SLURM_JOB_NODELIST': 'n[1-3]',
          'SLURM_JOB_ID': '5',
          'SLURM_RESTART_COUNT': str(restarts),
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
      )
      started = []
      for name in os.listdir(folder):
        text = open(os.path.join(folder, name), encoding='utf-8').read()
        if name.startswith('srun.'):
          host, *command = shlex.split(text)
          started.append((host, command))
      log = os.path.join(folder, 'scontrol.log')
      asked = open(log, encoding='utf-8').read() if os.path.exists(log) else ''
      return done.returncode, started, asked

  def _Write(self, folder, name, body):
    path = os.path.join(folder, name)
    with open(path, 'w', encoding='utf-8') as f:
      f.write('#!/bin/bash\n' + body)
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)

  @parameterized.parameters(('sync', 3, 1, 0, 0), ('async', 3, 2, 0, 0), ('async', 3, 1, 2, 0), ('sync', 3, 1, 1, 2))
  def test_every_job_is_started_on_its_host_and_the_script_ends_with_the_controller(
    self, mode, workers, ps, data_workers, gpus
  ):
    code, started, asked = self._Run(
      self._Script(
        f'--mode={mode}',
        f'--workers={workers}',
        f'--ps={ps}',
        f'--data_workers={data_workers}',
        f'--worker_gpus={gpus}',
      )
    )
    self.assertEqual((code, asked), (0, ''))
    addresses = plan.OnHosts(plan.Names(mode, workers, ps, data_workers), ['n1', 'n2', 'n3'])
    self.assertCountEqual(
      started, [(job.address.partition(':')[0], job.Command()) for job in plan.Plan(mode, addresses, _FLAGS, gpus)]
    )

  def test_a_failed_job_starts_the_script_again_at_most_so_often(self):
    script = self._Script('--mode=async', '--workers=3', '--max_restarts=2')
    self.assertEqual(self._Run(script, failing='trainer', restarts=1)[::2], (7, 'requeue 5\n'))
    self.assertEqual(self._Run(script, failing='trainer', restarts=2)[::2], (7, ''))


class UsageTest(parameterized.TestCase):
  @parameterized.parameters(
    (['--scheduler=pbs'], _FLAGS, '--scheduler=pbs: expected one of kubernetes, slurm'),
    (['--scheduler=kubernetes'], _FLAGS, "--image is missing: the container image with fm_lingvo's trainer"),
    (['--scheduler=slurm', '--name=A_b'], _FLAGS, '--name=A_b: expected at most 40 of a-z, 0-9 and -, a letter first'),
    (['--scheduler=slurm', '--cpus=-1'], _FLAGS, '--cpus=-1: expected >= 1'),
    (['--scheduler=slurm', '--max_restarts=-2'], _FLAGS, '--max_restarts=-2: expected >= 0'),
    (['--scheduler=slurm', '--memory=lots'], _FLAGS, '--memory=lots: expected a number of Mi, Gi or Ti, such as 32Gi'),
    (
      ['--scheduler=slurm'],
      ['--model=asr.JustHidra', '--logdir=x'],
      '--model=asr.JustHidra: no such experiment; did you mean asr.JustHydra?',
    ),
    (['--scheduler=slurm'], ['--model=x'], "no --logdir=... among the trainer's flags, which follow --"),
  )
  def test_errors_are_one_line(self, args, flags, expected):
    self.assertEqual(_Generate(*args, flags=flags), (2, '', f'cluster_manifests: {expected}\n'))


if __name__ == '__main__':
  absltest.main()
