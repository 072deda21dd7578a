"""Which package imports which, read from the sources with ast: nothing is imported, TensorFlow least of all."""

import ast
import functools
import os

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDERS = ('fm_lingvo', 'params', 'tools')  # What the wheel holds.


def Sources(folder):
  """Paths of a folder's Python files, relative to ROOT."""
  for parent, _, names in sorted(os.walk(os.path.join(ROOT, folder))):
    for name in sorted(names):
      if name.endswith('.py'):
        yield os.path.relpath(os.path.join(parent, name), ROOT)


@functools.cache
def Parse(path):
  """The syntax tree of a file given relative to ROOT."""
  with open(os.path.join(ROOT, path), encoding='utf-8') as f:
    return ast.parse(f.read(), path)


def Module(path):
  """Dotted name of a source: fm_lingvo.data.stream, params.asr, tools.common (of its __init__)."""
  return path.removesuffix('.py').removesuffix('/__init__').replace(os.sep, '.')


@functools.cache
def Imports(path):
  """The project's modules that a file imports, also inside functions.

  Returns:
    List of (line, dotted name as written; relative ones resolved). `from fm_lingvo.data
    import stream` gives fm_lingvo.data.stream, and so does `import fm_lingvo.data.stream`.
  """
  package = Module(path).split('.')
  if not path.endswith('__init__.py'):
    package = package[:-1]
  found = []
  for node in ast.walk(Parse(path)):
    if isinstance(node, ast.Import):
      found += [(node.lineno, alias.name) for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      base = package[: len(package) - node.level + 1] if node.level else []
      prefix = '.'.join(base + ([node.module] if node.module else []))
      found += [(node.lineno, f'{prefix}.{alias.name}') for alias in node.names]
  return [(line, name) for line, name in found if name.split('.')[0] in (*FOLDERS, 'tests')]


def Package(module):
  """Where a module belongs in the picture: a package of fm_lingvo, a module beside these, params or tools.

  None for fm_lingvo itself, which imports nothing.
  """
  parts = module.split('.')
  if parts[0] == 'fm_lingvo':
    parts = parts[1:]
  return parts[0] if parts else None


def Graph():
  """dict: package -> set of the packages that it imports, itself left out."""
  graph = {}
  for folder in FOLDERS:
    for path in Sources(folder):
      package = Package(Module(path))
      if package:
        graph.setdefault(package, set()).update(Package(name) for _, name in Imports(path))
  return {package: imported - {package, None} for package, imported in graph.items()}


def Reduced(graph):
  """The graph without the arrows that follow from others: a -> c where there are a -> b -> c."""

  def _Reach(start):
    seen, todo = set(), list(graph.get(start, ()))
    while todo:
      node = todo.pop()
      if node not in seen:
        seen.add(node)
        todo += graph.get(node, ())
    return seen

  return {a: {c for c in into if not any(c in _Reach(b) for b in into - {c})} for a, into in graph.items()}


def Sentence(package):
  """The docstring of a package or module of the picture, its first line."""
  for path in (f'fm_lingvo/{package}/__init__.py', f'fm_lingvo/{package}.py', f'{package}/__init__.py'):
    if os.path.exists(os.path.join(ROOT, path)):
      return (ast.get_docstring(Parse(path)) or '').partition('\n')[0]
  raise ValueError(f'{package}: no such package or module')
