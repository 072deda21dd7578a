"""Recordings to time the data preparation with."""

import json
import os

import numpy as np
import soundfile


def Write(folder: str, recordings: int, times: int, seconds: int) -> list[str]:
  """Writes recordings of gliding tones, FLAC of 16 kHz and WAV of 48 kHz in turns, and manifest.jsonl.

  Args:
    folder: Where to write.
    recordings: How many that differ.
    times: How often each is listed, under another id each time.
    seconds: Of each.

  Returns:
    The paths that the manifest lists.
  """
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


def WriteSegments(folder: str, recordings: int, minutes: int, seconds: int) -> int:
  """Writes long recordings as Write does, FLAC of 16 kHz, and manifest.jsonl with their segments, one after another.

  Args:
    folder: Where to write.
    recordings: How many.
    minutes: Of each.
    seconds: Of a segment.

  Returns:
    The number of segments.
  """
  rate, rng = 16000, np.random.default_rng(7)
  rows = []
  for i in range(recordings):
    path = os.path.join(folder, f'long-{i}.flac')
    minute = np.clip(2000 * rng.standard_normal(60 * rate), -32768, 32767).astype(np.int16)
    with soundfile.SoundFile(path, 'w', rate, 1, 'PCM_16') as f:
      for _ in range(minutes):
        f.write(minute)
    for start in range(0, 60 * minutes - seconds + 1, seconds):
      utt_id = f'long-{i}-{start}'
      rows.append({'audio_filepath': path, 'offset': start, 'duration': seconds, 'utt_id': utt_id})
  with open(os.path.join(folder, 'manifest.jsonl'), 'w', encoding='utf-8') as f:
    f.writelines(json.dumps(row) + '\n' for row in rows)
  return len(rows)
