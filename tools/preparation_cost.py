"""What the data preparation costs at scale: its speed and memory over the hours of audio that it has written.

  python -m tools.preparation_cost --hours=100 --workers=2 --folder=/scratch/preparation

writes recordings of about 12 s, FLAC of 16 kHz as LibriSpeech's, from the speech of a data set; a manifest that lists them again
and again until it has the hours; runs tools.prepare_data on it, and samples the memory of all its processes and the bytes in
their shards. It prints a table, a row for each tenth of the hours, and writes docs/results/preparation.json. The data, 115 MB an
hour, is removed at the end. Exit code 1: the preparation failed or lost something; 2: wrong usage; 130: Ctrl-C.
"""

import argparse
import dataclasses
import datetime
import itertools
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np
import psutil
import soundfile

from fm_lingvo import dataset
from fm_lingvo import errors
from tools import exit_codes
from tools import results
from tools import results_table
from tools import shards
from tools.common import this_machine

_RECORDING_SECONDS = 12.0
_LONGEST_SECONDS = 10.0  # Of an utterance that goes into a recording, whose limit is 30 s.
_BYTES_AN_HOUR = 2 * dataset.SAMPLE_RATE * 3600
_SAMPLE_SECONDS = 0.5
_ROWS = 10
MODES = ('multi_threading', 'multi_processing')


class PreparationFailed(errors.RunError):
  """The preparation did not write what it was given."""


@dataclasses.dataclass
class Sample:
  """The preparation at one time."""
  seconds: float  # Since its start.
  hours: float  # Of audio, written so far.
  memory_gb: float  # Of all its processes; a page that several share counts once.
  cpu_seconds: float  # Of all its processes until now; unlike the time, other work on the machine changes it little.


def WriteRecordings(source, folder, count):
  """Writes FLAC files of about 12 s: utterances of a data set, one after the other.

  Args:
    source: folder of the data set.
    folder: where to write.
    count: files, if the data set has so much speech.

  Returns:
    List of (path, seconds).

  Raises:
    errors.ConfigError: the data set has less speech than one recording.
  """
  import tensorflow as tf  # Heavy: --help need not wait.  pylint: disable=g-import-not-at-top
  spec = dataset.FeatureSpec()
  found, chunks, total = [], [], 0
  for record in tf.data.TFRecordDataset(dataset.ShardPaths(source, 'train')):
    samples = np.frombuffer(tf.io.parse_single_example(record, spec)['audio'].numpy(), '<i2')
    if len(samples) > _LONGEST_SECONDS * dataset.SAMPLE_RATE:
      continue
    chunks.append(samples)
    total += len(chunks[-1])
    if total >= _RECORDING_SECONDS * dataset.SAMPLE_RATE:
      path = os.path.join(folder, f'{len(found):05d}.flac')
      soundfile.write(path, np.concatenate(chunks), dataset.SAMPLE_RATE)
      found.append((path, total / dataset.SAMPLE_RATE))
      chunks, total = [], 0
      if len(found) == count:
        break
  if not found:
    raise errors.ConfigError(f'--source={source}: expected {_RECORDING_SECONDS:g} s of speech for training, or more')
  return found


def WriteManifest(path, recordings, hours):
  """Lists recordings again and again, each time under another id, until there are `hours`; returns the hours."""
  seconds = 0.0
  with open(path, 'w', encoding='utf-8') as f:
    for i, (recording, duration) in enumerate(itertools.cycle(recordings)):
      if seconds >= hours * 3600:
        return seconds / 3600
      f.write(json.dumps({'audio_filepath': recording, 'duration': duration, 'utt_id': f'recording-{i:07d}'}) + '\n')
      seconds += duration
  raise AssertionError('itertools.cycle does not end')


