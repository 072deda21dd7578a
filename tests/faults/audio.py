"""Malformed audio files: each must be rejected with its reason, or be audio after all; none may crash, hang or fill memory.

Files are made from good ones of several formats. Each is decoded as the preparation does it; then `transcribe` and `prepare_data`
get all of them in one folder.
"""

import json
import os
import struct
import tempfile

import av
from fm_lingvo import dataset
import numpy as np
from tests.faults import isolated
from tests.faults import processes
from tests.faults import suite as suite_lib
from tools import audio

# Extension -> codec.
FORMATS = {'wav': 'pcm_s16le', 'flac': 'flac', 'mp3': 'mp3', 'ogg': 'libvorbis', 'au': 'pcm_s16be', 'aiff': 'pcm_s16be',
           'm4a': 'aac', 'wv': 'wavpack'}


def Tone(seconds):
  """PCM16 [S] of a tone in noise."""
  t = np.arange(int(dataset.SAMPLE_RATE * seconds))
  return (8000 * np.sin(t / 5) + 500 * np.random.RandomState(1).randn(len(t))).astype('<i2')


def WholeFiles():
  """A second of sound in each format that can be written here: dict extension -> content."""
  contents = {}
  frame = av.AudioFrame.from_ndarray(Tone(1.0)[np.newaxis], format='s16', layout='mono')
  frame.sample_rate = dataset.SAMPLE_RATE
  for extension, codec in FORMATS.items():
    with tempfile.NamedTemporaryFile(suffix=f'.{extension}') as file:
      try:
        with av.open(file.name, 'w') as f:
          stream = f.add_stream(codec, rate=frame.sample_rate, layout='mono')
          for packet in [*stream.encode(frame), *stream.encode(None)]:
            f.mux(packet)
        contents[extension] = file.read()
      except (av.error.FFmpegError, ValueError):  # No such encoder.
        continue
  return contents


def Wav(rate=16000, channels=1, bits=16, data=b'\0\1' * 8000, declared=None, kind=1):
  """Bytes of a WAV file whose header may be wrong."""
  declared = len(data) if declared is None else declared
  block = channels * bits // 8
  return (b'RIFF' + struct.pack('<I', (36 + declared) & 0xffffffff) + b'WAVEfmt ' + struct.pack(
      '<IHHIIHH', 16, kind, channels & 0xffff, rate & 0xffffffff, (rate * block) & 0xffffffff, block & 0xffff, bits) + b'data' +
          struct.pack('<I', declared & 0xffffffff) + data)


# Name -> content.
SPECIAL = {
    'empty.wav': b'', 'text.wav': b'This is a text, and no sound.\n' * 100, 'text.mp3': b'This is a text.\n' * 500,
    'html.flac': b'<html><body>404 not found</body></html>', 'json.ogg': b'{"error": "not found"}', 'nulls.wav': bytes(10000),
    'header_only.wav': Wav(data=b''), 'zero_channels.wav': Wav(channels=0), 'many_channels.wav': Wav(channels=65535),
    'zero_hertz.wav': Wav(rate=0), 'one_hertz.wav': Wav(rate=1), 'billion_hertz.wav': Wav(rate=10**9),
    'most_hertz.wav': Wav(rate=2**32 - 1), 'zero_bits.wav': Wav(bits=0), 'odd_bits.wav': Wav(bits=13),
    'many_bits.wav': Wav(bits=65535), 'longer_than_it_is.wav': Wav(declared=10**9), 'declares_most.wav': Wav(declared=2**32 - 40),
    'unknown_codec.wav': Wav(kind=0xabcd), 'riff_only.wav': b'RIFF', 'elf.wav': b'\x7fELF' + bytes(500),
    'zip.flac': b'PK\3\4' + bytes(500), 'playlist.m3u8': b'#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n',
    'playlist.wav': b'#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x\n', 'concat.wav': b"ffconcat version 1.0\nfile '/etc/passwd'\n",
}


