"""Rows of what a user waits for: the trainer's help, its import, the first step of a run."""

import os
import tempfile

from . import party
from . import rows

_HAS_TENSORFLOW = (
  "import sys; import fm_lingvo.trainer; print([m for m in sys.modules if m.split('.')[0] == 'tensorflow'])"
)
_STOCK = ('lingvo.trainer', '--model=tools.bench.peers.stock_lingvo.Demo', '--run_locally=cpu', '--mode=sync')
_STOCK_NOTE = (
  "Lingvo's model, tools/bench/peers/stock_lingvo.py, is a Conformer of this size of its own layers, on random "
  'features: it reads no data, and has no front end and no quantizer'
)


def Run(setting):
  """Rows of --help and of the import."""
  found = []
  race = setting.Race(
    [_Command('help', ['-m', 'fm_lingvo.trainer', '--help']), _Command('import', ['-c', _HAS_TENSORFLOW])]
  )
  if not race['import'].failed and race['import'].facts['output'].strip() != '[]':
    race['import'].failed = 'it imports TensorFlow'
  for name, title in (('help', 'trainer --help'), ('import', 'import of the trainer, without TensorFlow')):
    found.append(_Row(title, race[name], '<= 2'))
  return found


def RunFirstStep(setting):
  """Rows of a whole command of one step, on the demo data, beside Lingvo's own trainer."""
  with tempfile.TemporaryDirectory() as folder:
    ours = _FirstStep(
      'ours',
      folder,
      [
        'fm_lingvo.trainer',
        '--model=asr.BestRqPretrain',
        '--gin.BestRqPretrain.max_steps=1',
        '--gin_bindings=task.train.eval_datasets = []',
      ],
    )
    alone = _FirstStep(
      'lingvo.trainer, no controller', folder, [*_STOCK, '--job=trainer_client', '--checkpoint_in_trainer_cpu']
    )
    # Lingvo's modules are warm from the race before.
    stock = _FirstStep('lingvo.trainer', folder, _STOCK, warm_up=0)
    if not os.path.isdir(os.path.join(party.ROOT, 'data', 'demo')):
      ours.missing = 'no data/demo, which make data prepares'
    race = setting.Race([ours, alone], 1 if setting.quick else min(setting.rounds, 3))
    if setting.quick:
      stock.missing = 'it takes a minute'
    race.update(setting.Race([stock], 1))  # Most of it is waiting, which other work does not change.
  name = 'command to the end of its first step, checkpoint included, demo size'
  yield rows.Compare(
    f'{name}, beside lingvo.trainer',
    race,
    ['ours'],
    '<= 0.333',
    inverse=True,
    others=[stock.name],
    note=(
      'the ratio is ours / Lingvo; its trainer as its documentation starts it, which sleeps 30 s before the first step, no '
      f"processor's time; {_STOCK_NOTE}"
    ),
  )
  yield rows.Compare(
    f'{name}, beside lingvo.trainer without its controller',
    race,
    ['ours'],
    inverse=True,
    others=[alone.name],
    note=f'the ratio is ours / Lingvo; --job=trainer_client --checkpoint_in_trainer_cpu; {_STOCK_NOTE}',
  )


def _FirstStep(name, folder, argv, **sizes):
  """A Party of a command in a new folder that must leave the checkpoint of step 1 there: Lingvo exits with 0 anyway."""
  logdir = os.path.join(folder, name.replace(' ', '_'))
  script = (
    f'import glob, shutil, subprocess, sys; shutil.rmtree({logdir!r}, ignore_errors=True); '
    f'code = subprocess.call([sys.executable, "-m", *{argv!r}, "--logdir={logdir}"]); '
    f'sys.exit(code or (not glob.glob("{logdir}/train/ckpt-*1.index") and "Error: no checkpoint of step 1"))'
  )
  return _Command(name, ['-c', script], calls=1, **sizes)


def _Command(name, argv, **sizes):
  return party.Party(name, 'tools.bench.ours.command', {'argv': argv, **sizes})


def _Row(name, measured, bar):
  """A row of seconds, which are the ratio too: no peer."""
  seconds = None if measured.failed else measured.seconds
  return rows.Row(
    name,
    's',
    seconds,
    None,
    bar,
    ratio=seconds,
    note='no peer; the bar is on the seconds',
    parties={measured.party.name: measured.Json()},
  )
