"""Measures the data preparation: speed, and memory of all its processes, over the hours of audio that it wrote."""

import argparse
import dataclasses
import itertools
import json
import os
import shlex
import subprocess
import sys
import time

import numpy as np
import psutil
import soundfile

from fm_lingvo import errors
from fm_lingvo.data import dataset
from fm_lingvo.utils import audio as audio_format

from . import results

BYTES_PER_HOUR = 2 * audio_format.SAMPLE_RATE * 3600
_RECORDING_SECONDS = 12.0
_LONGEST_SECONDS = 10.0  # Of an utterance that goes into a recording, whose limit is 30 s.
_SAMPLE_SECONDS = 0.5
_ROWS = 10


class PreparationFailed(errors.RunError):
  """The preparation did not write what it was given."""


@dataclasses.dataclass
class Sample:
  """The state of the preparation at one time."""

  seconds: float  # Since its start.
  hours: float  # Of audio, written so far.
  memory_gb: float  # Of all its processes; a page that several share counts once.
  cpu_seconds: float  # Of all its processes until now. Unlike the time, other work on the machine changes it little.


def WriteRecordings(source: str, folder: str, count: int) -> list[tuple[str, float]]:
  """Writes FLAC files of about 12 s, made of utterances of a data set, one after the other.

  Args:
    source: Folder of the data set.
    folder: Where to write.
    count: Files, if the data set has so much speech.

  Returns:
    List of (path, seconds).

  Raises:
    errors.ConfigError: The data set has less speech than one recording.
  """
  import tensorflow as tf  # Slow to import: --help need not wait.

  spec, rate = dataset.FeatureSpec(), audio_format.SAMPLE_RATE
  found: list[tuple[str, float]] = []
  chunks: list[np.ndarray] = []
  for record in tf.data.TFRecordDataset(dataset.ShardPaths(source, 'train')):
    samples = np.frombuffer(tf.io.parse_single_example(record, spec)['audio'].numpy(), '<i2')
    if len(found) == count:
      break
    if len(samples) <= _LONGEST_SECONDS * rate:
      chunks.append(samples)
    total = sum(map(len, chunks))
    if total >= _RECORDING_SECONDS * rate:
      path = os.path.join(folder, f'{len(found):05d}.flac')
      soundfile.write(path, np.concatenate(chunks), rate)
      found.append((path, total / rate))
      chunks = []
  if not found:
    raise errors.ConfigError(f'--source={source}: expected {_RECORDING_SECONDS:g} s of speech for training, or more')
  return found


def WriteManifest(path: str, recordings: list[tuple[str, float]], hours: float) -> tuple[int, float]:
  """Lists recordings again and again until there are `hours`; returns (lines, hours).

  Each line has a file of its own, a hard link, because preparation decodes a file once for all of its lines.
  """
  seconds, count = 0.0, 0
  with open(path, 'w', encoding='utf-8') as f:
    for recording, duration in itertools.cycle(recordings):
      if seconds >= hours * 3600:
        break
      link = f'{os.path.splitext(recording)[0]}-{count:07d}.flac'
      os.link(recording, link)
      f.write(json.dumps({'audio_filepath': link, 'duration': duration, 'utt_id': f'recording-{count:07d}'}) + '\n')
      seconds, count = seconds + duration, count + 1
  return count, seconds / 3600


