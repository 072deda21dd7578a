"""Every registered experiment: builds, counts its parameters, matches its golden.

A golden is the text of all params of an experiment, in tests/goldens/. After a
change that is meant:

  UPDATE_GOLDENS=1 .venv/bin/python -m pytest tests/experiments_test.py
"""

import os
import re

from absl.testing import absltest
from absl.testing import parameterized
from lingvo import compat as tf
from lingvo import model_registry

from fm_lingvo.config import gin_config
from fm_lingvo.config import list_experiments
from fm_lingvo.config import registry
from fm_lingvo.run_files import run_dir
from tests import graph_case

_GOLDENS = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'goldens')


def _Experiments():
  """dict name -> docstring line of params/, without what other tests registered."""
  return {
    name: doc
    for name, doc in registry.ListExperiments().items()
    if registry.Known()[name].__module__.startswith(registry.PACKAGE + '.')
  }


_EXPERIMENTS = sorted(_Experiments())


def _ParamsText(name):
  """All params of an experiment: the task, and the input of each data set."""
  sections = [('task', model_registry.GetParams(name, 'Train').task.ToText())]
  for dataset in registry.DatasetNames(name):
    sections.append((dataset, model_registry.GetParams(name, dataset).input.ToText()))
  text = '\n'.join(f'[{title}]\n{body}' for title, body in sections)
  return re.sub(r'(?m)[^\s\'"]*/(params/gin/)', r'\1', text)


class ExperimentsTest(parameterized.TestCase):
  def tearDown(self):
    super().tearDown()
    gin_config.Reset()

  def test_the_list_read_from_source_is_the_registry(self):
    self.assertEqual(list_experiments.ListModels(), _Experiments())
    for name, doc in _Experiments().items():
      self.assertNotEmpty(doc, name)

  @parameterized.parameters(_EXPERIMENTS)
  def test_builds_and_counts_parameters(self, name):
    gin_config.Configure(name)
    params = model_registry.GetParams(name, 'Train')
    rows, total, trained = run_dir.ParameterTable(params)
    self.assertGreater(trained, 0)
    self.assertLessEqual(trained, total)
    self.assertEqual(total, sum(row[1] for row in rows))
    self.assertRegex(
      run_dir.FormatParameterTable(rows, total, trained), rf'\nparameters total={total} trained={trained}$'
    )
    model_registry.GetProgramSchedule(name)

  @parameterized.parameters(('JustHydra', 'float32'), ('JustHydra', 'bfloat16'), ('AdapterFinetune', 'bfloat16'))
  def test_the_table_counted_without_variables_is_theirs(self, name, dtype):
    gin_config.Configure(f'asr.{name}', (), [f'{name}.compute_dtype = {dtype!r}'])
    params = model_registry.GetParams(f'asr.{name}', 'Train')
    with tf.Graph().as_default():
      table = run_dir.TaskParameterTable(params.task.Copy().Set(input=None).Instantiate())
    self.assertEqual(run_dir.ParameterTable(params), table)

  @parameterized.parameters(*((size,) for size in ('tiny', 'base', 'large', 'paper')))
  def test_every_size_builds(self, size):
    gin_config.Configure('asr.BestRqPretrain', (), [f'BestRqPretrain.size = {size!r}'])
    _, total, _ = run_dir.ParameterTable(model_registry.GetParams('asr.BestRqPretrain', 'Train'))
    low, high = {'tiny': (1e6, 5e6), 'base': (2e7, 4e7), 'large': (9e7, 15e7), 'paper': (5.5e8, 6.5e8)}[size]
    self.assertBetween(total, low, high)

  def test_the_papers_size_has_the_papers_parameters(self):
    # arXiv 2302.01496, abstract: 731.1M in all, 130.8M finetuned.
    gin_config.Configure(
      'asr.AdapterFinetune',
      (),
      [
        'AdapterFinetune.size = "paper"',
        'AdapterFinetune.adapter_dim = 128',
        'AdapterFinetune.tokenizer = "params/tokenizers/wordpieces_en_1024.model"',
      ],
    )
    rows, total, trained = run_dir.ParameterTable(model_registry.GetParams('asr.AdapterFinetune', 'Train'))
    sizes = {name: size for name, size, _ in rows}
    model = total - sizes['encoder adapters target'] - sizes['constants']
    self.assertAlmostEqual(model / 731.1e6, 1.0, delta=0.005)
    self.assertAlmostEqual(trained / 130.8e6, 1.0, delta=0.005)

  @parameterized.parameters(_EXPERIMENTS)
  def test_params_equal_the_golden(self, name):
    gin_config.Configure(name)
    text = _ParamsText(name)
    path = os.path.join(_GOLDENS, f'{name}.txt')
    if os.environ.get('UPDATE_GOLDENS'):
      os.makedirs(_GOLDENS, exist_ok=True)
      with open(path, 'w', encoding='utf-8') as f:
        f.write(text)
    with open(path, encoding='utf-8') as f:
      golden = f.read()
    self.assertMultiLineEqual(golden, text, f'see the head of {__file__}')


del graph_case  # Sets up TensorFlow.

if __name__ == '__main__':
  absltest.main()