class Watcher:
  """Samples a process with all that it has started, and the shards that they write."""

  def __init__(self, process, folder):
    """Constructor.

    Args:
      process: subprocess.Popen.
      folder: where the shards are written.
    """
    self._process, self._folder, self._started = process, folder, time.time()
    self._cpu_seconds = {}  # Of each process that was ever seen, ended ones too.

  def Watch(self):
    """Samples until the process has ended; list of Sample."""
    samples = []
    while self._process.poll() is None:
      samples.append(self.Sample())
      time.sleep(_SAMPLE_SECONDS)
    return samples

  def Sample(self):
    """A Sample of now."""
    memory = sum(self._LookAt(process) for process in self._Processes())
    return Sample(time.time() - self._started, _Bytes(self._folder) / _BYTES_AN_HOUR, memory / 2**30,
                  sum(self._cpu_seconds.values()))

  def _Processes(self):
    try:
      first = psutil.Process(self._process.pid)
      return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
      return []

  def _LookAt(self, process):
    """Notes the CPU seconds of a psutil.Process; returns its bytes of memory."""
    try:
      times = process.cpu_times()
      self._cpu_seconds[process.pid] = times.user + times.system
      return process.memory_full_info().pss
    except (psutil.NoSuchProcess, psutil.AccessDenied):  # It has ended.
      return 0


def _Bytes(folder):
  """Bytes of the shards under a folder, those of a data set that is being made too."""
  total = 0
  for where, _, names in os.walk(folder):
    for name in names:
      if '.tfrecord' not in name or name.endswith((shards.LISTING_SUFFIX, shards.ROWS_SUFFIX)):
        continue
      try:
        total += os.path.getsize(os.path.join(where, name))
      except FileNotFoundError:  # Renamed meanwhile.
        pass
  return total


def Summarise(samples, hours):
  """Figures of each tenth of the hours.

  Args:
    samples: list of Sample.
    hours: of audio in all.

  Returns:
    List of (name, label, value, unit) as docs/results has them.
  """
  figures = []
  before = samples[0]
  for i in range(_ROWS):
    low, high = hours * i / _ROWS, hours * (i + 1) / _ROWS
    inside = [s for s in samples if low < s.hours <= high]
    if not inside:
      continue
    name, last = f'{low:.3g} to {high:.3g} h', inside[-1]
    figures += [(name, 'peak memory', max(s.memory_gb for s in inside), 'GB'),
                (name, 'mean memory', float(np.mean([s.memory_gb for s in inside])), 'GB'),
                (name, 'hours of audio in an hour of CPU time',
                 (last.hours - before.hours) / (last.cpu_seconds - before.cpu_seconds) * 3600, '')]
    before = last
  return figures


def Prepare(manifest, output, args):
  """Runs tools.prepare_data; returns list of Sample, the last one of its end.

  Raises:
    PreparationFailed: it ended with an error.
  """
  command = [sys.executable, '-m', 'tools.prepare_data', '--importer=manifest', f'--input={manifest}', f'--output={output}',
             f'--num_shards={args.num_shards}', f'--direct_num_workers={args.workers}', f'--direct_running_mode={args.mode}']
  print(f'$ {shlex.join(["python", *command[1:]])}', flush=True)
  process = subprocess.Popen(command, cwd=results.ROOT)
  watcher = Watcher(process, os.path.dirname(output))
  try:
    samples = watcher.Watch()
  finally:
    process.kill()
    code = process.wait()
  if code:
    raise PreparationFailed(f'tools.prepare_data ended with exit code {code}')
  return [*samples, watcher.Sample()]


def CheckAllIsThere(output, recordings, hours):
  """Raises PreparationFailed unless a data set holds so many recordings and hours and rejected none."""
  with open(os.path.join(output, 'report.json'), encoding='utf-8') as f:
    report = json.load(f)
  dataset.ReadDataset(output)  # Compares the shards' sizes.
  if report['utterances'] != recordings or report['rejects']['total'] or abs(report['hours'] - hours) > 1e-3 * hours:
    raise PreparationFailed(f'{report["utterances"]} utterances, {report["hours"]} h, {report["rejects"]["total"]} rejected; '
                            f'expected {recordings}, {hours:.4f} h and none')


