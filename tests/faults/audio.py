"""Malformed audio files: each is rejected with a reason, or is audio after all; none crashes, hangs or fills memory.

Files are made from whole ones of several formats. Each is decoded as the preparation does it; then `transcribe` and
`prepare_data` get all of them in one folder.
"""

import json
import os
import struct
import tempfile

import av
import numpy as np

from fm_lingvo import audio
from fm_lingvo.utils import audio as audio_format
from tests.faults import isolated
from tests.faults import processes
from tests.faults import suite as suite_lib

# Extension -> codec.
FORMATS = {
  **{'wav': 'pcm_s16le', 'au': 'pcm_s16be', 'aiff': 'pcm_s16be'},
  **{'flac': 'flac', 'wv': 'wavpack', 'mp3': 'mp3', 'ogg': 'libopus', 'm4a': 'aac'},
}


def Tone(seconds):
  """PCM16 [S] of a tone in noise."""
  t = np.arange(int(audio_format.SAMPLE_RATE * seconds))
  return (8000 * np.sin(t / 5) + 500 * np.random.RandomState(1).randn(len(t))).astype('<i2')


def WholeFiles():
  """A second of sound in each format that can be written here: dict extension -> content."""
  contents = {}
  frame = av.AudioFrame.from_ndarray(Tone(1.0)[np.newaxis], format='s16', layout='mono')
  frame.sample_rate = audio_format.SAMPLE_RATE
  for extension, codec in FORMATS.items():
    with tempfile.NamedTemporaryFile(suffix=f'.{extension}') as file:
      try:
        with av.open(file.name, 'w') as f:
          stream = f.add_stream(codec, rate=frame.sample_rate, layout='mono')
          for packet in [*stream.encode(frame), *stream.encode(None)]:
            f.mux(packet)
      except (av.error.FFmpegError, ValueError):  # No such encoder.
        continue
      contents[extension] = file.read()
  return contents


def Wav(rate=16000, channels=1, bits=16, data=b'\0\1' * 8000, declared=None, kind=1):
  """Bytes of a WAV file whose header may be wrong."""
  declared = len(data) if declared is None else declared
  block = channels * bits // 8
  header = struct.pack('<4sI8s', b'RIFF', (36 + declared) & 0xFFFFFFFF, b'WAVEfmt ')
  rates = rate & 0xFFFFFFFF, (rate * block) & 0xFFFFFFFF
  header += struct.pack('<IHHIIHH', 16, kind, channels, *rates, block & 0xFFFF, bits)
  return header + struct.pack('<4sI', b'data', declared) + data


# Name -> content.
SPECIAL = {
  'empty.wav': b'',
  'text.wav': b'This is a text, and no sound.\n' * 100,
  'text.mp3': b'This is a text.\n' * 500,
  'html.flac': b'<html><body>404 not found</body></html>',
  'json.ogg': b'{"error": "not found"}',
  'nulls.wav': bytes(10000),
  'header_only.wav': Wav(data=b''),
  'zero_channels.wav': Wav(channels=0),
  'many_channels.wav': Wav(channels=65535),
  'zero_hertz.wav': Wav(rate=0),
  'one_hertz.wav': Wav(rate=1),
  'billion_hertz.wav': Wav(rate=10**9),
  'most_hertz.wav': Wav(rate=2**32 - 1),
  'zero_bits.wav': Wav(bits=0),
  'odd_bits.wav': Wav(bits=13),
  'many_bits.wav': Wav(bits=65535),
  'longer_than_it_is.wav': Wav(declared=10**9),
  'declares_most.wav': Wav(declared=2**32 - 40),
  'unknown_codec.wav': Wav(kind=0xABCD),
  'riff_only.wav': b'RIFF',
  'elf.wav': b'\x7fELF' + bytes(500),
  'zip.flac': b'PK\3\4' + bytes(500),
  'playlist.m3u8': b'#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n',
  'playlist.wav': b'#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x\n',
  'concat.wav': b"ffconcat version 1.0\nfile '/etc/passwd'\n",
}


