"""Code from outside the checkout: a head, an experiment and an importer, each one file, through trainer and tools."""

import contextlib
import io
import json
import os
import sys
import wave

import pytest
from absl import flags
from absl.testing import absltest
from absl.testing import flagsaver

from fm_lingvo import errors
from fm_lingvo import trainer
from fm_lingvo.config import gin_config
from fm_lingvo.config import registry
from fm_lingvo.config import run_experiment
from fm_lingvo.config import user_modules
from fm_lingvo.data import importers
from fm_lingvo.run_files import metrics_log
from tests import graph_case  # noqa: F401 Graph mode.
from tests import run_case
from tests import tiny_data
from tools import evaluate
from tools import prepare_data
from tools import transcribe

_EXPERIMENTS = '''
"""A head and an experiment of one's own; the head is in a module beside this one."""

import my_head
from fm_lingvo import hydra
from fm_lingvo.config import registry
from fm_lingvo.params import asr


@registry.RegisterExperiment(name='my.Experiment')
class Experiment(asr.Supervised):
  """Labels and reconstruction together."""

  weight: float = 0.1

  def Task(self):
    p = super().Task()
    hydra.HydraTask.AddHead(p, 'reconstruct', my_head.ReconstructHead.Params())
    hydra.HydraTask.AddBranch(p, 'reconstruct', stream='labeled', head='reconstruct', weight=self.weight)
    return p


@registry.RegisterExperiment
class Unnamed(Experiment):
  """Named by its module and class."""
'''

_HEAD = '''
from lingvo import compat as tf
from lingvo.core import layers
from lingvo.core import py_utils

from fm_lingvo.heads import base_head


class ReconstructHead(base_head.BaseHead):
  """Predicts a constant from encoded frames."""

  def __init__(self, params):
    super().__init__(params)
    self.CreateChild('proj', layers.FCLayer.Params().Set(
      input_dim=self.params.input_dim, output_dim=1, activation='NONE', has_bias=True))

  def Corrupt(self, theta, features, paddings):
    return py_utils.NestedMap(features=features)

  def Loss(self, theta, encoded, paddings, corrupted, batch):
    error = tf.abs(tf.cast(self.proj.FProp(theta.proj, encoded), tf.float32)[:, :, 0] - 1.0)
    weights = 1.0 - paddings
    total = tf.reduce_sum(weights)
    return {'loss': (tf.reduce_sum(error * weights) / tf.maximum(total, 1.0), total)}, {}
'''

_IMPORTER = """
import glob
import os

from fm_lingvo.data import importers


@importers.Register('radio', options=('input',))
def Import(options):
  listing = importers.Listing()
  for path in sorted(glob.glob(options.input + '/*.wav')):
    name = os.path.basename(path)
    listing.utterances.append(
      importers.Utterance(name, 'Channel 2, please.', speaker='s', domain='radio', source=path, language='en'))
  return listing
"""


def _Write(folder, **modules):
  """Writes NAME.py for each keyword; returns the folder."""
  os.makedirs(folder, exist_ok=True)
  for name, text in modules.items():
    with open(os.path.join(folder, f'{name}.py'), 'w', encoding='utf-8') as f:
      f.write(text)
  return folder


class Case(absltest.TestCase):
  """`folder` is the working directory; sys.path and what is imported are as before afterwards."""

  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path
    self.addCleanup(os.chdir, os.getcwd())
    os.chdir(self.folder)
    path, known, imported = list(sys.path), set(sys.modules), user_modules.Imported()
    self.addCleanup(lambda: [sys.modules.pop(name) for name in set(sys.modules) - known if name.startswith('own_')])
    self.addCleanup(sys.path.__setitem__, slice(None), path)
    self.addCleanup(lambda: (user_modules._imported.clear(), user_modules._imported.update(imported)))

  def _Error(self, function, *args):
    with self.assertRaises(errors.ConfigError) as caught:
      function(*args)
    return str(caught.exception)


