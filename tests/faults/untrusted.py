"""Hostile input: a Gin file, a manifest, a shard's listing, a tokenizer, a package's archive; and open ports."""

import io
import json
import os
import pathlib
import pickle
import shutil
import socket
import subprocess
import sys
import tarfile

from fm_lingvo import errors
from fm_lingvo.config import gin_config
from fm_lingvo.data import tokenizer
from tests.faults import isolated
from tests.faults import processes
from tests.faults import suite as suite_lib
from tools.prepare import importers
from tools.prepare import shards
from tools.prepare.importers import manifest

_WITNESS = 'witness'  # A file that hostile input would make in the working directory.
# Gin text -> what its error must say; None: it need not be refused, only do no harm.
GIN = {
  'import os': 'a Gin file must not import Python',
  'import params.asr': 'a Gin file must not import Python',
  'from os import system': 'a Gin file must not import Python',
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


def Run(suite):
  """Feeds hostile input to what reads it, in suite.folder; yields a Case for each."""
  os.chdir(suite.folder)
  yield from _Gin()
  yield from _Manifest(suite.path / 'root')
  yield _Listing(suite.folder)
  yield from _Tokenizers(suite)
  yield _Archive()
  yield _Ports()


def _Harmless():
  return not os.path.exists(_WITNESS)


def _Gin():
  path = pathlib.Path('self.gin').absolute()
  for text, message in GIN.items():
    path.write_text(text + '\n')
    try:
      gin_config.Configure('asr.BestRqPretrain', [str(path)])
      seen, refused = 'accepted', False
    except errors.ConfigError as e:
      seen, refused = str(e), True
    finally:
      gin_config.Reset()
    right = message is None or refused and message in seen
    yield suite_lib.Case(f'Gin: {text[:50]}', right and _Harmless() and '\n' not in seen, seen[:200])


def _Manifest(root):
  (root / 'sub').mkdir(parents=True)
  for name in ('inside.wav', '../outside.wav'):
    (root / name).touch()
  (root / 'link.wav').symlink_to('../outside.wav')
  (root / 'linked').symlink_to('..')
  path = root / 'all.jsonl'
  for audio, allowed in PATHS.items():
    path.write_text(json.dumps({'audio_filepath': audio}) + '\n')
    listing = manifest.Import(importers.Options(input=str(path)))
    read = [os.path.realpath(utterance.source) for utterance in listing.utterances]
    # Whatever may be read is below the root: `~` is a name like any other here.
    right = all(source.startswith(f'{root}/') for source in read)
    right = right and len(read) == int(allowed) and len(listing.rejects) == int(not allowed)
    seen = [f'reads {source}' for source in read] + [reject.reason for reject in listing.rejects]
    yield suite_lib.Case(f'manifest: {audio!r}', right, '; '.join(seen))


class _RunsACommand:
  """Its pickle runs a command when it is loaded."""

  def __reduce__(self):
    return os.system, (f'touch {_WITNESS}',)


def _Listing(folder):
  """A hostile pickle in place of a shard's listing."""
  pathlib.Path('train-0' + shards.LISTING_SUFFIX).write_bytes(bytes(32) + pickle.dumps(_RunsACommand()))
  try:
    list(shards.WriteShard(folder, shards.Limits(), b'our key').process('train-0'))
    seen = 'read'
  except ValueError as e:
    seen = str(e)
  return suite_lib.Case('a listing of somebody else', 'not written by' in seen and _Harmless(), seen)


def UseTokenizer(path):
  """Encodes and decodes a little; returns what came of it. In a process of its own: the parser is C++."""
  try:
    model = tokenizer.Tokenizer(path)
    model.EncodeText('some words')
    model.DecodeIds(range(3))
    return 'still a tokenizer'
  except errors.ConfigError:
    return 'refused'


def _Tokenizers(suite):
  """Random files and tokenizers with changed bytes."""
  model, rng = pathlib.Path(tokenizer.FindModel('params/tokenizers/graphemes_en.model')), suite.Random('tokenizers')
  broken = {'empty': b'', 'random': rng.randbytes(5000), 'a pickle': b"cos\nsystem\n(S'touch witness'\ntR."}
  for i in range(1, 1 + suite.Pick(40, 4)):
    content = bytearray(model.read_bytes())
    for _ in range(i):
      content[rng.randrange(len(content))] = rng.randrange(256)
    broken[f'{i} bytes changed'] = bytes(content)
  paths = [suite.path / f'{i}.model' for i in range(len(broken))]
  for path, content in zip(paths, broken.values()):
    path.write_bytes(content)
  for name, seen in zip(broken, isolated.Results(UseTokenizer, [str(path) for path in paths])):
    yield suite_lib.Case(f'tokenizer: {name}', seen in ('still a tokenizer', 'refused') and _Harmless(), seen)


def _Archive():
  """A .deb with a member outside of the folder that it is unpacked into; dpkg-deb must refuse it, or keep it inside."""
  name = 'archive: ../ in a .deb'
  if not shutil.which('dpkg-deb'):
    return suite_lib.Case(name, True, 'no dpkg-deb here, so no .deb is unpacked')

  def Tar(member, content):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w:gz') as tar:
      info = tarfile.TarInfo(member)
      info.size = len(content)
      tar.addfile(info, io.BytesIO(content))
    return out.getvalue()

  members = {
    'debian-binary': b'2.0\n',
    'control.tar.gz': Tar('./control', b'Package: x\nVersion: 1\nArchitecture: all\n'),
    'data.tar.gz': Tar(f'../{_WITNESS}', b'x'),
  }
  archive = b'!<arch>\n'
  for member, content in members.items():
    archive += f'{member:<16}{0:<12}{0:<6}{0:<6}{"100644":<8}{len(content):<10}`\n'.encode()
    archive += content + b'\n' * (len(content) % 2)
  pathlib.Path('x.deb').write_bytes(archive)
  os.makedirs('unpacked')
  done = subprocess.run(['dpkg-deb', '-x', 'x.deb', 'unpacked'], capture_output=True, text=True, check=False)
  return suite_lib.Case(name, _Harmless(), (done.stderr.strip().splitlines() or ['unpacked inside'])[0])


# Listens in a local cluster's network, connects to itself, and writes its port, or why there is no such network.
_LISTEN = """
import socket, sys
from tools.cluster import loopback
why = loopback.Enter()
listener = socket.create_server(('0.0.0.0', 0))
connection = socket.create_connection(('localhost', listener.getsockname()[1]), 5)
print(why or listener.getsockname()[1], flush=True)
sys.stdin.read()
"""


def _Ports():
  """A port that a job of run_local_cluster listens on must not be reached from outside of its network."""
  name = 'ports of a local cluster'
  with subprocess.Popen(
    [sys.executable, '-c', _LISTEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=processes.ROOT
  ) as child:
    line = child.stdout.readline().strip()
    reached = line.isdigit() and not socket.socket().connect_ex(('localhost', int(line)))
    child.kill()
  if not line.isdigit():
    return suite_lib.Case(name, False, line or 'its loopback does not work')
  return suite_lib.Case(name, not reached, 'reached' if reached else 'not reached from outside')