def Mutate(content, rng):
  """Changes bytes, mostly of the header, cuts off, repeats or replaces them; returns bytes."""
  content = bytearray(content)
  kind = rng.randrange(6)
  if kind == 0:  # Header.
    for _ in range(rng.randrange(1, 8)):
      content[rng.randrange(min(64, len(content)))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
  elif kind == 1:  # Body.
    for _ in range(rng.randrange(1, 200)):
      content[rng.randrange(len(content))] = rng.randrange(256)
  elif kind == 2:
    del content[rng.randrange(len(content)) :]
  elif kind == 3:  # A wrong length or number.
    at = rng.randrange(max(1, min(80, len(content) - 4)))
    content[at : at + 4] = struct.pack('<I', rng.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 10**9, rng.randrange(2**32)]))
  elif kind == 4:
    at, size = rng.randrange(len(content)), rng.randrange(1, 2000)
    content[at:at] = content[at : at + size] * rng.randrange(1, 20)
  else:
    content = content[: rng.randrange(1, 100)] + rng.randbytes(rng.randrange(5000))
  return bytes(content)


def WriteFiles(folder, count, rng):
  """Writes so many malformed files; returns their paths."""
  folder.mkdir()
  whole, files = WholeFiles(), dict(list(SPECIAL.items())[:count])
  for i in range(len(files), count):
    extension = rng.choice(sorted(whole))
    files[f'{i}.{extension}'] = Mutate(whole[extension], rng)
  for name, content in files.items():
    (folder / name).write_bytes(content)
  return [str(folder / name) for name in files]


def Decode(path):
  """Decodes a file; returns what came of it."""
  try:
    return f'{len(audio.Decode(path, max_seconds=30.0))} samples'
  except audio.Rejected as e:
    return f'rejected: {" ".join(str(e).split())}'


def Run(suite):
  """Decodes malformed files and gives them to both tools; yields a Case for each file and tool."""
  paths = WriteFiles(suite.path / 'sounds', suite.Pick(suite.count, 300), suite.Random('audio'))
  for path, result in zip(paths, isolated.Results(Decode, paths)):
    right = result.startswith('rejected: ') or result.endswith(' samples')
    yield suite_lib.Case(f'decode: {os.path.basename(path)}', right, result)
  if suite.full:
    yield _Prepare(suite, paths)
    yield _Transcribe(
      suite, [path for path in paths if not path.endswith('.m3u8')]
    )  # Which it does not take for audio.


def _Prepare(suite, paths):
  manifest, output = suite.path / 'sounds' / 'all.jsonl', suite.path / 'prepared'
  rows = [{'audio_filepath': os.path.basename(path), 'utt_id': str(i)} for i, path in enumerate(paths)]
  manifest.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  flags = ['--importer=manifest', f'--input={manifest}', f'--output={output}']
  done = processes.Command('tools.prepare_data', flags, suite.folder, seconds=1800)
  manifest.unlink()
  if done.code:
    return suite_lib.Case('prepare_data on all', False, done.last_error)
  report = json.loads((output / 'report.json').read_text())
  rejects, accepted = report['rejects'], report['utterances']
  right = done.is_clean and rejects['total'] + accepted == len(paths)
  right = right and all(row['reason'] in audio.REASONS for row in rejects['files'])
  seen = f'{rejects["total"]} rejected and {accepted} accepted of {len(paths)}'
  return suite_lib.Case('prepare_data on all', right, seen)


def _Transcribe(suite, paths):
  from tests.faults import tiny_run  # Imports TensorFlow, which decoding does not need.

  run, sounds, texts = tiny_run.TinyRun(suite.folder, 'run'), suite.path / 'sounds', suite.path / 'texts'
  run.Train(model='Supervised', source='human', target='human', max_steps=2)
  done = processes.Command(
    'tools.transcribe', [run.folder, str(sounds), f'--output={texts}/'], suite.folder, seconds=1800
  )
  refused = sum(line.startswith(f'transcribe: {sounds}') for line in done.err.splitlines())
  written = sum(path.is_file() for path in texts.rglob('*'))
  right = done.code == 1 and done.is_clean and refused + written == len(paths)
  return suite_lib.Case('transcribe on all', right, f'{refused} refused and {written} transcribed of {len(paths)}')