class ImportTest(Case):
  def test_by_name_from_the_working_directory_and_by_path_with_what_is_beside_it(self):
    _Write(self.folder, own_a='VALUE = 1')
    _Write('elsewhere', own_b='import own_c', own_c='VALUE = 2')
    user_modules.Import(['own_a', 'elsewhere/own_b.py', 'own_a'])
    self.assertEqual(sys.modules['own_a'].VALUE, 1)
    self.assertEqual(sys.modules['own_c'].VALUE, 2)
    self.assertEqual(user_modules.Imported()['own_a'], 'own_a')
    self.assertEqual(user_modules.Imported()['own_b'], os.path.realpath('elsewhere/own_b.py'))

  def test_a_file_takes_the_place_of_no_other_module(self):
    _Write(self.folder, json='raise ValueError', own_a='import json')
    self.assertRegex(
      self._Error(user_modules.Import, ['json.py']), r'^--import_module=json.py: json is the name of another module'
    )
    user_modules.Import(['own_a'])
    self.assertIs(sys.modules['own_a'].json, json)

  def test_what_is_not_there_is_named_with_the_nearest(self):
    _Write(self.folder, own_experiments='')
    for given, expected in (
      ('own_experimnets', 'no module own_experimnets on sys.path or in .*; did you mean own_experiments?'),
      ('own_experimnets.py', 'no such file; did you mean own_experiments.py?'),
      ('own_experiments.part', 'no module own_experiments.part on sys.path'),
      ('own-experiments', 'expected a module such as my_experiments, or a path to a .py file'),
      ('', 'expected a module'),
    ):
      with self.subTest(given):
        self.assertRegex(
          self._Error(user_modules.Import, [given]), f'^--import_module={given}: ' + expected.replace('?', r'\?')
        )

  def test_an_error_in_a_module_has_its_file_and_line(self):
    _Write(
      self.folder,
      own_name='\n\nabsent',
      own_syntax='\nx = = 1',
      own_import='import own_name',
      own_missing='import no_such_package_of_mine',
      own_exit='import sys\nsys.exit(3)',
      own_library='import json\n\njson.loads("{")',
    )
    for name, expected in (
      ('own_name', 'own_name.py:3: NameError: name .absent. is not defined'),
      ('own_syntax', 'own_syntax.py:2: SyntaxError: invalid syntax'),
      ('own_import', 'own_name.py:3: NameError: '),
      ('own_missing', 'own_missing.py:1: ModuleNotFoundError: No module named .no_such_package_of_mine.'),
      ('own_exit', 'own_exit.py:2: SystemExit: 3'),
      ('own_library', 'own_library.py:3: JSONDecodeError: '),
    ):
      with self.subTest(name):
        self.assertRegex(self._Error(user_modules.Import, [name]), f'^--import_module={name}: .*/{expected}')

  def test_an_importer_is_registered_once_and_by_options_that_there_are(self):
    _Write(
      self.folder,
      own_twice='from fm_lingvo.data import importers\nfor _ in range(2): importers.Register("own_i", print)',
      own_option='from fm_lingvo.data import importers\nimporters.Register("own_j", print, options=["inputs"])',
    )
    self.addCleanup(importers._registered.pop, 'own_i', None)
    self.assertIn('own_twice.py:2: ValueError: importer own_i', self._Error(user_modules.Import, ['own_twice']))
    self.assertIn('option inputs: expected some of input', self._Error(user_modules.Import, ['own_option']))


_TOY = '''
import os

from fm_lingvo.config import registry
from lingvo.core import base_model

os.mkdir(os.path.join(os.path.dirname(__file__), __name__ + '_was_imported'))


@registry.RegisterExperiment
class Toy(registry.Experiment):
  """A toy."""

  seed: int = 3

  def Task(self):
    return base_model.BaseTask.Params().Set(name='toy', random_seed=self.seed)

  def Train(self):
    return self.Task().Set(name='input')
'''


