"""A process that synthesises speech: a JSON request per line on stdin, PCM on stdout.

Run as `python speech_helper.py ENGINE PATH...`. Synthesisers keep state between utterances, and some seed their noise
from the clock, so the same text sounds different a second time. Here, each utterance is synthesised with a fixed seed
by a fork of a process that has only loaded the engine: the same request gives the same bytes, in any order.

  hello     the line `ready`, once the engine is loaded
  request   {"text": ..., "voice": ..., "speed": 1 for the voice's own, and further settings of the engine's class}
  response  two little-endian int32: n and the sampling rate in Hz; then n bytes of PCM16 mono if n >= 0, otherwise an
            error message of -n bytes
"""

import ctypes
import json
import os
import signal
import struct
import sys
import warnings

_SEED = 1


class _EspeakEvent(ctypes.Structure):
  """espeak_EVENT of speak_lib.h."""

  _fields_ = [
    ('type', ctypes.c_int),
    ('unique_identifier', ctypes.c_uint),
    ('text_position', ctypes.c_int),  # In characters, from 1.
    ('length', ctypes.c_int),
    ('audio_position', ctypes.c_int),  # In milliseconds.
    ('sample', ctypes.c_int),
    ('user_data', ctypes.c_void_p),
    ('id', ctypes.c_char * 8),
  ]


class Espeak:
  """eSpeak NG, a formant synthesiser. Requests also hold `pitch`, 0 to 100; speed 1 is 165 words per minute.

  With `word_times` in a request, a line of JSON comes before the PCM: [place in the text, start in seconds] of words.
  """

  _WORD = 1  # espeak_EVENT_TYPE; 0 ends a list.
  _RATE, _PITCH = 1, 3  # espeak_PARAMETER.
  _SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT.
  _UTF8 = 1
  _POS_CHARACTER = 1
  _CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_EspeakEvent))

  def __init__(self, library_path, data_path):
    self._library = ctypes.CDLL(library_path)
    self._data_path = data_path

  def Speak(self, request):
    """Returns (PCM16 bytes, sample rate)."""
    chunks, starts = [], []

    def OnAudio(samples, count, events):
      if samples and count > 0:
        chunks.append(ctypes.string_at(samples, count * 2))
      i = 0
      while events[i].type:
        if events[i].type == self._WORD:
          starts.append((events[i].text_position - 1, events[i].audio_position / 1000))
        i += 1
      return 0

    library = self._library
    callback = self._CALLBACK(OnAudio)
    rate = library.espeak_Initialize(self._SYNCHRONOUS, 0, self._data_path.encode(), 0)
    if rate <= 0:
      raise RuntimeError(f'espeak_Initialize failed with the data in {self._data_path}')
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(request['voice'].encode()):
      raise RuntimeError(f'no voice {request["voice"]!r}')
    library.espeak_SetParameter(self._RATE, round(165 * request['speed']), 0)
    library.espeak_SetParameter(self._PITCH, request['pitch'], 0)
    library.espeak_ng_SetRandSeed(ctypes.c_long(_SEED))
    text = request['text'].encode('utf-8')
    if library.espeak_Synth(text, ctypes.c_size_t(len(text) + 1), 0, self._POS_CHARACTER, 0, self._UTF8, None, None):
      raise RuntimeError('espeak_Synth failed')
    library.espeak_Synchronize()
    head = json.dumps(starts).encode() + b'\n' if request.get('word_times') else b''
    return head + b''.join(chunks), rate


class Flite:
  """CMU Flite: statistical voices slt, rms and awb, and the diphone voice kal16."""

  class _Wave(ctypes.Structure):
    _fields_ = [
      ('type', ctypes.c_char_p),
      ('sample_rate', ctypes.c_int),
      ('num_samples', ctypes.c_int),
      ('num_channels', ctypes.c_int),
      ('samples', ctypes.POINTER(ctypes.c_short)),
    ]

  class _Voice(ctypes.Structure):
    _fields_ = [('name', ctypes.c_char_p), ('features', ctypes.c_void_p)]

  def __init__(self, directory, *voices):
    def Load(name, version=1):
      return ctypes.CDLL(os.path.join(directory, f'lib{name}.so.{version}'), mode=ctypes.RTLD_GLOBAL)

    if os.path.exists(os.path.join(directory, 'libasound.so.2')):  # Fetched if the machine has none.
      Load('asound', version=2)
    self._library = Load('flite')
    self._library.flite_text_to_wave.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
    self._library.flite_text_to_wave.restype = ctypes.POINTER(self._Wave)
    self._library.feat_set_float.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_float]
    self._library.flite_init()
    for name in ('flite_usenglish', 'flite_cmulex'):
      Load(name)
    self._voices = {}
    for voice in voices:
      register = getattr(Load(f'flite_cmu_us_{voice}'), f'register_cmu_us_{voice}')
      register.argtypes, register.restype = [ctypes.c_void_p], ctypes.POINTER(self._Voice)
      self._voices[voice] = register(None)

  def Speak(self, request):
    """Returns (PCM16 bytes, sample rate)."""
    voice = self._voices[request['voice']]
    self._library.feat_set_float(voice.contents.features, b'duration_stretch', 1.0 / request['speed'])
    wave = self._library.flite_text_to_wave(request['text'].encode('utf-8'), voice)
    if not wave or wave.contents.num_channels != 1:
      raise RuntimeError('flite_text_to_wave failed')
    wave = wave.contents
    return ctypes.string_at(wave.samples, wave.num_samples * 2), wave.sample_rate


