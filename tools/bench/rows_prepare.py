"""Row of the data preparation: the whole command, beside one FFmpeg after the other."""

import json
import os
import tempfile

import numpy as np
import soundfile

from fm_lingvo.data import dataset

from . import party
from . import rows

# Recordings that differ, and how often each is listed, under another id.
_SIZES = {'recordings': 10, 'times': 30, 'seconds': 12}
_QUICK = {'recordings': 2, 'times': 2, 'seconds': 2}


def Run(setting):
  """Row of FLAC of 16 kHz and WAV of 48 kHz, half and half."""
  sizes = _QUICK if setting.quick else _SIZES
  with tempfile.TemporaryDirectory() as folder:
    files = WriteCorpus(folder, **sizes)
    output, audio = os.path.join(folder, 'prepared'), len(files) * sizes['seconds']
    argv = [
      '-m',
      'tools.prepare_data',
      '--importer=manifest',
      f'--input={folder}/manifest.jsonl',
      f'--output={output}',
      '--overwrite',
    ]
    race = setting.Race(
      [
        party.Party('prepare_data', 'tools.bench.ours.command', {'argv': argv, 'calls': 1}),
        setting.peers.Party(
          'an FFmpeg for each file',
          'tools.bench.peers.ffmpeg',
          {'files': files, 'folder': folder, 'calls': 1},
          'imageio-ffmpeg',
        ),
      ]
    )
    _Disqualify(race, output, audio)
  ours, peer = (None if m.failed else audio / m.Median('cpu_seconds') for m in race.values())
  yield rows.Row(
    f'prepare_data, {audio / 60:.3g} min of FLAC and WAV in files of {sizes["seconds"]} s, on a core',
    'x real time',
    ours,
    peer,
    '>= 300',
    ratio=ours,
    peer_is='' if peer is None else 'an FFmpeg for each file',
    note=(
      'start-up included; seconds of audio in a second of the processor, of all threads and processes, and the bar is on '
      'ours; FFmpeg decodes to WAV of 16 kHz, checks nothing and writes no data set'
    ),
    parties={name: m.Json() for name, m in race.items()},
  )


def WriteCorpus(folder, recordings, times, seconds):
  """Writes recordings of gliding tones, FLAC of 16 kHz and WAV of 48 kHz, and manifest.jsonl; returns the paths it lists."""
  rng, paths = np.random.default_rng(6), []
  for i in range(recordings):
    rate, kind = ((16000, 'flac'), (48000, 'wav'))[i % 2]
    time = np.arange(seconds * rate) / rate
    wave = 0.005 * rng.standard_normal(len(time))
    for _ in range(5):
      wave += 0.1 * np.sin(2 * np.pi * rng.uniform(100, 3000) * time * (1 + 0.1 * np.sin(time + rng.uniform(0, 6))))
    paths.append(os.path.join(folder, f'{i}.{kind}'))
    soundfile.write(paths[-1], wave, rate)
  listed = paths * times
  with open(os.path.join(folder, 'manifest.jsonl'), 'w', encoding='utf-8') as f:
    for i, path in enumerate(listed):
      f.write(json.dumps({'audio_filepath': path, 'duration': seconds, 'utt_id': f'recording-{i}'}) + '\n')
  return listed


def _Disqualify(race, output, audio):
  """Fails whoever did not write all of the audio."""
  ours, peer = race.values()
  hours = 0.0 if ours.failed else sum(dataset.ReadDataset(output).hours.values())
  for measured, seconds in ((ours, 3600 * hours), (peer, peer.facts.get('audio_seconds', 0.0))):
    if not measured.failed and abs(seconds / audio - 1) > 0.01:
      measured.failed = f'it wrote {seconds:.0f} s of {audio} s'
