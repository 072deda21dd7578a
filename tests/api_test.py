"""fm_lingvo.load and model.transcribe: what they accept, that they equal the command line, what they leave behind.

Builds graphs: recognition has no other proof. Starts a process: what an import leaves behind is seen in a new one only.
"""

import concurrent.futures
import contextlib
import dataclasses
import importlib.metadata
import io
import itertools
import json
import os
import pathlib
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
import wave
from unittest import mock

import numpy as np
from absl.testing import absltest

import fm_lingvo
from fm_lingvo import errors
from fm_lingvo.data import spoken_language
from fm_lingvo.inference import graph_mode
from fm_lingvo.utils import shipped
from tests import pages
from tests import process_case
from tests import run_case
from tests import tiny_data
from tools import transcribe

_SEARCH = {'beam_size': 3, 'n_best': 2}


def _Wav(samples, rate=16000):
  """The bytes of a WAV file with int16 samples [n] or [n, channels]."""
  out = io.BytesIO()
  with wave.open(out, 'wb') as f:
    f.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
    f.setsampwidth(2)
    f.setframerate(rate)
    f.writeframes(samples.astype('<i2').tobytes())
  return out.getvalue()


def setUpModule():
  global _folder, _run, _files
  _folder = tempfile.mkdtemp()
  _run = _folder + '/run'
  with graph_mode.GraphMode():
    run_case.MakeRun(
      _run,
      'asr.AdapterFinetune',
      'nowhere',
      'transducer.max_labels_per_frame = 2.0',
      'task.encoder.adapters = ["target", "other"]',
      'AdapterFinetune.adapter_dim = 4',
      'AdapterFinetune.init_from = "gone"',
    )
  long = np.concatenate([np.concatenate([tiny_data.Waveform(2.0, i), np.zeros([4000])]) for i in range(4)])
  sounds = [*(tiny_data.Waveform(seconds, i) for i, seconds in enumerate((1.5, 2.5, 1.1))), long.astype(np.int16)]
  _files = [f'{_folder}/{i}.wav' for i in range(len(sounds))]
  for path, samples in zip(_files, sounds):
    pathlib.Path(path).write_bytes(_Wav(samples))


def tearDownModule():
  shutil.rmtree(_folder)


class ApiTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    search = fm_lingvo.Search(beam_size=_SEARCH['beam_size'])
    cls.model = fm_lingvo.load(_run, adapter='target', search=search, n_best=_SEARCH['n_best'])
    cls.addClassCleanup(cls.model.close)
    cls.expected = cls.model.transcribe(_files)

  def _AssertSame(self, found, expected):
    """Same but for the name."""
    self.assertEqual(dataclasses.replace(found, name=expected.name), expected)

  def test_equals_the_command_line_to_the_last_digit(self):
    out, err = io.StringIO(), io.StringIO()
    options = ['--adapter=target', '--format=json', *(f'--{name}={value}' for name, value in _SEARCH.items())]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
      self.assertEqual(transcribe.Main(['transcribe', _run, *_files, *options]), 0, err.getvalue())
    lines = out.getvalue().splitlines()
    self.assertEqual(lines, [found.to_json() for found in self.expected])
    rows = [json.loads(line) for line in lines]
    self.assertTrue(all(row['text'] for row in rows))
    self.assertGreater(rows[-1]['windows'], 1)
    self.assertLen(rows[0]['n_best'], 2)

  def test_a_result_has_the_usual_keys_and_cannot_be_changed(self):
    for result, seconds in zip(self.expected, (1.5, 2.5, 1.1, 9.0)):
      row = result.to_dict()
      self.assertEqual(json.loads(result.to_json()), row)
      self.assertEqual((row['file'], row['text'], row['duration']), (result.name, result.text, seconds))
      self.assertEqual([w['word'] for w in row['words']], [w.text for w in result.words])
      self.assertEqual(' '.join(s['text'] for s in row['segments']), ' '.join(w['word'] for w in row['words']))
      self.assertEqual([s['id'] for s in row['segments']], list(range(len(result.segments))))
      for segment in result.segments:
        self.assertEqual((segment.start, segment.end), (segment.words[0].start, segment.words[-1].end))
        self.assertLessEqual(segment.end - segment.start, 6.0)
      self.assertEqual(pickle.loads(pickle.dumps(result)), result)
      with self.assertRaises(dataclasses.FrozenInstanceError):
        result.text = ''

  def test_the_language_is_the_run_s_or_the_one_that_is_named(self):
    self.assertIsNone(self.model.language)
    self.assertIsNone(self.expected[0].to_dict()['language'])
    spoken_language.Record(_run, {'labeled': 'en'}, ['labeled'], [])
    self.addCleanup(os.remove, f'{_run}/{spoken_language.RECORD}')
    for named, language in ((None, 'en'), ('de', 'de')):
      with fm_lingvo.load(_run, language=named) as model:
        self.assertEqual((model.language, model.transcribe(_files[0]).language), (language, language))
    with self.assertRaisesRegex(errors.ConfigError, "^language = 'English': expected the code of a language, such as"):
      fm_lingvo.load(_run, language='English')

  def test_one_recording_gives_one_result_and_a_list_a_list(self):
    one = self.model.transcribe(_files[0])
    self.assertEqual((one.name, one.text, one.words), (_files[0], self.expected[0].text, self.expected[0].words))
    self.assertEqual(self.model.transcribe(pathlib.Path(_files[0])), one)
    self.assertEqual(self.model.transcribe([_files[0]]), [one])
    self.assertEqual(self.model.transcribe((_files[0],)), [one])
    self.assertEqual(self.model.transcribe([]), [])

  def test_bytes_and_open_files_are_as_their_file(self):
    one = self.model.transcribe(_files[0])
    content = pathlib.Path(_files[0]).read_bytes()
    for source in (content, bytearray(content), memoryview(content), io.BytesIO(content)):
      found = self.model.transcribe(source)
      self.assertEqual(found.name, '')
      self.assertNotIn('file', found.to_dict())
      self._AssertSame(found, one)
    with open(_files[0], 'rb') as f:
      self.assertEqual(self.model.transcribe(f), one)
      self.assertFalse(f.closed)
    with subprocess.Popen(['cat', _files[0]], stdout=subprocess.PIPE) as pipe:  # It cannot seek.
      self._AssertSame(self.model.transcribe(pipe.stdout), one)

  def test_an_array_is_as_a_file_with_its_samples(self):
    rng = np.random.RandomState(0)
    for rate in (8000, 16000, 44100):
      for channels in (None, 2, 3):
        shape = [int(1.3 * rate)] + ([channels] if channels else [])
        samples = (rng.randn(*shape) * 3000).astype(np.int16)
        expected = self.model.transcribe(_Wav(samples, rate))
        self.assertAlmostEqual(expected.duration, 1.3, delta=0.01)
        self.assertEqual(self.model.transcribe(samples, rate), expected, (rate, channels))
        self.assertEqual(self.model.transcribe((samples[:], np.int64(rate))), expected, (rate, channels))
        with self.subTest('the byte order of another machine'):
          self.assertEqual(self.model.transcribe(samples.astype('>i2'), rate), expected)
        with self.subTest('not contiguous'):
          self.assertEqual(self.model.transcribe(np.asfortranarray(samples), sampling_rate=rate), expected)
    for dtype in (np.float32, np.float64):
      samples = tiny_data.Waveform(1.5, 0)
      self._AssertSame(self.model.transcribe((samples / 32768).astype(dtype), 16000), self.model.transcribe(_files[0]))

  def test_a_float_array_at_another_rate_is_close_to_that_of_integers(self):
    samples = (np.sin(np.arange(44100) * 0.05) * 8000).astype(np.int16)
    whole, real = self.model.transcribe([(samples, 44100), (samples / 32768, 44100)])
    self.assertEqual(whole.duration, real.duration)
    self.assertEqual(whole.text, real.text)

  def test_a_generator_is_read_as_its_results_are_taken(self):
    asked = []

    def _Recordings():
      for i in itertools.count():
        asked.append(i)
        yield _files[i % 3]

    results = self.model.transcribe(_Recordings(), read_ahead=1)
    self.assertEmpty(asked)
    for i in range(4):
      self.assertEqual(next(results).name, _files[i % 3])
      self.assertLen(asked, i + 1)
    asked.clear()
    found = list(itertools.islice(self.model.transcribe(_Recordings()), 70))
    self.assertEqual([r.name for r in found], [_files[i % 3] for i in range(70)])
    self.assertLessEqual(len(asked), 128)
    mixed = [(tiny_data.Waveform(1.5, 0), 16000), _files[3], pathlib.Path(_files[1]).read_bytes()]
    found = list(self.model.transcribe(iter(mixed)))
    self.assertEqual([r.text for r in found], [self.expected[i].text for i in (0, 3, 1)])

  def test_threads_share_a_model(self):
    alone = [self.model.transcribe(path) for path in _files]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
      found = list(pool.map(self.model.transcribe, _files * 6))
    self.assertEqual(found, alone * 6)

  def test_models_in_one_process_are_apart_and_one_is_closed_alone(self):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:  # Also loaded at the same time.
      other, none = pool.map(lambda name: fm_lingvo.load(_run, adapter=name), ('other', 'none'))
    models = [self.model, other, none]
    first = [model.transcribe(_files[0]) for model in models]
    self.assertLen({result.score for result in first}, 3)
    self.assertEqual([model.adapter for model in models], ['target', 'other', 'none'])
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
      self.assertEqual(list(pool.map(lambda model: model.transcribe(_files[0]), models)), first)
    with none:
      self.assertIn("adapter 'none'", repr(none))
    none.close()
    with self.assertRaisesRegex(errors.ConfigError, 'the model is closed; load it again'):
      none.transcribe(_files[0])
    waiting = other.transcribe(iter(_files), read_ahead=1)
    self.assertEqual(next(waiting), first[1])
    other.close()
    with self.assertRaisesRegex(errors.ConfigError, 'the model is closed'):
      next(waiting)
    self.assertEqual(self.model.transcribe(_files[0]), first[0])

  def test_what_is_lost_of_a_damaged_recording_is_said(self):
    content = pathlib.Path(_files[3]).read_bytes()
    result = self.model.transcribe(content[: len(content) // 2])
    self.assertStartsWith(result.damage, 'the file is cut off')
    self.assertEqual(result.to_dict()['damage'], result.damage)
    self.assertEmpty(self.expected[3].damage)

  def test_a_recording_that_cannot_be_read_is_an_error_of_a_line(self):
    sound = tiny_data.Waveform(1.0, 0)
    bad = (
      (f'{_folder}/gone.wav', r'gone\.wav: missing: '),
      (b'nothing of the kind' * 100, '^recording 1: not_audio: '),
      (b'', '^recording 1: empty: 0 bytes'),
      ((sound[:0], 16000), '^recording 1: empty: no samples'),
      ((sound * np.nan, 16000), 'corrupt: samples that are NaN or infinite'),
      ((sound.astype(np.float32), 16000), 'corrupt: .* expected -1 to 1; divide them by 32768'),
    )
    for recording, message in bad:
      with self.assertRaisesRegex(errors.AudioError, message) as raised:
        self.model.transcribe(recording)
      self.assertLen(str(raised.exception).splitlines(), 1)
    with self.assertRaisesRegex(errors.AudioError, 'too_long: more than 0.36 s'):
      self.model.transcribe(sound, 16000, max_hours=0.0001)
    found = self.model.transcribe([_files[0], *(r for r, _ in bad), _files[1]], on_error='return')
    self.assertEqual([r.text for r in (found[0], found[-1])], [r.text for r in self.expected[:2]])
    self.assertEqual([e.reason for e in found[1:-1]], ['missing', 'not_audio', 'empty', 'empty', 'corrupt', 'corrupt'])
    self.assertStartsWith(str(found[2]), 'recording 3: not_audio')
    copy = pickle.loads(pickle.dumps(found[2]))
    self.assertEqual((str(copy), copy.reason), (str(found[2]), 'not_audio'))
    results = self.model.transcribe(iter([_files[0], b'', _files[1]]))
    self.assertEqual(next(results).name, _files[0])
    with self.assertRaisesRegex(errors.AudioError, '^recording 2: empty'):
      next(results)

  def test_what_is_no_recording_is_refused_in_a_line(self):
    sound = np.zeros([16000], np.int16)
    for args, message in (
      ((3,), '^int 3: expected a path, bytes'),
      (([3],), '^int 3: expected a path'),
      (({'array': sound},), '^dict .*: expected a path'),
      ((iter([None]),), '^NoneType None: expected a path'),
      ((sound,), 'an array without a sampling rate; set sampling_rate'),
      (((16000, sound),), r'^int 16000: .*or \(samples, sampling_rate\)'),
      ((sound.astype(np.int32), 16000), r'^array of int32 \[16000\]: expected samples of int16, or of float'),
      ((sound.reshape([2, 8000]), 16000), r'expected samples \[n, channels\] with 1 to 64 channels'),
      ((sound.reshape([2, 2, 4000]), 16000), r'expected samples \[n\] or \[n, channels\]'),
      ((sound, 0), 'sampling_rate = 0: expected whole Hz from 1000 to 768000'),
      ((sound, 44100.5), 'sampling_rate = 44100.5: expected whole Hz'),
      ((sound, float('nan')), 'sampling_rate = nan: expected whole Hz'),
      ((sound, '16000'), "sampling_rate = '16000': expected whole Hz"),
      ((_files[0], 16000), 'sampling_rate is of arrays only'),
      ((io.StringIO('text'),), 'a file open as text; open it in binary mode'),
    ):
      with self.assertRaisesRegex(errors.ConfigError, message) as raised:
        list(self.model.transcribe(*args))
      self.assertLen(str(raised.exception).splitlines(), 1)
    for options, message in (
      (dict(max_hours=0), 'max_hours = 0: expected > 0'),
      (dict(on_error='retrun'), 'on_error.*retrun.*did you mean return'),
      (dict(max_hours='1'), "max_hours = '1': expected hours, got str"),
      (dict(read_ahead=0), 'read_ahead = 0: expected >= 1'),
      (dict(read_ahead=1.5), 'read_ahead = 1.5: expected an integer, got float'),
    ):
      with self.assertRaisesRegex(errors.ConfigError, message):
        self.model.transcribe(iter([]), **options)

  def test_what_cannot_be_loaded_is_refused_in_a_line(self):
    for run, options, message in (
      (_folder + '/rnu', {}, 'rnu: no config.gin in it'),
      (_run, dict(adapter='targte'), r"no adapters called 'targte'; .*did you mean target\?"),
      (_run, dict(checkpoint='ckpt-00000004'), r'no such checkpoint.*did you mean ckpt-00000003\?'),
      (_run, dict(checkpoint='best'), 'keeps no best checkpoint'),
      (_run, dict(n_best=2), 'n_best = 2: expected 1 to 1'),
      (_run, dict(search=fm_lingvo.Search(beam_size=0)), 'beam_size = 0: expected >= 1'),
      (_run, dict(search=dict(beam_size=8)), r'search = .*: expected fm_lingvo.Search\(beam_size=8\), got dict'),
      (_run, dict(search='beam'), r"search = 'beam': expected fm_lingvo.Search\(beam_size=8\), got str"),
      (_run, dict(search=fm_lingvo.Search(beam_size='8')), "beam_size = '8': expected an integer"),
      (_run, dict(search=fm_lingvo.Search(lm=3)), 'lm = 3: expected the path of a file'),
      (_run, dict(search=fm_lingvo.Search(lm_weight='0.3')), "lm_weight = '0.3': expected a number"),
      (_run, dict(search=fm_lingvo.Search(hotwords={'dog': 2.0})), 'hotwords = .*: expected a list of phrases and'),
      (_run, dict(search=fm_lingvo.Search(hotwords=3)), 'hotwords = 3: expected a list of phrases and'),
      (3, {}, 'run = 3: expected the path of a folder, got int'),
      (_run, dict(adapter=['a']), r"adapter = \['a'\]: expected a name of adapters"),
      (_run, dict(checkpoint=500), "checkpoint = 500: expected 'best', 'newest'"),
      (_run, dict(n_best='2'), "n_best = '2': expected an integer, got str"),
      (_run, dict(max_window='8'), "max_window = '8': expected seconds, got str"),
      (_run, dict(averages='no'), "averages = 'no': expected True or False, got str"),
      (
        'params/models/english_an4',
        {},
        'english_an4: adapters alone; expected the run that they are for, and --adapter=.*english_an4$',
      ),
      (_run, dict(max_window=1), 'max_window = 1: expected >= 2 and finite'),
      (_run, dict(max_window=float('nan')), 'max_window = nan: expected >= 2'),
    ):
      with self.assertRaisesRegex(errors.ConfigError, message) as raised:
        fm_lingvo.load(run, **options)
      self.assertLen(str(raised.exception).splitlines(), 1)

  def test_a_name_of_adapters_may_be_that_of_a_folder_of_the_project(self):
    self.addCleanup(os.chdir, os.getcwd())
    os.chdir(_folder)
    self.assertTrue(os.path.isdir(os.path.join(shipped.ROOT, 'tools')))
    with self.assertRaisesRegex(errors.ConfigError, "no adapters called 'tools'; .* target"):
      fm_lingvo.load(_run, adapter='tools')

  def test_the_examples_of_the_page_run(self):
    with tempfile.TemporaryDirectory() as folder:
      self.addCleanup(os.chdir, os.getcwd())
      os.chdir(folder)
      os.makedirs('runs')
      os.symlink(_run, 'runs/adapted')
      os.makedirs('my_audio')
      for path in _files[:2]:
        shutil.copy(path, 'my_audio')
      pathlib.Path('refs.jsonl').write_text('{"audio_filepath": "my_audio/0.wav", "text": "turn left"}\n')
      printed = []
      for block in re.findall(r'(?ms)^```python\n(.*?)^```$', pages.Read('docs/python.md')):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
          exec(compile(block, block.partition('\n')[0], 'exec'), {})
        printed.append(out.getvalue().splitlines())
    files, sounds, scores = printed
    self.assertEqual([line.split()[0] for line in files if '.wav' in line], ['my_audio/0.wav', 'my_audio/1.wav'])
    self.assertRegex(files[1], r'^ +\d+\.\d\d +\d+\.\d\d  \S')
    self.assertEqual([json.loads(line)['duration'] for line in sounds], [1.0, 1.0])
    self.assertRegex(scores[0], r'^WER .*, CER .*, 1 utterances, normalizer none$')

  def test_an_unknown_name_of_the_package_is_an_attribute_error(self):
    with self.assertRaisesRegex(AttributeError, "module 'fm_lingvo' has no attribute 'laod'"):
      fm_lingvo.laod  # noqa: B018
    self.assertContainsSubset(['load', 'Model', 'Search', 'Transcript', '__version__'], dir(fm_lingvo))

  def test_the_version_is_the_installed_package_s(self):
    with mock.patch('importlib.metadata.version', lambda package: f'{package} 1.2'):
      self.assertEqual(fm_lingvo.__version__, 'fm_lingvo 1.2')
    missing = importlib.metadata.PackageNotFoundError('fm_lingvo')
    with mock.patch('importlib.metadata.version', side_effect=missing):
      self.assertEqual(getattr(fm_lingvo, '__version__', 'unknown'), 'unknown')


_PROGRAM = """
import sys
import fm_lingvo
loaded = {name.partition('.')[0] for name in sys.modules}
assert not loaded & {'tensorflow', 'lingvo', 'numpy', 'av', 'absl'}, loaded
fm_lingvo.load, fm_lingvo.Search
assert 'tensorflow' not in sys.modules
import gc, logging, weakref
root = list(logging.getLogger().handlers), logging.getLogger().level
model = fm_lingvo.load(sys.argv[1])
import tensorflow as tf
from absl import flags
from absl import logging as absl_logging
assert tf.executing_eagerly()
text = model.transcribe(sys.argv[2]).text
assert text
assert tf.executing_eagerly() and int(tf.constant(1) + 1) == 2
assert not tf.compat.v1.get_default_graph().get_operations()
assert not flags.FLAGS.is_parsed()
assert absl_logging.get_verbosity() == absl_logging.WARNING, absl_logging.get_verbosity()
assert (list(logging.getLogger().handlers), logging.getLogger().level) == root, logging.getLogger().handlers
graph = weakref.ref(model.recognizer.graph.session.graph)
model.close()
gc.collect()
assert graph() is None
tf.compat.v1.disable_eager_execution()
with fm_lingvo.load(sys.argv[1]) as model:
  assert model.transcribe(sys.argv[2]).text == text
assert not tf.executing_eagerly()
assert not tf.compat.v1.get_default_graph().get_operations()
"""


class ProcessTest(absltest.TestCase):
  def test_import_and_load_print_nothing_and_leave_nothing_behind(self):
    environ = {k: v for k, v in process_case.Environment().items() if k != 'TF_CPP_MIN_LOG_LEVEL'}
    done = subprocess.run(
      [sys.executable, '-c', _PROGRAM, _run, _files[0]],
      capture_output=True,
      text=True,
      check=False,
      env=environ,
      cwd=_folder,
    )
    self.assertEqual((done.returncode, done.stdout, done.stderr), (0, '', ''))


if __name__ == '__main__':
  absltest.main()
