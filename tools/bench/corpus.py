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
