"""Rows of what a user waits for: the trainer's help, its import, the first step of a run."""

import os
import shutil
import tempfile

from tools.bench import party
from tools.bench import rows

_HAS_TENSORFLOW = "import sys; import fm_lingvo.trainer; print([m for m in sys.modules if m.split('.')[0] == 'tensorflow'])"


def Run(setting):
  """Rows of --help and of the import."""
  found = []
  race = setting.Race([_Command('help', ['-m', 'fm_lingvo.trainer', '--help']), _Command('import', ['-c', _HAS_TENSORFLOW])])
  if not race['import'].failed and race['import'].facts['output'].strip() != '[]':
    race['import'].failed = 'it imports TensorFlow'
  for name, title in (('help', 'trainer --help'), ('import', 'import of the trainer, without TensorFlow')):
    found.append(_Row(title, race[name], '<= 2'))
  return found


def RunFirstStep(setting):
  """Row of a whole command of one step, on the demo data."""
  folder = tempfile.mkdtemp()
  argv = ['-m', 'fm_lingvo.trainer', '--model=asr.BestRqPretrain', '--gin.BestRqPretrain.max_steps=1',
          '--gin_bindings=task.train.eval_datasets = []', f'--logdir={folder}']
  # Every run begins anew: the folder goes first.
  script = f'import shutil, subprocess, sys; shutil.rmtree({folder!r}); sys.exit(subprocess.call([sys.executable, *{argv!r}]))'
  command = _Command('first step', ['-c', script])
  if not os.path.isdir(os.path.join(party.ROOT, 'data', 'demo')):
    command.missing = 'no data/demo, which make data prepares'
  try:
    measured = setting.Race([command])['first step']
  finally:
    shutil.rmtree(folder, ignore_errors=True)
  return [_Row('command to the end of its first step, checkpoint included, demo size', measured, '')]


def _Command(name, argv):
  return party.Party(name, 'tools.bench.ours.command', {'argv': argv})


def _Row(name, measured, bar):
  """A row of seconds, which are the ratio too: no peer."""
  seconds = None if measured.failed else measured.seconds
  note = 'no peer; the bar is on the seconds' if bar else 'the stock Lingvo trainer is not measured'
  return rows.Row(name, 's', seconds, None, bar, ratio=seconds if bar else None, note=note,
                  parties={measured.party.name: measured.Json()})
