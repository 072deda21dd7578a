"""A process that speaks with eSpeak NG: a JSON request per line on stdin, PCM on stdout.

The library keeps state from one utterance to the next (and seeds its noise from the clock), so the same text sounds
different a second time. Here each utterance is spoken by a fork of a process that has only loaded the library, with a fixed
seed: the same request gives the same bytes, in any order. Only the standard library is imported, which keeps forks cheap.

  request   {"text": ..., "voice": ..., "rate": words per minute, "pitch": 0..100}
  response  4 bytes n, little endian, signed; then n bytes of PCM16 mono at the rate of the hello line if n >= 0,
            else -n bytes of an error message
  hello     a line with the sample rate, at start
"""

import ctypes
import json
import os
import struct
import sys

_RATE, _PITCH = 1, 3  # espeak_PARAMETER.
_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT.
_UTF8 = 1
_POS_CHARACTER = 1
_SEED = 1
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def Speak(library, data_path, request):
  """PCM16 bytes of one request; raises RuntimeError with eSpeak's complaint."""
  chunks = []

  def OnAudio(samples, count, unused_events):
    if samples and count > 0:
      chunks.append(ctypes.string_at(samples, count * 2))
    return 0

  callback = _CALLBACK(OnAudio)
  if library.espeak_Initialize(_SYNCHRONOUS, 0, data_path.encode(), 0) <= 0:
    raise RuntimeError(f'espeak_Initialize failed with the data in {data_path}')
  library.espeak_SetSynthCallback(callback)
  if library.espeak_SetVoiceByName(request['voice'].encode()):
    raise RuntimeError(f'no voice {request["voice"]!r}')
  library.espeak_SetParameter(_RATE, int(request['rate']), 0)
  library.espeak_SetParameter(_PITCH, int(request['pitch']), 0)
  library.espeak_ng_SetRandSeed(ctypes.c_long(_SEED))
  text = request['text'].encode('utf-8')
  if library.espeak_Synth(text, ctypes.c_size_t(len(text) + 1), 0, _POS_CHARACTER, 0, _UTF8, None, None):
    raise RuntimeError('espeak_Synth failed')
  library.espeak_Synchronize()
  return b''.join(chunks)


def _InChild(write_end, library, data_path, line):
  try:
    pcm = Speak(library, data_path, json.loads(line))
    reply = struct.pack('<i', len(pcm)) + pcm
  except Exception as e:  # Reported to the parent, which raises it.  pylint: disable=broad-except
    message = f'{type(e).__name__}: {e}'.encode('utf-8')
    reply = struct.pack('<i', -len(message)) + message
  with os.fdopen(write_end, 'wb') as f:
    f.write(reply)


def main(library_path, data_path):
  library = ctypes.CDLL(library_path)
  output = sys.stdout.buffer
  output.write(b'22050\n')  # espeak_Initialize would say it, but must not run in this process.
  output.flush()
  for line in sys.stdin:
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
      os.close(read_end)
      _InChild(write_end, library, data_path, line)
      os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, 'rb') as f:
      reply = f.read()
    _, status = os.waitpid(pid, 0)
    if len(reply) < 4 or status:
      message = f'eSpeak NG died with status {status}'.encode()
      reply = struct.pack('<i', -len(message)) + message
    output.write(reply)
    output.flush()


if __name__ == '__main__':
  main(*sys.argv[1:])
