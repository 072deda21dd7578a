"""Every registered experiment: builds, counts its parameters, has the params that its golden says.

tests/goldens/base.txt has every param of _BASE, a line `path : value` each; of its data sets other than Train only what
differs from Train. The golden of another experiment has only what differs from the base; a data set that the base lacks
is compared with the base's Train. `- path` removes a param, or a group with all that is below it; any other line sets a
param. So a changed default is one changed line. After a change that is meant:

  UPDATE_GOLDENS=1 .venv/bin/python -m pytest tests/experiments_test.py
"""

import collections
import functools
import os
import re
import shutil

import pytest
from absl.testing import absltest
from absl.testing import parameterized
from lingvo import compat as tf
from lingvo import model_registry

from fm_lingvo import errors
from fm_lingvo.config import gin_config
from fm_lingvo.config import list_experiments
from fm_lingvo.config import registry
from fm_lingvo.heads import branch
from fm_lingvo.layers import conformer_block
from fm_lingvo.run_files import run_dir
from params import base
from tests import graph_case

_GOLDENS = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'goldens')
_BASE = 'asr.JustHydra'  # It has the most: both kinds of heads and of streams.


def _Experiments():
  """dict name -> docstring line of params/, without what other tests registered."""
  return {
    name: doc
    for name, doc in registry.ListExperiments().items()
    if registry.Known()[name].__module__.startswith(registry.PACKAGE + '.')
  }


_EXPERIMENTS = sorted(_Experiments())

_LIMIT = 'task.heads.transducer.max_labels_per_frame'


def _Task(name):
  """Params of the task of an experiment as it is configured."""
  return model_registry.GetParams(name, 'Train').task


def _ParameterTable(params):
  return run_dir.TaskParameterTable(run_dir.DeclaredTask(params))


@functools.cache
def _Params(name):
  """All params of an experiment: dict section -> {path: value as text}; sections: datasets, task, each data set."""
  gin_config.Configure(name)
  datasets = registry.DatasetNames(name)
  trees = {'task': ('task', model_registry.GetParams(name, 'Train').task)}
  for dataset in datasets:
    trees[dataset] = f'{dataset}/input', model_registry.GetParams(name, dataset).input
  params = {'datasets': {'datasets': ', '.join(datasets)}}
  for section, (prefix, tree) in trees.items():
    text = re.sub(r'(?m)[^\s\'"]*/(params/gin/)', r'\1', tree.ToText())
    lines = [line.partition(' : ') for line in text.splitlines()]
    params[section] = {f'{prefix}.{path}': value for path, _, value in lines}
    assert all(separator for _, separator, _ in lines) and len(params[section]) == len(lines), text
  return params


def _Reference(section, base, train):
  """What a section's params are compared with.

  Args:
    section: As in _Params.
    base: As _Params, or empty.
    train: Params of the data set Train, with which one is compared that the base has not.
  """
  if section in ('datasets', 'task', 'Train') or section in base:
    return base.get(section, {})
  return {path.replace('Train/', f'{section}/', 1): value for path, value in train.items()}


def _Difference(params, reference):
  """Lines that Apply takes from `reference` to `params`, both dicts path -> value; see the module."""
  gone = set()
  for path in set(reference) - set(params):
    parts = path.split('.')
    # The largest group of which nothing is left.
    gone.add(
      next(
        group
        for group in ('.'.join(parts[:n]) for n in range(1, len(parts) + 1))
        if not any(_IsBelow(other, group) for other in params)
      )
    )
  changed = {path: f'{path} : {value}' for path, value in params.items() if reference.get(path) != value}
  changed.update({path: f'- {path}' for path in gone})
  return [changed[path] for path in sorted(changed)]


def _IsBelow(path, group):
  return path == group or path.startswith(group + '.')


def _Apply(lines, reference):
  """The params, a dict path -> value, that lines of a golden make of a reference."""
  params = dict(reference)
  for line in lines:
    if line.startswith('- '):
      for path in [path for path in params if _IsBelow(path, line[2:])]:
        del params[path]
    else:
      path, _, value = line.partition(' : ')
      params[path] = value
  return params


def _Write(name, params, base):
  """Writes the golden `name`: what `params` differ in from `base`, both as _Params."""
  train = (base or params)['Train']
  with open(os.path.join(_GOLDENS, f'{name}.txt'), 'w', encoding='utf-8') as f:
    for section in params:
      f.writelines(line + '\n' for line in _Difference(params[section], _Reference(section, base, train)))


