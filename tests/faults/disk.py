"""A disk that is full, a folder that is read-only or vanishes: one line says why the run ended; checkpoints stay whole.

The full disk is a tmpfs of a few megabytes where mounting is allowed, else a limit on the size of a file, at which the
same calls fail.
"""

import contextlib
import functools
import os
import resource
import shutil
import signal
import subprocess

from lingvo import compat as tf

from fm_lingvo.checkpoints import run_checkpoints
from tests.faults import audio
from tests.faults import processes
from tests.faults import suite as suite_lib
from tests.faults import tiny_run

_KILOBYTES = 40_000


@contextlib.contextmanager
def SmallDisk(folder, kilobytes):
  """Mounts a file system of so many kilobytes; gives its folder, or None where that is not allowed."""
  os.makedirs(folder, exist_ok=True)
  mounted = not subprocess.run(
    ['mount', '-t', 'tmpfs', '-o', f'size={kilobytes}k', 'tmpfs', folder], capture_output=True, check=False
  ).returncode
  try:
    yield folder if mounted else None
  finally:
    if mounted:
      subprocess.run(['umount', '-l', folder], capture_output=True, check=True)


def Fill(folder, leave=0):
  """Fills a file system, but for some bytes."""
  with open(os.path.join(folder, 'filler'), 'wb', buffering=0) as f:
    try:
      while True:
        f.write(bytes(4096))
    except OSError:
      os.truncate(f.fileno(), max(0, f.tell() - leave))


def IsWhole(run):
  """Whether there are checkpoints, all can be read, and the one that a resumption tries first is the last one."""
  prefixes = [run.Prefix(step) for step in run.Steps()]
  try:
    for prefix in prefixes:
      tiny_run.ReadCheckpoint(prefix)
  except (tf.errors.OpError, ValueError):
    return False
  return run_checkpoints.Newest(os.path.join(run.folder, 'train')) in prefixes[-1:]


# Name -> what is done to a disk with a run.
FAULTS = {
  'full: checkpoint': lambda disk: Fill(disk, 20_000),
  'full to the last byte': Fill,
  'vanished': lambda disk: shutil.rmtree(os.path.join(disk, 'run')),
}


def Run(suite):
  """Runs training and preparation on bad disks; yields a Case for each."""
  for name, break_it in suite.Faults(FAULTS, 'full: checkpoint'):
    with SmallDisk(suite.path / 'disk', _KILOBYTES) as mount:
      if mount is None:
        yield _Limited(tiny_run.TinyRun(suite.folder, 'limited'))
        break
      run = tiny_run.TinyRun(suite.folder, 'disk/run')
      with run.Start(max_steps=10**6, evaluated=['DevHuman']) as child:
        child.WaitFor(r'step 6/')
        break_it(mount)
        done = child.Wait(120)
      lines = [line for line in done.err.strip().splitlines() if line.startswith('trainer: ')]
      yield suite_lib.Ended(
        name, done, 1, 'cannot be written', len(lines) == 1 and (name == 'vanished' or IsWhole(run))
      )
  # Below a file no folder can be made; permissions would not stop root.
  (suite.path / 'blocker').touch()
  yield suite_lib.Ended(
    'no folder for the run', tiny_run.TinyRun(suite.folder, 'blocker/run').Train(), 2, 'cannot be written'
  )
  if suite.full:
    yield from _ReadOnly(suite)
    yield from _Prepare(suite)


def _LimitFileSize(num_bytes):
  """Patch: writing more than so many bytes into a file fails, as on a full disk."""
  signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
  resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, num_bytes))


def _Limited(run):
  run.Train(max_steps=2)
  done = run.Train(patch=functools.partial(_LimitFileSize, 50_000))
  return suite_lib.Ended('files that cannot grow', done, 1, 'cannot be written', IsWhole(run))


def _ReadOnly(suite):
  """A run is resumed where nothing can be written any more; a file system with open files cannot become read-only."""
  with SmallDisk(suite.path / 'disk', _KILOBYTES) as mount:
    if mount:
      run = tiny_run.TinyRun(suite.folder, 'disk/run')
      run.Train(max_steps=2)
      subprocess.run(['mount', '-o', 'remount,ro', mount], capture_output=True, check=True)
      done = run.Train()
      yield suite_lib.Ended('read-only', done, 2, 'cannot be written (Read-only file system)', IsWhole(run))


def _Prepare(suite):
  """Data is prepared onto a full disk: nothing half made may look whole."""
  sounds = suite.path / 'sounds'
  sounds.mkdir()
  for i in range(40):
    (sounds / f'{i}.wav').write_bytes(audio.Wav(data=audio.Tone(3.0).tobytes()))
  manifest = sounds / 'all.jsonl'
  manifest.write_text(''.join(f'{{"audio_filepath": "{i}.wav"}}\n' for i in range(40)))
  with SmallDisk(suite.path / 'prepared', 2000) as mount:
    if mount:
      flags = ['--importer=manifest', f'--input={manifest}', f'--output={mount}/set']
      done = processes.Command('tools.prepare_data', flags, suite.folder)
      holds = not os.listdir(mount) and done.err.count('prepare_data: ') == 1
      message = 'cannot be written (No space left on device)'
      yield suite_lib.Ended('full: preparation', done, 1, message, holds)
