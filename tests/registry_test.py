"""Experiments register with Gin and Lingvo, inherit knobs, and are found by name."""

import contextlib
import dataclasses
import io
import os
import re
import sys
import tempfile
import unittest
from unittest import mock

from absl.testing import absltest
from lingvo import model_imports
from lingvo import model_registry
from lingvo.core import base_input_generator
from lingvo.core import base_model

from fm_lingvo.config import gin_config
from fm_lingvo.config import registry
from params import asr  # noqa: F401 Experiments to list.
from params import librispeech  # noqa: F401


class _Toy(registry.Experiment):
  """Parts that the experiments of this test share."""

  def Task(self):
    return base_model.BaseTask.Params().Set(name='toy')

  def Train(self):
    return base_input_generator.BaseInputGenerator.Params().Set(batch_size=3)


@registry.RegisterExperiment(name='test.RegistryParent')
class RegistryParent(_Toy):
  """A parent with knobs.

  And more text.
  """

  width: int = 4
  names: list = dataclasses.field(default_factory=list)

  def Task(self):
    p = super().Task()
    p.random_seed = self.width
    return p

  def DevHuman(self):
    return self.Train().Set(batch_size=1)


@registry.RegisterExperiment(name='test.RegistryChild')
class RegistryChild(RegistryParent):
  """A child with a knob more and another default."""

  width: int = 6
  depth: int = 2


@registry.RegisterExperiment(name='test.RegistryGrandchild')
class RegistryGrandchild(RegistryChild):
  """A child without anything of its own."""


_SPEECH = '''
from fm_lingvo.config import registry
from lingvo.core import base_model


@registry.RegisterExperiment
class FromAFile(registry.Experiment):
  """An experiment in a module of its own."""
  seed: int = 3

  def Task(self):
    return base_model.BaseTask.Params().Set(name='toy', random_seed=self.seed)

  def Train(self):
    return self.Task().Set(name='input')
'''


def setUpModule():
  """Makes a package toybench.params in params/'s place, with a module speech."""
  folder = tempfile.TemporaryDirectory()
  unittest.addModuleCleanup(folder.cleanup)
  package = os.path.join(folder.name, 'toybench', 'params')
  os.makedirs(package)
  with open(os.path.join(package, 'speech.py'), 'w', encoding='utf-8') as f:
    f.write(_SPEECH)
  for patch in (
    mock.patch.object(sys, 'path', [folder.name, *sys.path]),
    mock.patch.object(registry, 'PACKAGE', 'toybench.params'),
  ):
    patch.start()
    unittest.addModuleCleanup(patch.stop)


