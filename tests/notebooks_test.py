"""The notebooks run from their first cell to their last, with smaller models.

Starts Jupyter kernels: no other proof that a notebook runs. They are those of the documentation's environment
(`make docs-check` or `make test-slow` makes it), which sees the packages of .venv.
"""

import os
import shlex
import shutil
import subprocess
import tempfile
import wave

import pytest
from absl.testing import absltest

from params import asr
from tests import fork_server
from tests import pages
from tests import tiny_data

_PYTHON = os.path.join(pages.ROOT, 'build', 'docs', 'env', 'bin', 'python')
_EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
for path in sys.argv[1:]:
  NotebookClient(nbformat.read(path, 4), timeout=900, resources={'metadata': {'path': '.'}}).execute()
  print('executed', path)
"""


@pytest.mark.slow
class NotebooksTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    if not os.path.exists(_PYTHON):
      self.skipTest('no build/docs/env: make docs-check makes it')
    self.root = tempfile.mkdtemp()
    self.addCleanup(shutil.rmtree, self.root)
    for name in ('fm_lingvo', 'params', 'tools', 'tests', 'docs'):
      os.symlink(os.path.join(pages.ROOT, name), os.path.join(self.root, name))
    self._WriteCommands()
    for i in range(30):  # So many that each split has some.
      self._WriteRecording(f'my_audio/{i}', i)

  def _Path(self, *parts):
    path = os.path.join(self.root, *parts)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path

  def _WriteCommands(self):
    """`trainer` and `python` on the PATH: tests/fork_server.py's, the trainer with a tiny model and few steps."""
    server = self.enter_context(fork_server.Server(self.root, 'tests.page_preload'))
    server.WriteProgram(self._Path('bin', 'python'))
    python = shlex.quote(self._Path('bin', 'python'))
    extra = {
      name: [*tiny_data.Bindings(getattr(asr, name)), f'{name}.max_steps = 2', f'{name}.warmup_steps = 1']
      for name in ('Supervised', 'AdapterFinetune')
    }
    lines = [
      f'  *asr.{name}\\ *) set -- "$@" {shlex.join("--gin_bindings=" + b for b in extra[name])} ;;' for name in extra
    ]
    text = '#!/bin/sh\ncase "$* " in\n' + '\n'.join(lines) + f'\nesac\nexec {python} -m fm_lingvo.trainer "$@"\n'
    with open(self._Path('bin', 'trainer'), 'w', encoding='utf-8') as f:
      f.write(text)
    os.chmod(self._Path('bin', 'trainer'), 0o755)

  def _WriteRecording(self, name, seed):
    with wave.open(self._Path(f'{name}.wav'), 'wb') as f:
      f.setparams((1, 2, 16000, 0, 'NONE', 'not compressed'))
      f.writeframes(tiny_data.Waveform(1.5, seed).tobytes())
    with open(self._Path(f'{name}.txt'), 'w', encoding='utf-8') as f:
      f.write('some words\n')

  def test_both_run_to_their_end(self):
    notebooks = [os.path.join(pages.ROOT, 'docs', 'notebooks', f'{name}.ipynb') for name in ('quick_start', 'adapt')]
    environment = {
      **os.environ,
      'PYTHONPATH': self.root,
      'PATH': f'{self.root}/bin{os.pathsep}{os.environ["PATH"]}',
      'MPLBACKEND': 'agg',
    }
    done = subprocess.run(
      [_PYTHON, '-c', _EXECUTE, *notebooks],
      cwd=self.root,
      env=environment,
      text=True,
      capture_output=True,
      check=False,
      timeout=1800,
    )
    self.assertEqual(done.returncode, 0, done.stderr[-4000:])
    self.assertEqual(done.stdout.count('executed'), 2)


if __name__ == '__main__':
  absltest.main()
