"""`--help` of every command is quick and silent: no TensorFlow, no other slow package, nothing on standard error.

One process, since only a fresh one tells what a command imports; it runs `--help` of one command after the other.
"""

import glob
import json
import os
import re
import subprocess
import sys

from absl.testing import absltest

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Processes that other tools start, without flags of their own.
_NO_COMMANDS = ('tools.bench.worker', 'tools.bench.peers.train_speechbrain', 'tools.speech_synthesis.speech_helper')
_SLOW = ('tensorflow', 'lingvo', 'apache_beam', 'torch', 'matplotlib', 'scipy', 'pandas', 'optuna', 'starlette')

_PROGRAM = f"""
import contextlib, io, json, runpy, sys
found = {{}}
for name in sys.argv[1:]:
  sys.argv[:] = [name, '--help']
  out, code, before = io.StringIO(), None, set(sys.modules)
  try:
    with contextlib.redirect_stdout(out):
      runpy.run_module(name, run_name='__main__', alter_sys=True)
  except SystemExit as e:
    code = e.code
  slow = [module for module in {_SLOW!r} if module in sys.modules and module not in before]
  found[name] = [code, out.getvalue(), slow]
print(json.dumps(found))
"""


def _Commands():
  """The modules that are run as `python -m NAME`."""
  names = ['fm_lingvo.trainer', 'tests.faults']
  for path in sorted(glob.glob(os.path.join(_ROOT, 'tools', '**', '*.py'), recursive=True)):
    with open(path, encoding='utf-8') as f:
      if re.search(r'(?m)^if __name__ == ', f.read()):
        name = os.path.relpath(path, _ROOT).removesuffix('.py').replace(os.sep, '.').removesuffix('.__main__')
        names += [name] if name not in _NO_COMMANDS else []
  return names


class HelpTest(absltest.TestCase):
  def test_help_of_every_command_is_silent_and_imports_nothing_slow(self):
    commands = _Commands()
    self.assertContainsSubset(['tools.recipe', 'tools.adapters', 'tools.prepare_data', 'tools.setup_env'], commands)
    python = [sys.executable, '-W', 'ignore::RuntimeWarning:runpy']  # One command imports another one.
    done = subprocess.run([*python, '-c', _PROGRAM, *commands], cwd=_ROOT, capture_output=True, text=True, check=False)
    self.assertEqual((done.returncode, done.stderr), (0, ''))
    for name, (code, text, slow) in json.loads(done.stdout).items():
      with self.subTest(name):
        self.assertEqual((code, slow), (0, []))
        last = re.escape(name.rpartition('.')[2])
        self.assertRegex(text, rf'python -m {re.escape(name)}\b|{last}\.py|{last} --')  # An example.


if __name__ == '__main__':
  absltest.main()