class RegistryTest(absltest.TestCase):
  def test_an_experiment_is_imported_by_its_name(self):
    gin_config.Configure('speech.FromAFile', gin_bindings=['FromAFile.seed = 5', 'Train/input.random_seed = 6'])
    params = registry.ModelClass('speech.FromAFile')()
    self.assertEqual(params.Model().task.random_seed, 5)
    self.assertEqual(params.GetDatasetParams('Train').random_seed, 6)
    self.assertEqual(registry.ListExperiments()['speech.FromAFile'], 'An experiment in a module of its own.')

  def tearDown(self):
    super().tearDown()
    gin_config.Reset()

  def test_experiments_are_listed_with_the_first_line_of_their_docstring(self):
    listed = registry.ListExperiments()
    self.assertEqual(listed['test.RegistryParent'], 'A parent with knobs.')
    self.assertEqual(list(listed), sorted(listed))

  def test_data_sets_are_public_methods_without_lingvos_stubs(self):
    self.assertEqual(registry.DatasetNames('test.RegistryParent'), ['DevHuman', 'Train'])
    self.assertEqual(registry.DatasetNames('test.RegistryGrandchild'), ['DevHuman', 'Train'])

  def test_class_keeps_its_identity_and_hash(self):
    self.assertIs(registry.Import('test.RegistryChild'), RegistryChild)
    self.assertNotEqual(RegistryChild(), RegistryChild())
    hash(RegistryChild())
    self.assertEqual(RegistryChild(depth=7).depth, 7)

  def test_a_child_has_its_parents_knobs_under_its_own_name(self):
    for name, width in ('Parent', 4), ('Child', 6), ('Grandchild', 6):
      with self.subTest(name):
        model = f'test.Registry{name}'
        gin_config.Configure(model)
        self.assertEqual(self._Seed(model), width)
        gin_config.Configure(model, gin_bindings=[f'Registry{name}.width = 9'])
        self.assertEqual(self._Seed(model), 9)

  def test_a_binding_of_one_class_does_not_reach_the_others(self):
    gin_config.Configure('test.RegistryChild', gin_bindings=['RegistryChild.width = 9'])
    self.assertEqual(RegistryParent().width, 4)
    self.assertEqual(RegistryGrandchild().width, 6)

  def test_unknown_experiments_name_the_nearest(self):
    for name, near in [
      ('test.RegistryParnt', 'test.RegistryParent'),
      ('RegistryParent', 'test.RegistryParent'),
      ('tset.RegistryParent', 'test.RegistryParent'),
    ]:
      with self.subTest(name):
        with self.assertRaises(gin_config.GinError) as e:
          gin_config.Configure(name)
        self.assertEqual(str(e.exception), f'--model={name}: no such experiment; did you mean {near}?')

  def test_an_unknown_name_like_no_other_lists_what_there_is(self):
    for name in 'qqq.zzz', '', '.', 'a..b', '../x.y':
      with self.subTest(name):
        with self.assertRaisesRegex(
          gin_config.GinError,
          rf'^--model={re.escape(name)}: no such experiment; expected '
          r'one of (\w+\.\w+, ){8}\.\.\. \(\d+ in all\)$',
        ):
          gin_config.Configure(name)

  def test_import_is_silent(self):
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
      with self.assertRaises(gin_config.GinError):
        registry.Import('no_such_module.Experiment')
      self.assertTrue(model_imports.ImportParams('test.RegistryChild'))
    self.assertEqual(err.getvalue(), '')
    self.assertFalse(hasattr(model_imports, 'print'))

  def test_classes_that_would_go_wrong_later_are_refused(self):

    class NoExperiment:
      pass

    class NoDefault(_Toy):
      width: int

    class LostDefault(RegistryParent):
      width = 5  # Without a type, dataclasses would keep 4.

    @dataclasses.dataclass
    class Unhashable(_Toy):
      width: int = 1

    class NeedsArgument(_Toy):
      def Helper(self, x):
        return x

    class TaskOfDataset(_Toy):
      def Task_Train(self):
        return self.Task()

    before = set(registry.Known())
    for cls, message in [
      (NoExperiment, 'expected a subclass of registry.Experiment'),
      (NoDefault, 'NoDefault.width: every knob needs a default'),
      (LostDefault, 'LostDefault.width = 5: a knob needs its type'),
      (Unhashable, r'dataclass\(eq=False\)'),
      (NeedsArgument, 'Helper'),
      (TaskOfDataset, 'TaskOfDataset.Task_Train: Gin cannot bind task params of a single'),
    ]:
      with self.subTest(cls.__name__):
        with self.assertRaisesRegex(TypeError, message):
          registry.RegisterExperiment(cls)
    self.assertEqual(set(registry.Known()), before)

  def test_lingvo_has_its_own_class_again_after_reset(self):
    cls = model_registry.GetClass('test.RegistryParent')
    gin_config.Configure('test.RegistryParent')
    self.assertIsNot(model_registry.GetClass('test.RegistryParent'), cls)
    self.assertEqual(model_registry.GetClass('test.RegistryParent').__name__, 'RegistryParent')
    gin_config.Reset()
    self.assertIs(model_registry.GetClass('test.RegistryParent'), cls)

  def _Seed(self, model_name):
    return registry.ModelClass(model_name)().Model().task.random_seed


if __name__ == '__main__':
  absltest.main()
