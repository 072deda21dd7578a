"""Input of somebody who means harm: a Gin file, a manifest, a listing, a tokenizer, a package's archive; and open ports."""

import io
import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
import tarfile

from fm_lingvo import errors
from fm_lingvo.config import gin_config
from fm_lingvo.data import tokenizer

from ..prepare import importers
from ..prepare import shards
from ..prepare.importers import manifest
from . import outcome
from . import processes

_WITNESS = 'witness'  # A file that hostile input would make.
# Gin text -> what is said of it; None: it need not be refused, only do no harm.
GIN = {
  'import os': 'a Gin file may not import Python',
  'import params.asr': 'a Gin file may not import Python',
  'from os import system': 'a Gin file may not import Python',
  "task.encoder.num_layers = @os.system('touch witness')": 'syntax error',
  'task.encoder.num_layers = @subprocess.run()': 'refers to code',
  "task.name = __import__('os').system('touch witness')": 'syntax error',
  "include '/dev/zero'": 'no such file',
  "include '/proc/self/mem'": None,  # Read as an empty file, or not at all.
  "include '/etc/passwd'": 'syntax error',
  "include 'self.gin'": 'the file includes itself',
  "task.encoder.cls = 'os.system'": '',
  'task.encoder.num_layers = ' + '[' * 5000: '',
  'A = %B\nB = %A\ntask.encoder.num_layers = %A': '',
}
# Path in a manifest -> whether it may be read.
PATHS = {
  'inside.wav': True,
  './sub/../inside.wav': True,
  '../outside.wav': False,
  '/etc/passwd': False,
  '~/.ssh/id_rsa': True,
  '$HOME/x.wav': True,
  'http://host/x.wav': False,
  'file:///etc/passwd': False,
  's3://bucket/x.wav': False,
  'gs://bucket/../x.wav': False,
  'link.wav': False,
  'linked/outside.wav': False,
  'sub/../../outside.wav': False,
  'inside.wav\0.txt': False,
}


def Run(folder, size):
  """Feeds hostile input to what reads it; returns a list of Case."""
  os.chdir(folder)
  return [
    *_Gin(folder),
    *_Manifest(folder),
    _Listing(folder),
    *_Tokenizers(folder, size),
    _Archive(folder),
    *_Ports(size),
  ]


def _Gin(folder):
  cases = []
  for text, said in GIN.items():
    path = os.path.join(folder, 'self.gin')
    with open(path, 'w', encoding='utf-8') as f:
      f.write(text + '\n')
    try:
      gin_config.Configure('asr.BestRqPretrain', [path])
      seen, refused = 'accepted', False
    except errors.ConfigError as e:
      seen, refused = str(e), True
    finally:
      gin_config.Reset()
    harmless = not os.path.exists(_WITNESS) and '\n' not in seen
    right = said is None or refused and said in seen
    cases.append(outcome.Case(f'Gin: {text[:50]}', right and harmless, seen[:200]))
  return cases


def _Manifest(folder):
  root = os.path.join(folder, 'root')
  os.makedirs(os.path.join(root, 'sub'))
  for name in ('inside.wav', '../outside.wav'):
    with open(os.path.join(root, name), 'wb'):
      pass
  os.symlink('../outside.wav', os.path.join(root, 'link.wav'))
  os.symlink('..', os.path.join(root, 'linked'))
  path = os.path.join(root, 'all.jsonl')
  cases = []
  for audio, allowed in PATHS.items():
    with open(path, 'w', encoding='utf-8') as f:
      f.write(json.dumps({'audio_filepath': audio}) + '\n')
    listing = manifest.Import(importers.Options(input=path))
    # What may be read is below the root, whatever it is called: `~` is no home here.
    inside = all(os.path.realpath(u.source).startswith(root + os.sep) for u in listing.utterances)
    right = inside and len(listing.utterances) == int(allowed) and len(listing.rejects) == int(not allowed)
    cases.append(
      outcome.Case(
        f'manifest: {audio!r}',
        right,
        '; '.join(
          [f'reads {os.path.relpath(u.source, root)}' for u in listing.utterances]
          + [f'{r.reason}' for r in listing.rejects]
        ),
      )
    )
  return cases


def _Listing(folder):
  """A pickle that runs a command when it is loaded, put in place of a shard's listing."""

  class Hostile:
    def __reduce__(self):
      return os.system, (f'touch {os.path.join(folder, _WITNESS)}',)

  with open(os.path.join(folder, 'train-0' + shards.LISTING_SUFFIX), 'wb') as f:
    f.write(bytes(32) + pickle.dumps(Hostile()))
  try:
    list(shards.WriteShard(folder, shards.Limits(), b'our key').process('train-0'))
    seen = 'read'
  except ValueError as e:
    seen = str(e)
  return outcome.Case('a listing of somebody else', 'not written by' in seen and not os.path.exists(_WITNESS), seen)


