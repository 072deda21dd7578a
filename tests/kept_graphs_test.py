"""A kept graph gives what the built one gives, and is used only while nothing of what it was built from changes.

Builds a graph, once: what is kept is that graph. Starts a process: only there is Lingvo not imported yet.
"""

import contextlib
import dataclasses
import glob
import os
import shutil
import subprocess
import sys
import tempfile
from unittest import mock

import numpy as np
import pytest
from absl.testing import absltest

import fm_lingvo
from fm_lingvo.inference import decoding_graph
from fm_lingvo.inference import graph_mode
from fm_lingvo.inference import kept_graphs
from fm_lingvo.inference import load_run
from fm_lingvo.runtime import computing
from tests import run_case
from tests import tiny_data

_SOUNDS = [(tiny_data.Waveform(seconds, i).astype(np.int16), 16000) for i, seconds in enumerate((1.5, 2.5, 1.1))]


class _NotTheProject:
  """Stands for a layer of a user's module."""


@contextlib.contextmanager
def _Alone(folder):
  """Context with a folder for kept graphs, in which the process computes as one without other tests does."""
  usual = mock.patch.object(computing, 'SETTINGS', computing.Settings())
  with usual, mock.patch.dict(os.environ, {kept_graphs.FOLDER: folder}):
    yield


def setUpModule():
  global _folder, _run, _built, _expected
  _folder = tempfile.mkdtemp()
  _run = _folder + '/run'
  with graph_mode.GraphMode():
    run_case.MakeRun(_run, 'asr.Supervised', 'nowhere', 'transducer.max_labels_per_frame = 2.0')
  with _Alone(_folder + '/kept'), fm_lingvo.load(_run) as model:
    _built = model.recognizer.graph, model._run
    _expected = model.transcribe(_SOUNDS)


def tearDownModule():
  shutil.rmtree(_folder)


def _Named(key):
  return kept_graphs.Place(32 * key, _built[1].path, _built[1].checkpoint)


class KeptGraphsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path + '/kept'
    self.enter_context(_Alone(self.folder))
    shutil.copytree(_folder + '/kept', self.folder)
    self.run_folder = _run

  def _Place(self, path=None, **changed):
    options = dict(checkpoint=None, adapter=None, averages=True, how=fm_lingvo.Search(), language=None)
    return kept_graphs.PlaceOf(path or self.run_folder, **{**options, **changed})

  def _Copy(self):
    """A copy of the run, with a graph of its own."""
    self.run_folder = self.create_tempdir().full_path + '/run'
    shutil.copytree(_run, self.run_folder)
    graph, run = _built
    with graph_mode.GraphMode():
      run = load_run.Load(self.run_folder)
    self.assertTrue(kept_graphs.Keep(self._Place(), run, graph, None))
    return run

  def test_a_second_load_builds_no_graph_and_finds_the_same_to_the_last_digit(self):
    self.assertNotEmpty(''.join(found.text for found in _expected))
    with mock.patch.object(decoding_graph, 'New', side_effect=AssertionError('built again')):
      with fm_lingvo.load(_run) as model:
        self.assertEqual(model.transcribe(_SOUNDS), _expected)
        self.assertIsNone(model.recognizer.graph.task)
        self.assertEqual(model.recognizer.WhyNoStream(), _built[0].why_no_stream)
        run = model._run
    for field in dataclasses.fields(run):
      if field.name not in ('params', 'cluster'):
        self.assertEqual(getattr(run, field.name), getattr(_built[1], field.name), field.name)

  def test_what_a_graph_depends_on_is_in_its_key(self):
    self.assertIsNotNone(kept_graphs.Find(self._Place()))
    keys = [self._Place()]
    keys += [self._Place(how=how) for how in (fm_lingvo.Search(beam_size=3), fm_lingvo.Search(hotwords=['a b']))]
    keys += [self._Place(averages=False), self._Place(adapter='none'), self._Place(language='en')]
    with mock.patch.object(computing.SETTINGS, 'parts', 2):
      keys.append(self._Place())
    sources = kept_graphs._Signatures
    with mock.patch.object(kept_graphs, '_Signatures', lambda paths: {**sources(paths), 'edited.py': [1, 2]}):
      keys.append(self._Place())
    with mock.patch('importlib.metadata.version', lambda package: 'another'):
      keys.append(self._Place())
    self.assertLen(set(keys), len(keys))
    self.assertFalse([key for key in keys[1:] if kept_graphs.Find(key)])

  def test_a_changed_file_of_the_run_makes_a_kept_graph_invalid(self):
    self._Copy()
    for pattern in ('config.gin', 'tokenizer_transducer.model', 'train/ckpt-*.data-*', 'train/ckpt-*.index'):
      with self.subTest(pattern):
        self.assertIsNotNone(kept_graphs.Find(self._Place()))
        (path,) = glob.glob(os.path.join(self.run_folder, pattern))
        before = os.stat(path)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
        self.assertIsNone(kept_graphs.Find(self._Place()))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

  def test_relative_paths_mean_those_of_the_process_that_gives_them(self):
    run = self._Copy()
    self.addCleanup(os.chdir, os.getcwd())
    os.chdir(os.path.dirname(self.run_folder))
    found, graph = kept_graphs.Find(self._Place('run'))
    self.assertEqual((found.path, found.checkpoint), ('run', 'run/train/ckpt-00000003'))
    self.assertTrue(os.path.isabs(graph.tokenizer.path))
    graph.session.close()
    # A file that the params name by a relative path, as a language model may be.
    run.params.heads.transducer.lm_file = 'lm.npz'
    for folder in ('one', 'two'):
      os.mkdir(folder)
      shutil.copy('run/config.gin', folder + '/lm.npz')
    place = self._Place(self.run_folder)
    os.chdir('one')
    self.assertTrue(kept_graphs.Keep(place, run, _built[0], None))
    self.assertIsNotNone(kept_graphs.Find(place))
    os.chdir('../two')
    self.assertIsNone(kept_graphs.Find(place))
    self.assertNotEqual(self._Place(adapter='../one'), self._Place(adapter='../two'))

  def test_a_newer_checkpoint_has_another_graph(self):
    self._Copy()
    before = self._Place()
    for path in glob.glob(self.run_folder + '/train/ckpt-*'):
      shutil.copy(path, path.replace('ckpt-00000003', 'ckpt-00000004'))
    os.remove(self.run_folder + '/train/checkpoint')
    self.assertNotEqual(self._Place(), before)

  def test_damaged_and_foreign_graphs_are_not_used(self):
    folder = os.path.join(self.folder, self._Place().key)
    for name in ('graph.pb', 'graph.json'):
      with self.subTest(name):
        path = os.path.join(folder, name)
        with open(path, 'rb') as f:
          content = f.read()
        for damaged in (content[:-1], content[:100] + bytes([content[100] ^ 1]) + content[101:], b''):
          with open(path, 'wb') as f:
            f.write(damaged)
          self.assertIsNone(kept_graphs.Find(self._Place()))
        with open(path, 'wb') as f:
          f.write(content)
        self.assertIsNotNone(kept_graphs.Find(self._Place()))
    with mock.patch('os.getuid', lambda: os.stat(folder).st_uid + 1):
      self.assertIsNone(kept_graphs.Find(self._Place()))

  def test_none_are_kept_without_a_folder_or_of_a_folder_that_is_no_run(self):
    self.assertIsNone(self._Place(_folder))
    self.assertIsNone(self._Place('gs://bucket/run'))
    self.assertIsNone(self._Place(checkpoint='ckpt-7'))  # Which load_run.Load says in a line.
    with mock.patch.dict(os.environ, {kept_graphs.FOLDER: ''}):
      self.assertIsNone(self._Place())

  def test_graphs_with_others_code_and_those_that_can_stream_are_not_kept(self):
    graph, run = _built
    self.assertTrue(kept_graphs.Keep(_Named('a'), run, graph, None))
    self.assertFalse(kept_graphs.Keep(_Named('b'), run, dataclasses.replace(graph, why_no_stream=''), None))
    params = run.params.Copy()
    params.encoder.subsampling.cls = _NotTheProject
    self.assertFalse(kept_graphs.Keep(_Named('b'), dataclasses.replace(run, params=params), graph, None))
    self.assertNotIn(32 * 'b', os.listdir(self.folder))

  def test_a_folder_that_cannot_be_written_costs_the_next_start_only(self):
    graph, run = _built
    with open(self.folder + '/file', 'w', encoding='utf-8'):
      pass
    os.environ[kept_graphs.FOLDER] = self.folder + '/file/below'
    self.assertFalse(kept_graphs.Keep(_Named('a'), run, graph, None))

  def test_the_least_recently_used_go(self):
    graph, run = _built
    os.mkdir(self.folder + '/notes')  # Something of the user's.
    os.utime(self.folder + '/notes', (0, 0))
    with mock.patch.object(kept_graphs, '_MOST', 4):
      for i, key in enumerate('abcd'):
        kept_graphs.Keep(_Named(key), run, graph, None)
        os.utime(os.path.join(self.folder, 32 * key), (i, i))
      kept_graphs.Find(_Named('b'))
      kept_graphs.Keep(_Named('e'), run, graph, None)
    self.assertEqual(
      sorted(os.listdir(self.folder)), sorted([32 * 'b', 32 * 'd', 32 * 'e', 'notes', self._Place().key])
    )

  def test_the_folder_is_the_user_s_alone(self):
    self.assertEqual(os.stat(_folder + '/kept').st_mode & 0o077, 0)

  @pytest.mark.slow
  def test_a_kept_graph_needs_none_of_lingvo_s_layers(self):
    code = (
      f'import sys, fm_lingvo; fm_lingvo.load({_run!r}).close(); '
      'print([name for name in sys.modules if name.startswith("lingvo.core")])'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    self.assertEqual((done.stdout, done.stderr), ('[]\n', ''))


if __name__ == '__main__':
  absltest.main()