class ConfigTest(Case):
  """What config.gin says of its experiment; experiments without a graph."""

  def _Config(self, text, name='config.gin'):
    with open(name, 'w', encoding='utf-8') as f:
      f.write(text)
    return os.path.abspath(name)

  def setUp(self):
    super().setUp()
    self.addCleanup(gin_config.Reset)

  def _Forget(self, name):
    """As another process, in which the module is not imported."""
    del sys.modules[name], user_modules._imported[name], registry._EXPERIMENTS[f'{name}.Toy']
    del registry._Helper()._MODEL_PARAMS[f'{name}.Toy']

  def test_a_run_names_its_experiment_and_the_modules_that_it_needs(self):
    _Write(self.folder, own_toy=_TOY)
    user_modules.Import(['own_toy.py'])
    gin_config.Configure('own_toy.Toy', (), ['Toy.seed = 7'])
    text = gin_config.ConfigText('own_toy.Toy')
    self.assertIn(f'--import_module={os.path.realpath("own_toy.py")} ', text)
    config = self._Config(text)
    self.assertEqual(run_experiment.NameIn([config]), 'own_toy.Toy')
    gin_config.Configure('own_toy.Toy', [config])
    self.assertEqual(registry.ModelClass('own_toy.Toy')().Model().task.random_seed, 7)
    gin_config.Reset()
    with self.subTest('another process, without the flag'):
      self._Forget('own_toy')
      os.rmdir('own_toy_was_imported')
      for function in (
        lambda: run_experiment.NameIn([config]),
        lambda: gin_config.Configure('own_toy.Toy', [config]),
        lambda: gin_config.Configure('asr.BestRqPretrain', [config]),
      ):
        self.assertRegex(self._Error(function), r'config.gin:\d+: experiment.(modules|name) = ')
      self.assertIn('pass --import_module=own_toy, or the path', self._Error(run_experiment.NameIn, [config]))
      self.assertFalse(os.path.exists('own_toy_was_imported'))

  def test_no_text_of_a_run_imports_a_module(self):
    _Write(self.folder, own_evil=_TOY)
    sys.path.insert(0, self.folder)
    for i, text in enumerate(
      (
        '#   trainer --model=own_evil.Toy --gin_file=config.gin\n',
        "experiment.name = 'own_evil.Toy'\n",
        "experiment.name = 'own_evil.Toy'\nexperiment.modules = ['own_evil']\n",
        "experiment.modules = ['own_evil', 'json']\n",
        'import own_evil\n',
      )
    ):
      with self.subTest(text):
        config = self._Config(text, f'{i}.gin')
        self._Error(lambda: gin_config.Configure(run_experiment.NameIn([config]), [config]))
        self.assertFalse(os.path.exists('own_evil_was_imported'))

  def test_wrong_fields_are_refused_in_a_line(self):
    for text, expected in (
      ("experiment.nam = 'a.B'", 'no such field; experiment has name and modules'),
      ("Train/experiment.name = 'a.B'", 'no such field'),
      ('experiment.name = 3', 'expected the name of an experiment'),
      ("experiment.modules = 'os'", 'expected a list of module names'),
      ("experiment.name = 'asr.JustHydra'", 'configures this experiment, but asr.Supervised is requested'),
    ):
      with self.subTest(text):
        message = self._Error(lambda: gin_config.Configure('asr.Supervised', (), [text]))
        self.assertRegex(message, f'^--gin_bindings: .*: {expected}')

  def test_an_experiment_of_that_name_is_not_there(self):
    _Write(self.folder, own_game=_TOY)
    user_modules.Import(['own_game'])
    self.addCleanup(self._Forget, 'own_game')
    self.assertEqual(
      self._Error(gin_config.Configure, 'own_game.Tyo'),
      '--model=own_game.Tyo: no such experiment; did you mean own_game.Toy?',
    )


