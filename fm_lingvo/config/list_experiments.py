"""Lists the experiments by parsing their source, without importing it.

Importing an experiment imports Lingvo and TensorFlow, which takes seconds; listing names should not.
"""

import ast
import importlib.util
import os
import tokenize


def ListModels(package: str = 'fm_lingvo.params') -> dict[str, str]:
  """Finds the registered experiments of a package.

  Args:
    package: Importable package; the classes in its modules that are decorated with
      `registry.RegisterExperiment` are listed.

  Returns:
    dict: model name, e.g. `asr.BestRqPretrain` -> first line of its docstring.

  Raises:
    ModuleNotFoundError: The package does not exist.
  """
  spec = importlib.util.find_spec(package)
  if spec is None or spec.submodule_search_locations is None:
    raise ModuleNotFoundError(f'{package}: no such package')
  models = {}
  for folder in spec.submodule_search_locations:
    for name in sorted(os.listdir(folder)):
      if name.endswith('.py') and name != '__init__.py':
        with tokenize.open(os.path.join(folder, name)) as f:  # In the encoding that the file declares.
          models.update(_Experiments(name[:-3], f.read()))
  return models


def _Experiments(module: str, source: str) -> dict[str, str]:
  """Returns dict model name -> first docstring line, from the source text of one module."""
  experiments = {}
  for node in ast.parse(source).body:
    if not isinstance(node, ast.ClassDef):
      continue
    for decorator in node.decorator_list:
      if _Callee(decorator).endswith('RegisterExperiment'):
        doc = ast.get_docstring(node) or ''
        experiments[_NameArgument(decorator) or f'{module}.{node.name}'] = doc.partition('\n')[0]
  return experiments


def _Callee(decorator: ast.expr) -> str:
  """Returns the name of the decorator's callable; the decorator may be called with arguments or not."""
  return ast.unparse(decorator.func if isinstance(decorator, ast.Call) else decorator)


def _NameArgument(decorator: ast.expr) -> str | None:
  """Returns the string given as the argument `name=` of a decorator, None if it has none."""
  for keyword in decorator.keywords if isinstance(decorator, ast.Call) else ():
    if keyword.arg == 'name' and isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str):
      return keyword.value.value
  return None


def Format(models: dict[str, str]) -> str:
  """Formats ListModels' result as text, one line per model."""
  width = max(map(len, models), default=0)
  return '\n'.join(f'{name:<{width}}  {doc}' for name, doc in models.items())