class Piper:
  """Piper, a neural synthesiser. Requests also hold `noise`, the variation, 0 for the most likely reading."""

  def __init__(self, model_path, config_path):
    import piper

    with open(config_path, encoding='utf-8') as f:
      config = piper.config.PiperConfig.from_dict(json.load(f))
    self._voice = piper.PiperVoice(session=_OnnxSession(model_path), config=config)
    self._config = piper.SynthesisConfig

  def Speak(self, request):
    """Returns (PCM16 bytes, sample rate)."""
    import numpy as np

    noise = request['noise']
    config = self._config(noise_scale=noise, noise_w_scale=noise, length_scale=1.0 / request['speed'])
    chunks = [
      np.atleast_1d(self._voice.phoneme_ids_to_audio(self._voice.phonemes_to_ids(phonemes), config))
      for phonemes in self._voice.phonemize(request['text'])
      if phonemes
    ]
    if not chunks:
      raise RuntimeError('Piper found nothing to say')
    return _ToPcm(np.concatenate(chunks)), self._voice.config.sample_rate


class Pico:
  """SVOX Pico, a statistical synthesiser. Requests also hold `pitch`, 1 for the voice's own."""

  _RATE = 16000
  _VOLUME = 0.6  # The highest volume that never clips.

  def __init__(self):
    import py_nanotts

    self._engine = py_nanotts.NanoTTS()

  def Speak(self, request):
    """Returns (PCM16 bytes, sample rate)."""
    return self._engine.speak(
      request['text'], voice=request['voice'], speed=request['speed'], pitch=request['pitch'], volume=self._VOLUME
    ), self._RATE


def _OnnxSession(path):
  """Creates a session with one thread, which makes the order of sums reproducible; forks have one thread anyway."""
  import onnxruntime

  onnxruntime.set_seed(_SEED)
  options = onnxruntime.SessionOptions()
  options.intra_op_num_threads = 1
  options.inter_op_num_threads = 1
  return onnxruntime.InferenceSession(path, sess_options=options, providers=['CPUExecutionProvider'])


def _ToPcm(wave):
  """Converts float [N] to PCM16 bytes, normalised to a fixed peak level."""
  import numpy as np

  peak = max(float(np.abs(wave).max()), 1e-4)
  return (wave * (0.6 * 32767 / peak)).astype('<i2').tobytes()


def _InChild(write_end, engine, line):
  try:
    pcm, rate = engine.Speak(json.loads(line))
    reply = struct.pack('<ii', len(pcm), rate) + pcm
  except Exception as e:  # Sent to the parent process, which reports it.
    message = f'{type(e).__name__}: {e}'.encode()
    reply = struct.pack('<ii', -len(message), 0) + message
  with os.fdopen(write_end, 'wb') as f:
    f.write(reply)


def main(engine_name, *paths):
  output = sys.stdout.buffer
  engine = {'espeak-ng': Espeak, 'flite': Flite, 'pico': Pico, 'piper': Piper}[engine_name](*paths)
  # Libraries start threads that only wait. Python 3.12 and later warn of a fork beside any thread.
  warnings.filterwarnings('ignore', r'.* is multi-threaded, use of fork\(\)', DeprecationWarning)
  output.write(b'ready\n')
  output.flush()
  for line in sys.stdin:
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
      os.close(read_end)
      _InChild(write_end, engine, line)
      os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, 'rb') as f:
      reply = f.read()
    _, status = os.waitpid(pid, 0)
    if len(reply) < 8 or status:
      message = f'{engine_name} died with status {status}'.encode()
      reply = struct.pack('<ii', -len(message), 0) + message
    output.write(reply)
    output.flush()


if __name__ == '__main__':
  signal.signal(signal.SIGINT, signal.SIG_DFL)  # The requesting process is interrupted too, and prints it.
  try:
    main(*sys.argv[1:])
  except BrokenPipeError:  # The requesting process has ended.
    os._exit(1)