class RunTest(Case):
  """The trainer and tools in this process; readme_test.py starts them as a user does, with docs/developing.md."""

  def _Main(self, tool, *args):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
      code = tool.Main([tool.__name__.rpartition('.')[2], *args])
    self.assertEqual(code, 0, out.getvalue() + err.getvalue())
    return out.getvalue()

  def _Wavs(self, folder):
    os.makedirs(folder)
    for i in range(4):
      with wave.open(f'{folder}/{i}.wav', 'wb') as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(16000)
        f.writeframes(tiny_data.Waveform(1.5, i).tobytes())

  @pytest.mark.slow  # foreign_test trains, evaluates and recognises with foreign heads and encoders.
  def test_an_experiment_with_a_head_through_trainer_resume_evaluate_and_transcribe(self):
    _Write('own', my_experiments=_EXPERIMENTS, my_head=_HEAD)
    run_case.WriteData('data')
    self._Wavs('audio')
    bindings = [
      *run_case.TINY_BINDINGS,
      'Experiment.data_dir = "data"',
      'Experiment.max_seconds = 4.0',
      'Experiment.batch_seconds = 4.0',
      'task.train.eval_datasets = []',
      'transducer.max_labels_per_frame = 2.0',
    ]
    args = ['--logdir=run', '--model=my.Experiment', *(f'--gin_bindings={b}' for b in bindings)]
    module = '--import_module=own/my_experiments.py'
    sys.path.insert(0, os.path.abspath('own'))
    first = '--gin_bindings=Experiment.max_steps = 1', '--gin_bindings=task.train.final_eval_datasets = []'
    out = self._Main(trainer, '--import_module=my_experiments', *args, *first)
    self.assertRegex(out, r'(?m)^heads\.reconstruct proj +\d+')
    with self.subTest('resumed, from another place'):
      more = '--gin_bindings=Experiment.max_steps = 2', '--gin_bindings=task.train.final_eval_datasets = ["DevTarget"]'
      out = self._Main(trainer, module, *args, *more)
      self.assertIn('resumed from', out)
      rows = metrics_log.ReadMetrics('run/metrics.jsonl')
      self.assertEqual([r['step'] for r in rows if r['dataset'] == 'train'], [1, 2])
      self.assertIn('reconstruct/loss', rows[-1])
      self.assertIn('labeled/wer', rows[-1])
    with self.subTest('evaluated'):
      self.assertRegex(self._Main(evaluate, 'run', module, '--datasets=DevSource'), 'DevSource, step 2, labeled CER')
    with self.subTest('transcribed'):
      self.assertLen(self._Main(transcribe, 'run', 'audio', module).splitlines(), 4)
    with self.subTest('listed'):
      out = self._Main(trainer, '--list_models', module)
      self.assertRegex(out, r'(?m)^my\.Experiment +Labels and reconstruction together\.$')
      self.assertRegex(out, r'(?m)^my_experiments\.Unnamed +Named by its module and class\.$')

  def test_an_importer(self):
    _Write('own', own_importer=_IMPORTER)
    self._Wavs('audio')
    err = io.StringIO()

    def _Prepare(*args):
      with flagsaver.flagsaver(), contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        return prepare_data.main(
          flags.FLAGS(['prepare_data', '--importer=radio', '--output=set', *args], known_only=True)
        )

    self.assertEqual(_Prepare('--input=audio'), 2)
    self.assertRegex(err.getvalue(), '--importer=radio: expected one of an4, .*, general_speech, .*, webdataset')
    module = '--import_module=own/own_importer.py'
    self.addCleanup(importers._registered.pop, 'radio', None)
    self.assertEqual(_Prepare(module, '--input=audio'), 0, err.getvalue())
    with open('set/manifest.jsonl', encoding='utf-8') as f:
      rows = [json.loads(line) for line in f]
    self.assertEqual({row['utt_id'] for row in rows}, {f'{i}.wav' for i in range(4)})
    self.assertEqual({(row['text'], row['domain']) for row in rows}, {('channel two please', 'radio')})
    self.assertEqual(_Prepare(module, '--input=audio', '--languages=en'), 2)
    self.assertIn('--languages: not used by --importer=radio', err.getvalue())


if __name__ == '__main__':
  absltest.main()