def Watch(process: subprocess.Popen, folder: str) -> list[Sample]:
  """Samples a process, all that it starts and the shards under `folder`; the last sample is of its end."""
  samples, cpu_seconds, started = [], {}, time.time()  # cpu_seconds: of each process that was ever seen.
  running = True
  while running:
    running, memory = process.poll() is None, 0
    try:
      first = psutil.Process(process.pid)
      family = [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
      family = []
    for one in family:
      try:
        times = one.cpu_times()
        cpu_seconds[one.pid] = times.user + times.system
        memory += one.memory_full_info().pss
      except (psutil.NoSuchProcess, psutil.AccessDenied):  # It has ended.
        pass
    samples.append(
      Sample(time.time() - started, _Bytes(folder) / BYTES_PER_HOUR, memory / 2**30, sum(cpu_seconds.values()))
    )
    if running:
      time.sleep(_SAMPLE_SECONDS)
  return samples


def _Bytes(folder):
  """Bytes of the shards under a folder, finished or not."""
  from ..prepare import shards  # Beam: --help does not need it.

  total = 0
  for where, _, names in os.walk(folder):
    for name in names:
      if '.tfrecord' in name and not name.endswith((shards.LISTING_SUFFIX, shards.ROWS_SUFFIX)):
        try:
          total += os.path.getsize(os.path.join(where, name))
        except FileNotFoundError:  # It was renamed meanwhile.
          pass
  return total


def Summarise(samples: list[Sample], hours: float) -> list[tuple[str, str, float, str]]:
  """Figures of each tenth of the hours of audio: list of (name, label, value, unit), as results have them."""
  figures, before = [], samples[0]
  for i in range(_ROWS):
    low, high = hours * i / _ROWS, hours * (i + 1) / _ROWS
    inside = [s for s in samples if low < s.hours <= high]
    if inside:
      speed = (inside[-1].hours - before.hours) / (inside[-1].cpu_seconds - before.cpu_seconds) * 3600
      figures += _Figures(f'{low:.3g} to {high:.3g} h', inside, speed)
      before = inside[-1]
  return figures


def _Figures(name, samples, speed):
  memory = [s.memory_gb for s in samples]
  return [
    (name, 'peak memory', max(memory), 'GB'),
    (name, 'mean memory', float(np.mean(memory)), 'GB'),
    (name, 'hours of audio in an hour of CPU time', speed, ''),
  ]


def Prepare(manifest: str, output: str, args: argparse.Namespace) -> list[Sample]:
  """Runs tools.prepare_data and watches it.

  Raises:
    PreparationFailed: It ended with an error.
  """
  command = [
    sys.executable,
    '-m',
    'tools.prepare_data',
    '--importer=manifest',
    f'--input={manifest}',
    f'--output={output}',
    f'--num_shards={args.num_shards}',
    f'--direct_num_workers={args.workers}',
    f'--direct_running_mode={args.mode}',
  ]
  print(f'$ {shlex.join(["python", *command[1:]])}', flush=True)
  process = subprocess.Popen(command, cwd=results.ROOT)
  try:
    samples = Watch(process, os.path.dirname(output))
  finally:
    process.kill()
    code = process.wait()
  if code:
    raise PreparationFailed(f'tools.prepare_data ended with exit code {code}')
  return samples


def CheckComplete(output: str, recordings: int, hours: float) -> None:
  """Raises PreparationFailed unless a data set holds so many recordings and hours and rejected none."""
  with open(os.path.join(output, 'report.json'), encoding='utf-8') as f:
    report = json.load(f)
  dataset.ReadDataset(output)  # Compares the shards' sizes.
  if report['utterances'] != recordings or report['rejects']['total'] or abs(report['hours'] - hours) > 1e-3 * hours:
    raise PreparationFailed(
      f'{report["utterances"]} utterances, {report["hours"]} h, {report["rejects"]["total"]} rejected; '
      f'expected {recordings}, {hours:.4f} h and none'
    )


def Measure(args: argparse.Namespace, folder: str) -> list[tuple[str, str, float, str]]:
  """Makes the recordings in `folder`, prepares them, and returns figures as Summarise, those of the whole last."""
  recordings_dir = os.path.join(folder, 'recordings')
  os.makedirs(recordings_dir)
  recordings = WriteRecordings(args.source, recordings_dir, args.recordings)
  manifest, output = os.path.join(folder, 'manifest.jsonl'), os.path.join(folder, 'prepared')
  count, hours = WriteManifest(manifest, recordings, args.hours)
  samples = Prepare(manifest, output, args)
  CheckComplete(output, count, hours)
  last = samples[-1]
  return Summarise(samples, hours) + _Figures(
    f'all {hours:.4g} h, {last.seconds / 60:.1f} min with start and end', samples[:-1], hours / last.cpu_seconds * 3600
  )
