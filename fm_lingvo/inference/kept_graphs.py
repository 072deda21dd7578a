"""Caches recognition graphs on disk, so that a second process that loads the same model does not build its graph again.

Importing Lingvo's layers and building a graph take longer than importing TensorFlow and recognising a short file. A
graph is kept without weights, in a folder below Folder() that is named by a digest of the versions and source files of
this project, TensorFlow and Lingvo, and of the arguments of load_run.Load; it is used only if the files that the run
names still have the same sizes and times. Not kept are graphs of runs that can stream, because a stream adds operations
of the run's layers, and graphs with code from outside the project (--import_module), whose changes are not detected.
"""

import base64
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from typing import Any

from lingvo import compat as tf

import fm_lingvo
from fm_lingvo import errors
from fm_lingvo.checkpoints import run_checkpoints
from fm_lingvo.data import spoken_language
from fm_lingvo.data import tokenizer
from fm_lingvo.inference import run as run_lib
from fm_lingvo.inference import session_graph
from fm_lingvo.runtime import computing
from fm_lingvo.runtime import quiet
from fm_lingvo.utils import files
from fm_lingvo.utils import shipped

FOLDER = 'FM_LINGVO_GRAPHS'  # Environment variable: the folder; '': no graphs are kept.
_GRAPH, _RECORD = 'graph.pb', 'graph.json'
_MOST = 16  # Kept graphs; the least recently used ones go.
_MOST_BYTES = 1 << 28  # Of a graph, which has language models and hotwords in it.
_OWN = ('fm_lingvo.', 'params.', 'lingvo.')
_OF_RUN = ('model_name', 'head', 'stream', 'beam_size', 'adapter', 'averages', 'max_seconds')  # Kept of a run.Run.
_PYTHON_OPS = ('PyFunc', 'PyFuncStateless', 'EagerPyFunc')  # They call a function of this process.
_SOURCES = (os.path.dirname(fm_lingvo.__file__), os.path.join(shipped.ROOT, 'params'))  # They decide what is built.
_KEY = re.compile(r'[0-9a-f]{32}')


@dataclasses.dataclass(frozen=True)
class Place:
  """Where the graph of a run is kept, and the paths that the next process may spell differently."""

  key: str  # Name of the graph's folder in Folder(), a digest.
  path: str  # Folder of the run, as it is given.
  checkpoint: str  # Prefix of its checkpoint.


@dataclasses.dataclass(frozen=True)
class _Variable:
  """What reader.Checkpoint.Load needs of a variable."""

  initializer: tf.Operation


def Folder() -> str:
  """Returns the folder of the kept graphs, '' if none are kept."""
  given = os.environ.get(FOLDER)
  return os.path.join(files.CacheFolder(), 'graphs') if given is None else files.ExpandUser(given)


def PlaceOf(path: str, checkpoint: str | None, adapter: str | None, **options: Any) -> Place | None:
  """Returns where a run's graph is kept, None if it cannot be.

  Args:
    path: Folder of the run.
    checkpoint: See load_run.Load.
    adapter: See load_run.Load.
    **options: The other arguments of load_run.Load.
  """
  if not Folder() or files.IsRemote(path) or not os.path.exists(os.path.join(path, 'config.gin')):
    return None
  try:
    prefix = run_checkpoints.Find(path, checkpoint)
  except errors.ConfigError:  # load_run.Load says it.
    return None
  quiet.FindDevices()
  parts = {
    'run': os.path.realpath(path),
    'checkpoint': os.path.realpath(prefix),
    'adapter': os.path.realpath(adapter) if adapter and os.path.isdir(adapter) else adapter,
    'options': repr(sorted(options.items())),
    'computing': repr(computing.SETTINGS),
    'devices': [device.device_type for device in tf.config.list_logical_devices()],
    'versions': [
      getattr(fm_lingvo, '__version__', ''),
      tf.tf1.version.VERSION,
      importlib.metadata.version('lingvo'),
    ],
    'sources': [_Signatures(_FilesBelow(folder)) for folder in _SOURCES],
  }
  return Place(hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32], path, prefix)


def Find(place: Place) -> tuple[run_lib.Run, session_graph.SessionGraph] | None:
  """Returns a run and its graph with the weights restored; None if none is kept, or what it was built from changed.

  Raises:
    errors.ConfigError: The weights cannot be read.
  """
  folder = os.path.join(Folder(), place.key)
  try:
    if os.stat(folder).st_uid != os.getuid():  # Others' graphs are not run.
      return None
    with open(os.path.join(folder, _RECORD), 'rb') as f:
      digest, _, text = f.read().partition(b'\n')
    with open(os.path.join(folder, _GRAPH), 'rb') as f:
      content = f.read()
    os.utime(folder)
  except OSError:  # Not there, or removed by another process.
    return None
  if _Digest(text, content) != digest:
    return None
  record = json.loads(text)
  if record['files'] != _Signatures(record['files']) or record['named'] != {x: _Found(x) for x in record['named']}:
    return None
  graph_def = tf.GraphDef.FromString(content)
  found = run_lib.Run(path=place.path, checkpoint=place.checkpoint, params=None, cluster=None, **record['run'])
  language = found.language or spoken_language.Recorded(found.path, found.stream)
  found = dataclasses.replace(found, language=language)
  return found, _Started(found, graph_def, record)


