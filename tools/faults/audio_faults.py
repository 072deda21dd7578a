"""Malformed audio files: each must be rejected with its reason, or be audio after all; none may crash, hang or fill memory.

Files are fuzzed from good ones of several formats. Each is decoded as the preparation does it, many in a process with limits on
memory and on time; then `transcribe` and `prepare_data` get all of them in one folder.
"""

import json
import os
import struct
import subprocess
import sys

import av

from ..common import audio
from . import outcome
from . import processes
from . import tiny

_SECONDS = 20  # For each file.
_MEMORY_GB = 4
FORMATS = {
  'wav': 'pcm_s16le',
  'flac': 'flac',
  'mp3': 'mp3',
  'ogg': 'libvorbis',
  'au': 'pcm_s16be',
  'aiff': 'pcm_s16be',
  'm4a': 'aac',
  'wv': 'wavpack',
}


def WriteGood(folder):
  """One good file of each format that can be written here; returns dict extension -> content."""
  contents = {}
  for extension, codec in FORMATS.items():
    path = os.path.join(folder, f'good.{extension}')
    try:
      with av.open(path, 'w') as f:
        stream = f.add_stream(codec, rate=16000, layout='mono')
        fifo = av.AudioFifo()
        frame = av.AudioFrame.from_ndarray(tiny.Waveform(1.0, 1)[None], format='s16', layout='mono')
        frame.sample_rate = 16000
        fifo.write(frame)
        resampler = av.AudioResampler(format=stream.codec_context.format, layout='mono', rate=16000)
        size = stream.codec_context.frame_size or 4096
        while fifo.samples:
          for piece in resampler.resample(fifo.read(min(size, fifo.samples), partial=True)):
            f.mux(stream.encode(piece))
        f.mux(stream.encode(None))
    except (av.error.FFmpegError, ValueError):
      os.path.exists(path) and os.remove(path)
      continue
    with open(path, 'rb') as f:
      contents[extension] = f.read()
    os.remove(path)
  return contents


def Wav(rate=16000, channels=1, bits=16, data=b'\0\1' * 8000, declared=None, kind=1):
  """Bytes of a WAV file whose header says anything."""
  declared = len(data) if declared is None else declared
  block = channels * bits // 8
  return (
    b'RIFF'
    + struct.pack('<I', (36 + declared) & 0xFFFFFFFF)
    + b'WAVEfmt '
    + struct.pack(
      '<IHHIIHH', 16, kind, channels & 0xFFFF, rate & 0xFFFFFFFF, (rate * block) & 0xFFFFFFFF, block & 0xFFFF, bits
    )
    + b'data'
    + struct.pack('<I', declared & 0xFFFFFFFF)
    + data
  )


# Name -> content, each of its own kind.
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
  """Another content: bytes changed, in the header above all, cut, repeated or put together."""
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
  """Writes malformed files; returns their paths."""
  os.makedirs(folder)
  contents, paths = WriteGood(folder), []
  for i in range(count):
    special = list(SPECIAL.items())[i] if i < len(SPECIAL) else None
    extension = rng.choice(sorted(contents))
    name, content = special or (f'{i}.{extension}', Mutate(contents[extension], rng))
    paths.append(os.path.join(folder, name))
    with open(paths[-1], 'wb') as f:
      f.write(content)
  return paths


def DecodeAll(paths, progress):
  """Decodes files here, one after the other; writes a JSON line about each."""
  for path in paths:
    progress.write(json.dumps({'begins': path}) + '\n')
    progress.flush()
    try:
      samples = audio.Decode(path, max_seconds=30.0)
      said = f'{len(samples)} samples'
    except audio.Rejected as e:
      said = f'rejected: {" ".join(str(e).split())}'
    except BaseException as e:
      said = f'raised {type(e).__name__}: {e}'
    progress.write(json.dumps({'path': path, 'said': said}) + '\n')
    progress.flush()