def _Tokenizers(folder, size):
  """Random and cut tokenizers, each in a process of its own: the parser is C++."""
  with open(tokenizer.FindModel('params/tokenizers/graphemes_en.model'), 'rb') as f:
    model = f.read()
  rng, cases = size.Random('tokenizers'), []
  broken = {'empty': b'', 'random': rng.randbytes(5000), 'a pickle': b"cos\nsystem\n(S'touch witness'\ntR."}
  for i in range(size.Pick(40, 4)):
    cut = bytearray(model)
    for _ in range(1 + i):
      cut[rng.randrange(len(cut))] = rng.randrange(256)
    broken[f'{1 + i} bytes changed'] = bytes(cut)
  paths = []
  for i, content in enumerate(broken.values()):
    paths.append(os.path.join(folder, f'{i}.model'))
    with open(paths[-1], 'wb') as f:
      f.write(content)
  code = (
    'import os, sys\nfrom fm_lingvo import errors\nfrom fm_lingvo.data import tokenizer\n'
    'for path in sys.argv[1:]:\n'
    '  child = os.fork()\n'
    '  if not child:\n'
    '    try:\n'
    '      t = tokenizer.Tokenizer(path); t.EncodeText("some words"); t.DecodeIds(range(3)); os._exit(0)\n'
    '    except errors.ConfigError as e:\n'
    '      os._exit(2)\n'
    '    except BaseException as e:\n'
    '      print(e, file=sys.stderr); os._exit(1)\n'
    '  print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)\n'
  )
  done = subprocess.run(
    [sys.executable, '-c', code, *paths],
    capture_output=True,
    text=True,
    check=False,
    timeout=600,
    cwd=processes.ROOT,
    env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'},
  )
  codes = [int(line) for line in done.stdout.split()]
  for name, exit_code in zip(broken, codes + [1] * len(broken)):
    cases.append(
      outcome.Case(
        f'tokenizer: {name}',
        exit_code in (0, 2) and not os.path.exists(_WITNESS),
        {0: 'still a tokenizer', 2: 'refused'}.get(exit_code, f'exit code {exit_code}'),
      )
    )
  return cases


def _Archive(folder):
  """A .deb whose member points out of the folder that it is unpacked into: dpkg-deb, which we use, leaves it inside or refuses."""
  if not shutil.which('dpkg-deb'):
    return outcome.Case('archive: ../ in a .deb', True, 'no dpkg-deb here, so no .deb is unpacked')

  def Tar(name, content):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w:gz') as tar:
      info = tarfile.TarInfo(name)
      info.size = len(content)
      tar.addfile(info, io.BytesIO(content))
    return out.getvalue()

  members = [
    ('debian-binary', b'2.0\n'),
    ('control.tar.gz', Tar('./control', b'Package: x\nVersion: 1\nArchitecture: all\n')),
    ('data.tar.gz', Tar(f'../{_WITNESS}', b'x')),
  ]
  path, root = os.path.join(folder, 'x.deb'), os.path.join(folder, 'unpacked')
  with open(path, 'wb') as f:
    f.write(b'!<arch>\n')
    for name, content in members:
      f.write(
        f'{name:<16}{0:<12}{0:<6}{0:<6}{"100644":<8}{len(content):<10}`\n'.encode()
        + content
        + b'\n' * (len(content) % 2)
      )
  os.makedirs(root)
  done = subprocess.run(['dpkg-deb', '-x', path, root], capture_output=True, text=True, check=False)
  return outcome.Case(
    'archive: ../ in a .deb', not os.path.exists(_WITNESS), (done.stderr.strip().splitlines() or ['unpacked inside'])[0]
  )


def _Ports(size):
  """A port that a child of run_local_cluster's network listens on cannot be reached from here."""
  del size
  code = (
    'import socket, sys\nfrom tools import loopback\n'
    'why = loopback.Enter()\n'
    's = socket.socket(); s.bind(("0.0.0.0", 0)); s.listen()\n'
    'c = socket.create_connection(("localhost", s.getsockname()[1]), 5)\n'  # Its own reach it.
    'print(why or s.getsockname()[1], flush=True); sys.stdin.read()\n'
  )
  child = subprocess.Popen(
    [sys.executable, '-c', code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=processes.ROOT
  )
  try:
    said = child.stdout.readline().strip()
    if not said.isdigit():
      return [outcome.Case('ports of a local cluster', False, said or 'its loopback does not work')]
    with socket.socket() as s:
      reached = s.connect_ex(('localhost', int(said))) == 0
    return [outcome.Case('ports of a local cluster', not reached, 'reached' if reached else 'not reached from outside')]
  finally:
    child.kill()
    child.communicate()
