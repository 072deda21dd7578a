"""Folders of noise and of rooms as users have them, made by a test."""

import os
import wave

import av
import numpy as np

RATE = 16000


def WriteWav(path, samples, rate=RATE):
  """Writes int16 [samples] or [samples, channels] as WAV."""
  os.makedirs(os.path.dirname(path), exist_ok=True)
  with wave.open(path, 'wb') as f:
    f.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
    f.setsampwidth(2)
    f.setframerate(rate)
    f.writeframes(samples.astype('<i2').tobytes())


def WriteFlac(path, samples, rate=RATE):
  """Writes int16 [samples] as FLAC."""
  os.makedirs(os.path.dirname(path), exist_ok=True)
  with av.open(path, 'w') as container:
    stream = container.add_stream('flac', rate=rate)
    stream.layout = 'mono'
    frame = av.AudioFrame.from_ndarray(samples[np.newaxis].astype(np.int16), format='s16', layout='mono')
    frame.sample_rate = rate
    for packet in (*stream.encode(frame), *stream.encode(None)):
      container.mux(packet)


def Tone(hertz, seconds, rate=RATE, amplitude=9000):
  return (amplitude * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.int16)


def Room(delay, seed=0, size=6000):
  """A response as float [size]: direct sound after `delay` samples, then a tail of the same energy."""
  tail = np.random.RandomState(seed).randn(size - delay) * 10 ** (-3 * np.arange(size - delay) / 4800)
  tail[:100] = 0
  response = np.zeros([size])
  response[delay:] = tail / np.sqrt(np.sum(tail**2))
  response[delay] = 1
  return response


def WriteNoise(folder):
  """Noise in the layout of MUSAN: text beside it, folders below it, WAV and FLAC."""
  rng = np.random.RandomState(0)
  WriteWav(f'{folder}/noise/free-sound/noise-0000.wav', (rng.randn(3 * RATE) * 1000).astype(np.int16))
  WriteFlac(f'{folder}/music/fma/music-0000.flac', Tone(700, 2.0))
  with open(f'{folder}/noise/LICENSE', 'w', encoding='utf-8') as f:
    f.write('text')


def WriteRooms(folder):
  """Rooms in the layout of RIRS_NOISES: one channel or several."""
  for i, delay in enumerate((0, 7, 500)):
    room = (Room(delay, i) * 20000).astype(np.int16)
    other = np.zeros_like(room)
    WriteWav(f'{folder}/simulated_rirs/Room00{i}/Room00{i}-1.wav', np.stack([room, other], 1) if i == 2 else room)
