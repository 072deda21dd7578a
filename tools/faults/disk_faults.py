"""A disk that is full, a folder that is read-only or vanishes: the last checkpoint stays whole, one line says why the run ended.

The full disk is a tmpfs of a few megabytes where mounting is allowed, else a limit on the size of a file, which fails at the
same calls.
"""

import os
import shutil
import subprocess

from lingvo import compat as tf

from fm_lingvo.checkpoints import run_checkpoints
from fm_lingvo.utils import files as file_system

from . import outcome
from . import processes
from . import tiny


class SmallDisk:
  """A folder on a file system of its own with so many kilobytes; None is given where that cannot be mounted."""

  def __init__(self, folder, kilobytes):
    self._folder, self._kilobytes = folder, kilobytes

  def __enter__(self):
    os.makedirs(self._folder, exist_ok=True)
    done = subprocess.run(
      ['mount', '-t', 'tmpfs', '-o', f'size={self._kilobytes}k', 'tmpfs', self._folder],
      capture_output=True,
      check=False,
    )
    self._mounted = done.returncode == 0
    return self._folder if self._mounted else None

  def Remount(self, options):
    """Mounts it again with other options, such as ro."""
    subprocess.run(['mount', '-o', f'remount,{options}', self._folder], capture_output=True, check=True)

  def __exit__(self, *unused):
    if self._mounted:
      subprocess.run(['umount', '-l', self._folder], capture_output=True, check=True)


def IsWhole(run):
  """Whether each checkpoint with an index can be read to its end, and one exists."""
  steps = tiny.Steps(run)
  try:
    for step in steps:
      tiny.Weights(run, step)
  except (tf.errors.OpError, ValueError):
    return False
  return bool(steps) and run_checkpoints.Newest(os.path.join(run, 'train')) == tiny.Prefix(run, steps[-1])


def _Fill(folder, leave):
  """Fills a file system, but for some bytes."""
  with open(os.path.join(folder, 'filler'), 'wb', buffering=0) as f:
    try:
      while True:
        f.write(bytes(4096))
    except OSError:
      os.truncate(f.fileno(), max(0, f.tell() - leave))


def Run(folder, size):
  """Runs training and preparation on bad disks; returns a list of Case."""
  data = os.path.join(folder, 'data')
  tiny.WriteData(data)
  cases = []
  faults = {
    'full: checkpoint': lambda disk, mount: _Fill(mount, 20_000),
    'full to the last byte': lambda disk, mount: _Fill(mount, 0),
    'vanished': lambda disk, mount: shutil.rmtree(os.path.join(mount, 'run')),
  }
  for name in size.Pick(list(faults), ['full: checkpoint']):
    disk = SmallDisk(os.path.join(folder, 'disk'), 40_000)
    with disk as mount:
      if mount is None:
        cases.append(_Limited(folder, data))
        break
      cases.append(_Train(name, mount, data, folder, lambda: faults[name](disk, mount)))
  cases.append(_NoFolder(folder, data))
  if size.full:
    cases += _ReadOnly(folder, data) + _Prepare(folder)
  return cases


def _Train(name, mount, data, folder, break_it):
  """Trains into `mount`, breaks it after some checkpoints, and where there is space again resumes."""
  run = os.path.join(mount, 'run')
  with processes.Started(tiny.Command(run, data, max_steps=10**6, evaluated=['DevHuman']), folder) as child:
    child.WaitFor(r'step 6/')
    break_it()
    done = child.Wait(120)
  lines = done.err.strip().splitlines()
  said = [line for line in lines if line.startswith('trainer: ')]
  return outcome.Ended(name, done, 1, 'cannot be written', len(said) == 1 and (name == 'vanished' or IsWhole(run)))


def _Limited(folder, data):
  run = os.path.join(folder, 'limited')
  processes.Run(tiny.Command(run, data, max_steps=2), folder)
  done = processes.Run(tiny.Command(run, data), folder, ('FileSizeLimit', 50_000))
  return outcome.Ended('files that cannot grow', done, 1, 'cannot be written', IsWhole(run))


def _ReadOnly(folder, data):
  """A run that is resumed where nothing can be written any more; a file system with open files cannot become read-only."""
  disk = SmallDisk(os.path.join(folder, 'disk'), 40_000)
  with disk as mount:
    if mount is None:
      return []
    run = os.path.join(mount, 'run')
    processes.Run(tiny.Command(run, data, max_steps=2), folder)
    disk.Remount('ro')
    done = processes.Run(tiny.Command(run, data), folder)
    return [outcome.Ended('read-only', done, 2, 'cannot be written (Read-only file system)', IsWhole(run))]


def _NoFolder(folder, data):
  """A run below a file, where no folder can be made: root may write wherever permissions forbid it."""
  blocker = os.path.join(folder, 'blocker')
  with open(blocker, 'w', encoding='utf-8'):
    pass
  done = processes.Run(tiny.Command(os.path.join(blocker, 'run'), data), folder)
  return outcome.Ended('no folder for the run', done, 2, 'cannot be written')


def _Prepare(folder):
  """Prepares data onto a full disk, then onto one with space; nothing half made may look whole."""
  import av

  sounds = os.path.join(folder, 'sounds')
  os.makedirs(sounds)
  for i in range(40):
    with av.open(os.path.join(sounds, f'{i}.wav'), 'w') as f:
      stream = f.add_stream('pcm_s16le', rate=16000, layout='mono')
      frame = av.AudioFrame.from_ndarray(tiny.Waveform(3.0, i)[None], format='s16', layout='mono')
      frame.sample_rate = 16000
      for packet in [*stream.encode(frame), *stream.encode(None)]:
        f.mux(packet)
  manifest = os.path.join(sounds, 'all.jsonl')
  with open(manifest, 'w', encoding='utf-8') as f:
    f.writelines(f'{{"audio_filepath": "{i}.wav"}}\n' for i in range(40))
  with SmallDisk(os.path.join(folder, 'prepared'), 2000) as mount:
    if mount is None:
      return []
    output = os.path.join(mount, 'set')
    done = processes.Run(
      ['prepare_data', '--importer=manifest', f'--input={manifest}', f'--output={output}'], folder, warm=False
    )
    left = os.listdir(mount)
    return [
      outcome.Ended(
        'full: preparation',
        done,
        1,
        'cannot be written (No space left on device)',
        not file_system.Exists(output) and not left and done.err.count('prepare_data: ') == 1,
      )
    ]