def _Read(name, base):
  """The params, as _Params, that the golden `name` makes of `base`."""
  lines = collections.defaultdict(list)
  with open(os.path.join(_GOLDENS, f'{name}.txt'), encoding='utf-8') as f:
    for line in f.read().splitlines():
      lines[re.match(r'(?:- )?(\w+)', line).group(1)].append(line)
  datasets = _Apply(lines['datasets'], base.get('datasets', {}))['datasets'].split(', ')
  assert set(lines) <= {'datasets', 'task', *datasets}, f'tests/goldens/{name}.txt: data sets {", ".join(datasets)}'
  train = (base or {'Train': _Apply(lines['Train'], {})})['Train']
  sections = ('datasets', 'task', *datasets)
  return {section: _Apply(lines[section], _Reference(section, base, train)) for section in sections}


def _UpdateGoldens():
  """Writes all goldens."""
  shutil.rmtree(_GOLDENS, ignore_errors=True)
  os.makedirs(_GOLDENS)
  base = _Params(_BASE)
  _Write('base', base, {})
  for name in set(_EXPERIMENTS) - {_BASE}:
    _Write(name, _Params(name), base)


class ExperimentsTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    if os.environ.get('UPDATE_GOLDENS'):
      _UpdateGoldens()

  def tearDown(self):
    super().tearDown()
    gin_config.Reset()

  def test_the_list_read_from_source_is_the_registry(self):
    self.assertEqual(list_experiments.ListModels(), _Experiments())
    for name, doc in _Experiments().items():
      self.assertNotEmpty(doc, name)

  @parameterized.parameters(_EXPERIMENTS)
  def test_builds_and_counts_parameters(self, name):
    # Two blocks stand for all; test_a_size_builds has them all.
    gin_config.Configure(name, (), ['task.encoder.num_layers = 2'] if 'text.' not in name else ())
    params = model_registry.GetParams(name, 'Train')
    rows, total, trained = _ParameterTable(params)
    self.assertGreater(trained, 0)
    self.assertLessEqual(trained, total)
    self.assertEqual(total, sum(row[1] for row in rows))
    self.assertRegex(
      run_dir.FormatParameterTable(rows, total, trained), rf'\nparameters total={total} trained={trained}$'
    )
    model_registry.GetProgramSchedule(name)

  @parameterized.parameters(('JustHydra', 'float32'), ('JustHydra', 'bfloat16'), ('AdapterFinetune', 'bfloat16'))
  def test_the_table_counted_without_variables_is_theirs(self, name, dtype):
    gin_config.Configure(f'asr.{name}', (), [f'{name}.compute_dtype = {dtype!r}', 'task.encoder.num_layers = 2'])
    params = model_registry.GetParams(f'asr.{name}', 'Train')
    with tf.Graph().as_default():
      table = run_dir.TaskParameterTable(params.task.Copy().Set(input=None).Instantiate())
    self.assertEqual(_ParameterTable(params), table)

  @parameterized.parameters('tiny', 'base')
  def test_a_size_builds(self, size):
    self._CheckSize(size)

  @parameterized.parameters('large', 'paper')
  @pytest.mark.slow  # readme_test compares the gin files of all sizes with the pages.
  def test_a_large_size_builds(self, size):
    self._CheckSize(size)

  def _CheckSize(self, size):
    gin_config.Configure('asr.BestRqPretrain', (), [f'BestRqPretrain.size = {size!r}'])
    _, total, _ = _ParameterTable(model_registry.GetParams('asr.BestRqPretrain', 'Train'))
    low, high = {'tiny': (1e6, 5e6), 'base': (2e7, 4e7), 'large': (9e7, 15e7), 'paper': (5.5e8, 6.5e8)}[size]
    self.assertBetween(total, low, high)

  @parameterized.parameters('Supervised', 'JustHydra', 'AdapterFinetune')
  def test_speech_with_a_model_s_transcripts_is_a_stream_and_branches_of_its_own(self, name):
    self.addCleanup(gin_config.Reset)
    gin_config.Configure(f'asr.{name}', (), [f'{name}.pseudo_weight = 0.5', f'{name}.pseudo = "heard"'])
    params = model_registry.GetParams(f'asr.{name}', 'Train')
    branches = params.task.branches
    self.assertEqual((branches.pseudo.stream, branches.pseudo.weight), ('pseudo', 0.5 * 0.7))
    self.assertEqual((branches.pseudo_ctc.head, branches.pseudo_ctc.decode), ('ctc', False))
    self.assertEndsWith(params.input.streams.pseudo.file_pattern, 'heard/train-*.tfrecord')
    self.assertIn('labeled', params.input.streams)

  def test_the_encoder_s_norms_are_trained_and_counted_if_a_knob_says_so(self):
    self.addCleanup(gin_config.Reset)
    for norm in conformer_block.CONV_NORMS:
      trained = {}
      for knob in (False, True):
        bindings = [f'AdapterFinetune.train_layer_norms = {knob}', f'task.encoder.conv_norm = {norm!r}']
        gin_config.Configure('asr.AdapterFinetune', (), bindings)
        params = model_registry.GetParams('asr.AdapterFinetune', 'Train')
        trained[knob] = _ParameterTable(params)[2]
        gin_config.Reset()
      encoder = params.task.encoder
      # Six a block: around both feed-forward layers, attention, twice in the convolution, and the last one.
      self.assertEqual(trained[True] - trained[False], 6 * 2 * encoder.model_dim * encoder.num_layers, norm)

  def test_an_encoded_frame_lasts_as_long_as_its_knob_says(self):
    for frame_ms, factor in ((40, 4), (80, 8)):
      gin_config.Configure('asr.JustHydra', (), [f'JustHydra.frame_ms = {frame_ms}'])
      task = model_registry.GetParams('asr.JustHydra', 'Train').task
      self.assertEqual(task.encoder.cls.DownsampleFactor(task.encoder), factor)
      # 25 labels a second: more than anybody says letters.
      self.assertEqual(task.heads.transducer.max_labels_per_frame * 1000 / frame_ms, 25)
      gin_config.Reset()
    gin_config.Configure('asr.JustHydra', (), ['JustHydra.frame_ms = 80', f'{_LIMIT} = 1.5'])
    self.assertEqual(_Task('asr.JustHydra').heads.transducer.max_labels_per_frame, 1.5)
    gin_config.Reset()
    with self.assertRaisesRegex(errors.GinError, 'JustHydra.frame_ms = 60: expected 40 or 80$'):
      gin_config.Configure('asr.JustHydra', (), ['JustHydra.frame_ms = 60'])

  def test_frames_that_are_too_few_for_a_loss_over_letters_are_named(self):
    self.addCleanup(gin_config.Reset)
    long = 'frame_ms = 80'
    for name, knobs, said in (
      ('Supervised', (), False),
      ('Supervised', (long,), True),
      ('Supervised', (long, 'ctc_weight = 0.0'), False),
      ('Supervised', (long, f'tokenizer = {base.WORDPIECES_EN!r}'), False),
      ('CtcProbe', (long,), True),
      ('BestRqPretrain', (long,), False),
    ):
      with self.subTest(name, knobs=knobs):
        gin_config.Configure(f'asr.{name}', (), [f'{name}.{knob}' for knob in knobs])
        lines = branch.FewFrames(_Task(f'asr.{name}'))
        self.assertLen(lines, int(said))
        for line in lines:
          self.assertStartsWith(line, 'task.heads.ctc: its loss leaves out speech with more than 12.5 labels a second')

  @pytest.mark.slow
  def test_the_papers_size_has_the_papers_parameters(self):
    # arXiv 2302.01496, abstract: 731.1M in all, 130.8M finetuned.
    gin_config.Configure('asr.AdapterFinetune', (), ['AdapterFinetune.size = "paper"'])
    rows, total, trained = _ParameterTable(model_registry.GetParams('asr.AdapterFinetune', 'Train'))
    sizes = {name: size for name, size, _ in rows}
    model = total - sizes['encoder adapters target'] - sizes['constants']
    self.assertAlmostEqual(model / 731.1e6, 1.0, delta=0.005)
    self.assertAlmostEqual(trained / 130.8e6, 1.0, delta=0.005)

  @parameterized.parameters(_EXPERIMENTS)
  def test_params_equal_the_golden(self, name):
    base = _Read('base', {})
    expected, found = base if name == _BASE else _Read(name, base), _Params(name)
    different = [
      f'{path} : {found.get(section, {}).get(path, "not there")}, golden: {params.get(path, "not there")}'
      for section, params in {**dict.fromkeys(found, {}), **expected}.items()
      for path in sorted({*params, *found.get(section, {})})
      if params.get(path) != found.get(section, {}).get(path)
    ]
    if different:
      head = f'{name} is not as tests/goldens/ says (after a change that is meant, see the head of this file):'
      self.fail('\n  '.join([head, *different]))

  def test_a_golden_is_all_differences_and_nothing_else(self):
    base = {'a.b.c': '1', 'a.b.d': '2', 'a.e': '3', 'a.bb': '4'}
    params = {'a.e': '5', 'a.bb': '4', 'a.f': '6'}
    lines = ['- a.b', 'a.e : 5', 'a.f : 6']
    self.assertEqual(_Difference(params, base), lines)
    self.assertEqual(_Apply(lines, base), params)
    self.assertEqual(_Difference(base, base), [])
    self.assertCountEqual(os.listdir(_GOLDENS), [f'{name}.txt' for name in ('base', *_EXPERIMENTS) if name != _BASE])


del graph_case  # Sets up TensorFlow.

if __name__ == '__main__':
  absltest.main()
