"""A wrong value of any kind is answered with what to write, as the user writes it."""

from absl.testing import absltest
from absl.testing import parameterized

from fm_lingvo import errors
from fm_lingvo.config import bindings
from fm_lingvo.config import gin_reader
from fm_lingvo.config import spelling
from fm_lingvo.config import value_types

_BOOL = value_types.FromAnnotation(bool, True)
_INT = value_types.FromAnnotation(int, 1)
_FLOAT = value_types.FromAnnotation(float, 1.0)
_STR = value_types.FromAnnotation(str, '')
_STR_OR_NONE = value_types.FromAnnotation(str | None, None)
_INT_OR_NONE = value_types.FromAnnotation(int | None, None)
_TUPLE = value_types.FromAnnotation(tuple, ())
_FLOATS = value_types.FromAnnotation(tuple[float, ...], ())
_STRS = value_types.FromAnnotation(list[str], [])
_WRONG = value_types.Mismatch('expected something else')
_DICT = value_types.FromAnnotation(dict, {})


def _Binding(text):
  """The binding of an argument `NAME=VALUE` after --gin., or of a statement of a file."""
  argument = gin_reader.RewriteGinArgs([f'--gin.{text}'])[0].partition('=')[2]
  (binding,) = gin_reader.ReadAll([], [argument])
  return binding


class SpellingTest(parameterized.TestCase):
  @parameterized.parameters(
    *[(_BOOL, value, 'True') for value in ('true', 'TRUE', 'yes', 'On', '1', 1, 1.0)],
    *[(_BOOL, value, 'False') for value in ('false', 'no', 'OFF', '0', 0, 0.0)],
    *[(_BOOL, value, None) for value in ('maybe', 2, None, '')],
    *[(_INT, value, '1000') for value in ('1000', '1,000', '1_000', '1k', '1K', 1000.0, '1e3', '1000.0', [1000])],
    *[(_INT, value, None) for value in ('many', 0.5, '1,5', '0.5', None, True, 'ckpt-5')],
    *[(_FLOAT, value, '16.0') for value in ('16', '16s', '16.0', (16,))],
    (_FLOAT, '1,5e-3', None),
    (_FLOAT, True, None),
    (_STR, 5, "'5'"),
    (_STR, None, "''"),
    (_STR, ['a'], "'a'"),
    (_STR_OR_NONE, 5, "'5'"),
    *[(_INT_OR_NONE, value, 'None') for value in ('none', 'NULL', '')],
    *[(_TUPLE, value, "('a', 'b')") for value in ('a,b', 'a, b', '(a, b)', '[a,b]', "'a','b'")],
    (_TUPLE, 'a', "('a',)"),
    (_TUPLE, 5, '(5,)'),
    (_FLOATS, '1,2.5', '(1.0, 2.5)'),
    (_FLOATS, 4, '(4.0,)'),
    (_FLOATS, ('1', 2), '(1.0, 2.0)'),
    (_STRS, 'DevHuman,DevSynthetic', "['DevHuman', 'DevSynthetic']"),
    (_STRS, '1,2', "['1', '2']"),
    (_STRS, ('a', 3), "['a', '3']"),
    (_DICT, 'a', None),
  )
  def test_the_nearest_value_that_is_right(self, spec, value, expected):
    self.assertEqual(spelling.Nearest(spec, value), expected)

  @parameterized.parameters(
    ('X.augment=yes', _BOOL, True, '; write --gin.X.augment=True'),
    ('X.augment=maybe', _BOOL, None, '; for example --gin.X.augment=True'),
    ('X.names=a,b', _TUPLE, (), "; write --gin.X.names=\"('a', 'b')\""),
    ('A/X.name=5', _STR, 'x', '; write --gin.A/X.name="\'5\'"'),
    ('X.rate=fast', _FLOAT, 0.5, '; for example --gin.X.rate=0.5'),
    ('X.rules=5', _DICT, {}, ''),
    ('X.size=5', value_types.FromAnnotation(str, 'a'), 'a', '; write --gin.X.size="\'5\'"'),
  )
  def test_what_to_write_is_an_argument_that_is_right(self, text, spec, default, expected):
    binding = _Binding(text)
    self.assertEqual(spelling.HowTo(binding, spec, binding.value, default, _WRONG), expected)

  def test_in_a_file_it_is_a_statement(self):
    binding = bindings.Binding('', 'X', 'names', 'a', 'my.gin:3')
    self.assertEqual(spelling.HowTo(binding, _TUPLE, 'a', (), _WRONG), "; write X.names = ('a',)")

  def test_of_a_macro_it_is_the_value(self):
    binding = bindings.Binding('', 'X', 'augment', bindings.Macro('ON'), 'my.gin:3')
    self.assertEqual(spelling.HowTo(binding, _BOOL, 'yes', True, _WRONG), '; write True')

  @parameterized.parameters(
    (_STR_OR_NONE, 'none', 'None'),
    (_STR_OR_NONE, 'NULL', 'None'),
    (value_types.ANY, 'none', 'None'),
    (value_types.ANY, 'true', 'True'),
    (value_types.ANY, 'FALSE', 'False'),
  )
  def test_constants_in_another_spelling_are_no_texts_where_a_constant_is_right(self, spec, word, constant):
    with self.assertRaisesRegex(value_types.Mismatch, f'^expected .*, got the text {word!r}$'):
      spelling.Convert(spec.Convert, spec, word)
    self.assertEqual(spelling.Nearest(spec, word), constant)

  def test_other_texts_are_texts(self):
    for spec, text in (
      (_STR, 'true'),
      (_STR, 'none'),
      (_STR_OR_NONE, 'true'),
      (_STR_OR_NONE, ''),
      (value_types.ANY, 'no'),
    ):
      self.assertEqual(spelling.Convert(spec.Convert, spec, text), text)

  @parameterized.parameters(
    ('X.a = /tmp/x', "/tmp/x is not a Gin value; a string needs quotes: '/tmp/x'"),
    ('X.a = ~/x', "~/x is not a Gin value; a string needs quotes: '~/x'"),
    ('X.a = [Dev, Test]', "Dev is not a Gin value; a string needs quotes: ['Dev', 'Test']"),
    ('X.a = (a,)', "a is not a Gin value; a string needs quotes: ('a',)"),
    ('X.a = 1,000', '1,000 is not a Gin value; did you mean 1000?'),
    ('X.a = 10k', '10k is not a Gin value; did you mean 10000?'),
    ('X.a = 010', '010 is not a Gin value; did you mean 10?'),
    ('X.a =', 'expected a value after ='),
    ('X.a = 3 4', 'Expected newline.'),
  )
  def test_statements_that_cannot_be_parsed(self, text, expected):
    with self.assertRaises(errors.GinError) as caught:
      gin_reader.ReadAll([], [text])
    self.assertEqual(str(caught.exception), f'--gin_bindings: {" ".join(text.split())}: syntax error: {expected}')


if __name__ == '__main__':
  absltest.main()