def Measure(args, folder):
  """Makes the data and measures; returns figures as Summarise, those of the whole last."""
  recordings_dir = os.path.join(folder, 'recordings')
  os.makedirs(recordings_dir)
  recordings = WriteRecordings(args.source, recordings_dir, args.recordings)
  manifest, output = os.path.join(folder, 'manifest.jsonl'), os.path.join(folder, 'prepared')
  hours = WriteManifest(manifest, recordings, args.hours)
  with open(manifest, encoding='utf-8') as f:
    count = sum(1 for _ in f)
  samples = Prepare(manifest, output, args)
  CheckAllIsThere(output, count, hours)
  name, last = f'all {hours:.4g} h, {samples[-1].seconds / 60:.1f} min with start and end', samples[-1]
  return Summarise(samples, hours) + [
      (name, 'peak memory', max(s.memory_gb for s in samples), 'GB'),
      (name, 'mean memory', float(np.mean([s.memory_gb for s in samples[:-1]])), 'GB'),
      (name, 'hours of audio in an hour of CPU time', hours / last.cpu_seconds * 3600, '')]


def _Origin(argv):
  """What all rows of a measurement say of where they are from; to be asked before it, for the code may change meanwhile."""
  return {'command': shlex.join(['python', '-m', 'tools.preparation_cost', *argv]), 'date': datetime.date.today().isoformat(),
          'machine': this_machine.Machine(), 'versions': this_machine.Versions(results.ROOT)}


def _CheckArgs(args):
  """Raises errors.ConfigError if there is not room for what is asked."""
  for name in ('hours', 'workers', 'num_shards', 'recordings'):
    if getattr(args, name) <= 0:
      raise errors.ConfigError(f'--{name}={getattr(args, name)}: expected > 0')
  needed, free = args.hours * _BYTES_AN_HOUR / 2**30, shutil.disk_usage(args.folder).free / 2**30
  if needed > min(free, args.disk_limit_gb):
    raise errors.ConfigError(f'--hours={args.hours:g}: {needed:.1f} GB needed in {args.folder}, {free:.1f} free, '
                             f'--disk_limit_gb={args.disk_limit_gb:g}')


def _Parser():
  parser = argparse.ArgumentParser(
      prog='preparation_cost', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--hours', type=float, default=100.0, help='of audio (default: 100)')
  parser.add_argument('--workers', type=int, default=2, help='workers of Beam\'s DirectRunner (default: 2)')
  parser.add_argument('--mode', choices=MODES, default=MODES[0], help=f'how they run (default: {MODES[0]})')
  parser.add_argument('--num_shards', type=int, default=64, help='shards of the train set (default: 64)')
  parser.add_argument('--source', default='data/recipe/target', help='data set whose speech is taken (default: data/recipe/target)')
  parser.add_argument('--recordings', type=int, default=100, help='different recordings, at most (default: 100)')
  parser.add_argument('--folder', default=tempfile.gettempdir(), help='where the data is made and removed (default: %(default)s)')
  parser.add_argument('--disk_limit_gb', type=float, default=25.0, help='refuse to take more (default: 25)')
  parser.add_argument('--output', default=results.Path('preparation'), help='default: docs/results/preparation.json')
  return parser


def Main(argv):
  """Runs the tool; returns the exit code."""
  args = _Parser().parse_args(argv[1:])
  return exit_codes.Report('preparation_cost', lambda: _Run(args, argv[1:]))


def _Run(args, given):
  """Measures, writes and prints what the arguments ask for."""
  os.makedirs(args.folder, exist_ok=True)
  _CheckArgs(args)
  origin = _Origin(given)
  with tempfile.TemporaryDirectory(dir=args.folder) as folder:
    figures = Measure(args, folder)
  rows = [{'name': name, 'label': label, 'value': float(f'{value:.4g}'), 'unit': unit, **origin}
          for name, label, value, unit in figures]
  result = {'columns': ['name', 'value'], 'spread': 'label', 'rows': rows}
  results_table.Check(result, args.output)
  with open(args.output, 'w', encoding='utf-8') as f:
    f.write(json.dumps(result, indent=2) + '\n')
  print(results_table.Table(result))


if __name__ == '__main__':
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  sys.exit(Main(sys.argv))