def _Decoded(paths, folder):
  """dict path -> what Decode did, in processes with limits: a file that ends its process is told so."""
  said, left = {}, list(paths)
  while left:
    listing = os.path.join(folder, 'left.json')
    with open(listing, 'w', encoding='utf-8') as f:
      json.dump(left, f)
    child = subprocess.Popen(
      [sys.executable, '-m', 'tools.faults.audio_faults', listing, str(_MEMORY_GB), str(_SECONDS)],
      cwd=processes.ROOT,
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      text=True,
    )
    begun = None
    for line in child.stdout:
      row = json.loads(line)
      begun = row.get('begins')
      if 'path' in row:
        said[row['path']] = row['said']
    code = child.wait()
    if begun is None and code == 0:
      break
    if begun:
      said[begun] = f'ended its process, exit code {code}'
    left = [path for path in left if path not in said]
    if not begun and code:
      raise RuntimeError(f'the decoding process failed, exit code {code}')
  return said


def Run(folder, size):
  """Fuzzes files and gives them to both tools; returns a Case for each file and tool."""
  sounds = os.path.join(folder, 'sounds')
  paths = WriteFiles(sounds, size.Pick(size.count, 300), size.Random('audio'))
  said = _Decoded(paths, folder)
  cases = [
    outcome.Case(
      f'decode: {os.path.basename(path)}',
      said[path].startswith('rejected: ') or said[path].endswith(' samples'),
      said[path],
    )
    for path in paths
  ]
  return cases + (_Tools(folder, paths, sounds) if size.full else [])


def _Tools(folder, paths, sounds):
  """Both programs on all files at once."""
  manifest, output = os.path.join(sounds, 'all.jsonl'), os.path.join(folder, 'prepared')
  with open(manifest, 'w', encoding='utf-8') as f:
    f.writelines(
      json.dumps({'audio_filepath': os.path.basename(path), 'utt_id': str(i)}) + '\n' for i, path in enumerate(paths)
    )
  done = processes.Run(
    ['prepare_data', '--importer=manifest', f'--input={manifest}', f'--output={output}'],
    folder,
    warm=False,
    seconds=1800,
  )
  report = {'rejects': {'total': 0, 'files': []}, 'utterances': 0}
  if os.path.exists(os.path.join(output, 'report.json')):
    with open(os.path.join(output, 'report.json'), encoding='utf-8') as f:
      report = json.load(f)
  rejected, accepted = report['rejects']['total'], report['utterances']
  reasons = all(row['reason'] in audio.REASONS for row in report['rejects']['files'])
  cases = [
    outcome.Case(
      'prepare_data on all',
      done.code == 0 and done.is_clean and reasons and rejected + accepted == len(paths),
      f'{rejected} rejected and {accepted} accepted of {len(paths)}, {done.seconds:.0f} s',
    )
  ]
  os.remove(manifest)
  data, run = os.path.join(folder, 'data'), os.path.join(folder, 'run')
  tiny.WriteData(data)
  processes.Run(tiny.Command(run, data, model='Supervised', source='human', target='human', max_steps=2), folder)
  done = processes.Run(
    ['transcribe', run, sounds, f'--output={os.path.join(folder, "texts")}/'], folder, warm=False, seconds=1800
  )
  failed = done.err.count(': ') and sum(1 for line in done.err.splitlines() if line.startswith(f'transcribe: {sounds}'))
  texts = sum(len(files) for _, _, files in os.walk(os.path.join(folder, 'texts')))
  found = sum(1 for path in paths if os.path.splitext(path)[1] in ('.m3u8',))
  cases.append(
    outcome.Case(
      'transcribe on all',
      done.code == 1 and done.is_clean and failed + texts == len(paths) - found,
      f'{failed} refused and {texts} transcribed of {len(paths) - found}, {done.seconds:.0f} s',
    )
  )
  return cases


def Main(argv):
  """`LISTING MEMORY_GB SECONDS`: decodes the files of a JSON list under limits."""
  import resource
  import signal

  memory, seconds = int(argv[2]), int(argv[3])
  resource.setrlimit(resource.RLIMIT_AS, (memory * 2**30, memory * 2**30))

  class Alarmed:
    """Standard output that gives each file its time: a decoder that hangs is killed by the alarm."""

    def write(self, text):
      signal.alarm(seconds)
      sys.stdout.write(text)

    def flush(self):
      sys.stdout.flush()

  with open(argv[1], encoding='utf-8') as f:
    DecodeAll(json.load(f), Alarmed())
  return 0


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
