"""The wheel: it installs fm_lingvo alone, and its commands work in an environment that knows nothing of the checkout.

Builds and installs, and starts a process for each command: an installed command has no other proof.
"""

import configparser
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import wave
import zipfile

import pytest
from absl.testing import absltest

from tests import graph_case
from tests import run_case
from tests import tiny_data

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_SOURCES = ('fm_lingvo', 'params', 'tools', 'pyproject.toml', 'setup.py', 'requirements.txt', 'LICENSE')
# Beside the code, for who reads or builds it.
_NOT_PACKED = ('fm_lingvo/BUILD', 'fm_lingvo/params/BUILD', 'fm_lingvo/tools/BUILD', 'fm_lingvo/tools/texts/README.md')


def _Run(command, **kwargs):
  """Runs a command without the checkout on its path; returns its standard output."""
  environ = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
  run = subprocess.run(command, capture_output=True, text=True, check=False, env=environ, **kwargs)
  if run.returncode:
    raise AssertionError(f'{command}: exit code {run.returncode}\n{run.stdout[-2000:]}\n{run.stderr[-4000:]}')
  return run.stdout


@pytest.mark.slow
class WheelTest(graph_case.GraphCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = tempfile.mkdtemp()
    cls.addClassCleanup(shutil.rmtree, cls.folder)
    source, dist = f'{cls.folder}/source', f'{cls.folder}/dist'
    os.mkdir(source)
    for name in _SOURCES:
      path = os.path.join(ROOT, name)
      if os.path.isdir(path):
        shutil.copytree(path, f'{source}/{name}', ignore=shutil.ignore_patterns('__pycache__'))
      else:
        shutil.copy(path, source)
    pip = [sys.executable, '-m', 'pip', '--disable-pip-version-check', '--quiet']
    _Run([*pip, 'wheel', '--no-deps', '--no-index', '--no-build-isolation', f'--wheel-dir={dist}', source])
    (cls.wheel,) = [os.path.join(dist, name) for name in os.listdir(dist)]
    # An environment that sees the packages beside this interpreter, but not an editable install among them.
    _Run([sys.executable, '-m', 'venv', '--without-pip', f'{cls.folder}/env'])
    cls.bin = f'{cls.folder}/env/bin'
    packages = _Run([f'{cls.bin}/python', '-c', 'import sysconfig; print(sysconfig.get_paths()["purelib"])']).strip()
    with open(os.path.join(packages, 'dependencies.pth'), 'w') as f:
      f.write(sysconfig.get_paths()['purelib'] + '\n')
    _Run([*pip, f'--python={cls.bin}/python', 'install', '--no-deps', '--no-index', cls.wheel], cwd=cls.folder)
    cls.work = f'{cls.folder}/work'
    os.mkdir(cls.work)

  def _Command(self, name, *args):
    return _Run([f'{self.bin}/{name}', *args], cwd=self.work)

  def _WriteWave(self, name):
    path = os.path.join(self.work, name)
    with wave.open(path, 'wb') as f:
      f.setparams((1, 2, 16000, 0, 'NONE', 'not compressed'))
      f.writeframes(tiny_data.Waveform(1.5, seed=1).tobytes())
    return path

  def test_holds_fm_lingvo_alone_and_every_file_of_it(self):
    with zipfile.ZipFile(self.wheel) as f:
      names = {name for name in f.namelist() if '.dist-info/' not in name}
      tops = {name.split('/')[0] for name in f.namelist()}
    self.assertEqual({top for top in tops if not top.endswith('.dist-info')}, {'fm_lingvo'})
    expected = set()
    for folder, inside in (('fm_lingvo', ''), ('params', 'fm_lingvo/'), ('tools', 'fm_lingvo/')):
      for parent, _, files in os.walk(os.path.join(ROOT, folder)):
        if not parent.endswith('__pycache__'):
          expected |= {inside + os.path.relpath(os.path.join(parent, name), ROOT) for name in files}
    self.assertEqual(names, expected - set(_NOT_PACKED))

  def test_every_command_says_how_it_is_used(self):
    with zipfile.ZipFile(self.wheel) as f:
      (entries,) = [name for name in f.namelist() if name.endswith('entry_points.txt')]
      scripts = configparser.ConfigParser()
      scripts.read_string(f.read(entries).decode())
    commands = list(scripts['console_scripts'])
    self.assertContainsSubset(['trainer', 'fm-prepare', 'fm-transcribe', 'fm-evaluate', 'fm-export'], commands)
    for command in commands:
      with self.subTest(command):
        self.assertIn('--', self._Command(command, '--help'))

  def test_trainer_builds_an_experiment_and_lists_all(self):
    code = 'import fm_lingvo; print(fm_lingvo.__file__)'
    self.assertStartsWith(self._Command('python', '-c', code), f'{self.folder}/env/')
    out = self._Command('trainer', '--model=asr.BestRqPretrain', '--dry_run', '--gin_file=params/gin/tiny.gin')
    self.assertIn('parameters total=', out)
    self.assertIn('asr.BestRqPretrain ', self._Command('trainer', '--list_models'))

  def test_transcribes(self):
    run_case.MakeRun(f'{self.work}/run', 'asr.AdapterFinetune', 'nowhere')
    out = self._Command('fm-transcribe', 'run', self._WriteWave('call.wav'), '--format=json')
    self.assertIsInstance(json.loads(out)['text'], str)
    found = json.loads(self._Command('fm-transcribe', 'call.wav', '--format=json'))  # With the model in the wheel.
    self.assertIsInstance(found['text'], str)
    self.assertEqual(found['language'], 'en')

  def test_prepares_a_data_set(self):
    with open(f'{self.work}/manifest.jsonl', 'w') as f:
      f.write(json.dumps({'audio_filepath': self._WriteWave('said.wav'), 'text': 'some words'}) + '\n')
    self._Command('fm-prepare', '--importer=manifest', '--input=manifest.jsonl', '--output=data', '--dev_percent=0')
    self.assertTrue(os.path.exists(f'{self.work}/data/dataset.json'))


if __name__ == '__main__':
  absltest.main()