def Mutate(content, rng):
  """Changes bytes, mostly of the header, cuts off, repeats or replaces them; returns bytes."""
  content = bytearray(content)
  kind = rng.randrange(6)
  if kind == 0:  # Header.
    for _ in range(rng.randrange(1, 8)):
      content[rng.randrange(min(64, len(content)))] = rng.choice([0, 1, 0x7f, 0x80, 0xff, rng.randrange(256)])
  elif kind == 1:  # Body.
    for _ in range(rng.randrange(1, 200)):
      content[rng.randrange(len(content))] = rng.randrange(256)
  elif kind == 2:
    del content[rng.randrange(len(content)):]
  elif kind == 3:  # A wrong length or number.
    at = rng.randrange(max(1, min(80, len(content) - 4)))
    content[at:at + 4] = struct.pack('<I', rng.choice([0, 1, 0x7fffffff, 0xffffffff, 10**9, rng.randrange(2**32)]))
  elif kind == 4:
    at, size = rng.randrange(len(content)), rng.randrange(1, 2000)
    content[at:at] = content[at:at + size] * rng.randrange(1, 20)
  else:
    content = content[:rng.randrange(1, 100)] + rng.randbytes(rng.randrange(5000))
  return bytes(content)


def WriteFiles(folder, count, rng):
  """Writes malformed files; returns their paths."""
  os.makedirs(folder)
  contents, special, paths = WholeFiles(), list(SPECIAL.items()), []
  for i in range(count):
    extension = rng.choice(sorted(contents))
    name, content = special[i] if i < len(special) else (f'{i}.{extension}', Mutate(contents[extension], rng))
    paths.append(os.path.join(folder, name))
    with open(paths[-1], 'wb') as f:
      f.write(content)
  return paths


def Decode(path):
  """Decodes a file; returns what came of it."""
  try:
    return f'{len(audio.Decode(path, max_seconds=30.0))} samples'
  except audio.Rejected as e:
    return f'rejected: {" ".join(str(e).split())}'


def Run(suite):
  """Decodes malformed files and gives them to both tools; yields a Case for each file and tool."""
  paths = WriteFiles(suite.Path('sounds'), suite.Pick(suite.count, 300), suite.Random('audio'))
  for path, result in zip(paths, isolated.Results(Decode, paths)):
    yield suite_lib.Case(f'decode: {os.path.basename(path)}', result.startswith('rejected: ') or result.endswith(' samples'), result)
  if suite.full:
    yield _Prepare(suite, paths)
    yield _Transcribe(suite, [path for path in paths if not path.endswith('.m3u8')])  # Which it does not take for audio.


def _Prepare(suite, paths):
  manifest, output = suite.Path('sounds', 'all.jsonl'), suite.Path('prepared')
  with open(manifest, 'w', encoding='utf-8') as f:
    f.writelines(json.dumps({'audio_filepath': os.path.basename(path), 'utt_id': str(i)}) + '\n' for i, path in enumerate(paths))
  done = processes.Command('tools.prepare_data', ['--importer=manifest', f'--input={manifest}', f'--output={output}'],
                           suite.folder, seconds=1800)
  os.remove(manifest)
  if done.code:
    return suite_lib.Case('prepare_data on all', False, done.last_error)
  with open(os.path.join(output, 'report.json'), encoding='utf-8') as f:
    report = json.load(f)
  rejected, accepted = report['rejects']['total'], report['utterances']
  right = done.is_clean and rejected + accepted == len(paths) and all(
      row['reason'] in audio.REASONS for row in report['rejects']['files'])
  return suite_lib.Case('prepare_data on all', right, f'{rejected} rejected and {accepted} accepted of {len(paths)}')


def _Transcribe(suite, paths):
  from tests.faults import tiny_run  # pylint: disable=g-import-not-at-top  # TensorFlow, which decoding needs none of.
  run, sounds = tiny_run.TinyRun(suite.folder, 'run'), suite.Path('sounds')
  run.Train(model='Supervised', source='human', target='human', max_steps=2)
  done = processes.Command('tools.transcribe', [run.folder, sounds, f'--output={suite.Path("texts")}/'], suite.folder, seconds=1800)
  refused = sum(line.startswith(f'transcribe: {sounds}') for line in done.err.splitlines())
  texts = sum(len(files) for _, _, files in os.walk(suite.Path('texts')))
  return suite_lib.Case('transcribe on all', done.code == 1 and done.is_clean and refused + texts == len(paths),
                        f'{refused} refused and {texts} transcribed of {len(paths)}')