def _Started(run, graph_def, record):
  """Returns the session_graph.SessionGraph of a kept graph."""
  with tf.Graph().as_default() as graph:
    tf.import_graph_def(graph_def, name='')
    config = tf.tf1.ConfigProto.FromString(base64.b64decode(record['session']))
    session = tf.Session(graph=graph, config=config)
    session.run([graph.get_operation_by_name(name) for name in record['others']])
    variables = {
      name: _Variable(graph.get_operation_by_name(initializer)) for name, initializer in record['variables'].items()
    }
    run.Weights().Load(variables, session)

  def _Tensors(names):
    return {field: graph.get_tensor_by_name(name) for field, name in names.items()}

  inputs = [graph.get_tensor_by_name(name) for name in record['inputs']]
  return session_graph.SessionGraph(
    session=session,
    inputs=(inputs[0], inputs[1]),
    encoded=_Tensors(record['encoded']),
    searched=_Tensors(record['searched']),
    outputs=_Tensors(record['outputs']),
    tokenizer=tokenizer.Tokenizer(record['tokenizer']),
    frame_samples=record['frame_samples'],
    why_no_stream=record['why_no_stream'],
    task=None,
  )


def Keep(place: Place, run: run_lib.Run, built: session_graph.SessionGraph, language: str | None) -> bool:
  """Keeps a graph, if it is one that may be kept and the folder can be written.

  Args:
    place: Of PlaceOf, with the arguments that the run was loaded with.
    run: The run, as load_run.Load returned it.
    built: Its graph, as decoding_graph.Start returned it.
    language: The argument of load_run.Load.

  Returns:
    Whether it is kept.
  """
  graph = built.session.graph
  graph_def = graph.as_graph_def()
  functions = [node for function in graph_def.library.function for node in function.node_def]
  if (
    not built.why_no_stream
    or not _IsOwn(run)
    or any(node.op in _PYTHON_OPS for node in (*graph_def.node, *functions))
    or graph_def.ByteSize() > _MOST_BYTES
  ):
    return False
  content = graph_def.SerializeToString(deterministic=True)
  weights = {v.op.name: v.initializer.name for v in built.task.vars.Flatten()}
  names = {field: {k: t.name for k, t in getattr(built, field).items()} for field in ('encoded', 'searched', 'outputs')}
  with graph.as_default():
    others = [v.initializer.name for v in tf.global_variables() if v.op.name not in weights]
  adapter_file = run.adapter_file and os.path.abspath(run.adapter_file)
  kept = {name: getattr(run, name) for name in _OF_RUN}
  named = {text: _Found(text) for text in re.findall(r'["\']([^"\'\n]+)["\']', run.params.ToText())}
  named = {text: path for text, path in named.items() if path}
  record = {
    'run': {**kept, 'adapter_file': adapter_file, 'language': language},
    'files': _Signatures(sorted({*_FilesOf(run), *named.values()})),
    'named': named,
    'session': base64.b64encode(built.session._config.SerializeToString()).decode(),
    'inputs': [x.name for x in built.inputs],
    'variables': weights,
    'others': others,
    'tokenizer': _Found(run.params.heads.Get(run.head).tokenizer_file),
    'frame_samples': built.frame_samples,
    'why_no_stream': built.why_no_stream,
    **names,
  }
  try:
    text = json.dumps(record).encode()
    _Write(os.path.join(Folder(), place.key), {_GRAPH: content, _RECORD: _Digest(text, content) + b'\n' + text})
    _RemoveOld()
  except OSError:  # A home that cannot be written, or is full: the next start builds the graph, as this one did.
    return False
  return True


def _Write(folder, contents):
  """Writes a folder with files at once."""
  os.makedirs(os.path.dirname(folder), mode=0o700, exist_ok=True)
  with tempfile.TemporaryDirectory(dir=os.path.dirname(folder), prefix='.new-') as new:
    for name, content in contents.items():
      with open(os.path.join(new, name), 'wb') as f:
        f.write(content)
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(new, folder)
    os.mkdir(new)  # For the end of the context.


def _Digest(record, graph):
  """Returns the SHA-256 of a record and its graph, in hexadecimal."""
  return hashlib.sha256(record + b'\n' + graph).hexdigest().encode()


def _RemoveOld():
  """Removes the least recently used graphs if there are too many."""
  with os.scandir(Folder()) as entries:
    kept = sorted((entry.stat().st_mtime, entry.path) for entry in entries if _KEY.fullmatch(entry.name))
  for _, path in kept[:-_MOST]:
    shutil.rmtree(path, ignore_errors=True)


def _IsOwn(run):
  """Whether the run's experiment and layers are the project's and Lingvo's."""
  from lingvo import model_registry

  modules = [model_registry.GetClass(run.model_name).__module__]
  modules += re.findall(r'^\S*\bcls : type/([\w.]+)/', run.params.ToText(), re.M)
  return all(f'{module}.'.startswith(_OWN) for module in modules)


def _Found(text):
  """Returns the absolute path of a local file that params name; None: it is none."""
  path = None if files.IsRemote(text) else shipped.Where(text)
  return path and os.path.abspath(path)


def _FilesOf(run):
  """Returns the paths of a run's files that its params do not name: its configuration and its weights."""
  folder, name = os.path.split(os.path.abspath(run.checkpoint))
  paths = [os.path.join(folder, other) for other in os.listdir(folder) if other.startswith(name)]
  paths += [os.path.abspath(path) for path in (run.adapter_file,) if path]
  return [*paths, os.path.abspath(os.path.join(run.path, 'config.gin'))]


def _FilesBelow(folder):
  """Returns the paths of the files below a folder, without Python's caches."""
  return [
    os.path.join(parent, name)
    for parent, folders, names in os.walk(folder)
    for name in names
    if '__pycache__' not in parent
  ]


def _Signatures(paths: Iterable[str]) -> dict[str, list[int] | None]:
  """Returns dict: path -> size and time of a file, None if it is not there."""
  found: dict[str, list[int] | None] = {}
  for path in paths:
    try:
      status = os.stat(path)
      found[path] = [status.st_size, status.st_mtime_ns]
    except OSError:
      found[path] = None
  return found
