"""What one line of an error keeps, the reason without TensorFlow's traces; documented errors are those raised."""

import ast
import glob
import os
import re

from absl.testing import absltest

from fm_lingvo import errors


class ErrorsTest(absltest.TestCase):
  def test_reason_is_what_the_error_says(self):
    for message, expected in (
      ('x is not a directory', 'x is not a directory'),
      ('', 'ValueError'),
      ('first\nsecond', 'first'),
      ('2 root error(s) found.\n  (0) DATA_LOSS: corrupt  record\n  (1) other', 'DATA_LOSS: corrupt record'),
      ("Graph execution error:\n\nNode: 'a'\nno space left\n\t [[{{node a}}]]", 'no space left'),
      ('w' * 999, 'w' * 160),
    ):
      with self.subTest(message[:20]):
        self.assertEqual(errors.Reason(ValueError(message)), expected)

  def test_writing_names_what_was_written_and_leaves_other_errors_alone(self):
    with self.assertRaisesRegex(errors.RunError, r'^runs/a: cannot be written \(No space left on device\)$'):
      with errors.Writing('runs/a'):
        raise OSError(28, 'No space left on device')
    with self.assertRaises(KeyError):
      with errors.Writing('runs/a'):
        raise KeyError('a')

  def test_messages_are_one_line(self):
    self.assertEqual(str(errors.ConfigError('a\nb\x1b[0m')), 'a b [0m')


def _Raised(function):
  """Names of the exceptions that a function's own code raises by their class, but in the body of a try."""
  names = set()
  nodes = list(ast.iter_child_nodes(function))
  while nodes:
    node = nodes.pop()
    if isinstance(node, (ast.FunctionDef, ast.Lambda, ast.ClassDef)):
      continue
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
      names.add(ast.unparse(node.exc.func).rpartition('.')[2])
    caught = node.body if isinstance(node, ast.Try) and node.handlers else []
    nodes += [child for child in ast.iter_child_nodes(node) if child not in caught]
  # A method such as binding.Error() makes an exception of the class that its docstring says.
  return {name for name in names if name != 'Error' and not name.startswith('_') and name[0].isupper()}


class DocumentedErrorsTest(absltest.TestCase):
  def test_functions_that_say_what_they_raise_name_all_that_they_raise(self):
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    documented = 0
    for package in ('fm_lingvo', 'params', 'tools'):
      for path in glob.glob(os.path.join(root, package, '**', '*.py'), recursive=True):
        with open(path, encoding='utf-8') as f:
          functions = [node for node in ast.walk(ast.parse(f.read())) if isinstance(node, ast.FunctionDef)]
        for function in functions:
          doc = ast.get_docstring(function) or ''
          section = re.search(r'(?:Raises:\n|\bRaises )(.*)', doc, re.S)
          if not section:
            continue
          documented += 1
          with self.subTest(f'{os.path.relpath(path, root)}:{function.lineno} {function.name}'):
            for name in _Raised(function):
              self.assertIn(name, section.group(1))
    self.assertGreater(documented, 100)


if __name__ == '__main__':
  absltest.main()
