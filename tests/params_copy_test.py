"""Copies of Params are as Lingvo makes them."""

import copy

from absl.testing import absltest
from lingvo.core import hyperparams
from lingvo.core import layers

from fm_lingvo.config import params_copy


def _Lingvos(params):
  """A copy by copy.deepcopy of all that is in Params, as Lingvo's."""
  result = type(params)(params.cls) if isinstance(params, hyperparams.InstantiableParams) else type(params)()
  result._params = copy.deepcopy(params._params)
  result._immutable = params._immutable
  return result


class ParamsCopyTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    params_copy.Install()
    self.p = layers.FCLayer.Params().Set(name='a', input_dim=3)
    self.p.Define('inner', layers.FCLayer.Params(), 'Params.')
    self.p.Define('values', [1, {'b': [2.5, 'c']}], 'A list.')
    self.p.Define('tuple_of', (1, None, True, b'x', int), 'A tuple.')

  def test_equal_to_lingvos(self):
    self.assertEqual(self.p.Copy(), _Lingvos(self.p))
    self.assertEqual(self.p.Copy().ToText(), _Lingvos(self.p).ToText())
    self.assertIs(type(self.p.Copy()), type(self.p))

  def test_nothing_that_can_change_is_shared(self):
    other = self.p.Copy()
    other.values[1]['b'][0] = 7
    other.inner.input_dim = 9
    other.input_dim = 4
    self.assertEqual(self.p.values, [1, {'b': [2.5, 'c']}])
    self.assertEqual(self.p.inner.input_dim, 0)
    self.assertEqual(self.p.input_dim, 3)

  def test_a_copy_of_a_default_is_a_default(self):
    for copied in (self.p.Copy(), _Lingvos(self.p)):
      self.assertEqual(copied._params['input_dim']._default_value, 3)

  def test_params_that_occur_twice_are_one_in_the_copy(self):
    shared = layers.FCLayer.Params()
    self.p.Define('first', shared, '')
    self.p.Define('second', shared, '')
    other = self.p.Copy()
    self.assertIs(other.first, other.second)
    self.assertIsNot(other.first, shared)

  def test_frozen_params_stay_frozen(self):
    self.p.Freeze()
    with self.assertRaises(TypeError):
      self.p.Copy().name = 'b'


if __name__ == '__main__':
  absltest.main()
