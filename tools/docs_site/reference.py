"""Writes the reference of the documentation site from the code: packages, classes and their params, experiments.

  python -m tools.docs_site.reference --output=build/docs/reference

One Markdown page for each package of fm_lingvo, and `experiments.md` with all knobs. Exit code 2: wrong usage.
"""

import dataclasses
import importlib
import inspect
import os
import pkgutil
import sys
from collections.abc import Iterator
from typing import Any

import fm_lingvo
from fm_lingvo.config import list_experiments
from fm_lingvo.runtime import quiet
from fm_lingvo.utils import files

from ..common import command_line
from ..common import exit_codes
from . import docstrings

_SKIPPED = ('fm_lingvo.params', 'fm_lingvo.tools')


def Packages() -> dict[str, list[str]]:
  """Package, such as fm_lingvo.layers or fm_lingvo.hydra -> names of its modules, itself the first."""
  packages: dict[str, list[str]] = {'fm_lingvo': ['fm_lingvo']}
  for info in pkgutil.walk_packages([os.path.dirname(fm_lingvo.__file__)], 'fm_lingvo.'):
    package = '.'.join(info.name.split('.')[:2])
    if package not in _SKIPPED:
      packages.setdefault(package, []).append(info.name)
  return packages


def _Public(module: Any) -> Iterator[tuple[str, Any]]:
  """Yields (name, object) of the public classes and functions that a module defines, in their order."""
  own = [(name, item) for name, item in vars(module).items() if not name.startswith('_')]
  for name, item in own:
    defined_here = getattr(item, '__module__', None) == module.__name__
    if defined_here and (inspect.isclass(item) or inspect.isfunction(item)):
      yield name, item


def _Signature(item: Any) -> str:
  try:
    return str(inspect.signature(item)).replace('typing.', '').replace('collections.abc.', '')
  except (TypeError, ValueError):
    return '(...)'


def _ParamsTable(cls: type) -> list[str]:
  """The params that a class defines beyond those of its nearest parent outside of the project."""
  own = ('fm_lingvo', 'params', 'tests')
  outside = next(base for base in cls.__mro__[1:] if base.__module__.partition('.')[0] not in own)
  inherited = {name for name, _ in outside.Params().IterParams()} if hasattr(outside, 'Params') else set()  # type: ignore[attr-defined]
  params = cls.Params()  # type: ignore[attr-defined]
  rows = []
  for name, value in params.IterParams():
    if name not in inherited:
      shown = f'params of {value.cls.__name__}' if hasattr(value, 'cls') else value
      meaning = params._params[name]._description  # pylint: disable=protected-access
      code = f'`{shown}`' if hasattr(value, 'cls') else docstrings.Code(value)
      rows.append(f'| `{name}` | {code} | {docstrings.Cell(meaning)} |')
  return ['| param | default | meaning |', '|---|---|---|', *rows, ''] if rows else []


def _HasParams(cls: type) -> bool:
  """Whether a class is a layer, task or input with a Params() that needs no arguments."""
  return any('Params' in vars(base) for base in cls.__mro__) and not inspect.signature(cls.Params).parameters  # type: ignore[attr-defined]


def ClassLines(name: str, cls: type) -> list[str]:
  """Markdown of a class: its docstring, its params, its public methods with docstrings."""
  lines = [f'### {name}', '', docstrings.Markdown(cls.__doc__)]
  if _HasParams(cls):
    lines += _ParamsTable(cls)
  for method, item in vars(cls).items():
    function = getattr(item, '__func__', item)
    documented = inspect.isfunction(function) and function.__doc__ and not method.startswith('_')
    if documented and method != 'Params':
      lines += [
        f'#### {name}.{method}',
        '',
        f'`{method}{_Signature(function)}`',
        '',
        docstrings.Markdown(function.__doc__),
      ]
  return lines


def PackagePage(package: str, modules: list[str]) -> str:
  """Markdown of a package."""
  lines = [f'# {package}', '']
  for name in modules:
    module = importlib.import_module(name)
    doc = docstrings.Markdown(module.__doc__)
    items = list(_Public(module))
    if name == package:
      lines += [doc]
      if not items:
        continue
    else:
      lines += [f'## {name.removeprefix(package + ".")}', '', doc]
    for item_name, item in items:
      if inspect.isclass(item):
        lines += ClassLines(item_name, item)
      else:
        lines += [f'### {item_name}', '', f'`{item_name}{_Signature(item)}`', '', docstrings.Markdown(item.__doc__)]
  return '\n'.join(lines)


def ExperimentsPage() -> str:
  """Markdown of all experiments: docstring, data sets, knobs with type, default and meaning."""
  lines = ['# All experiments', '', 'What each is for is on [their page](../experiments.md); here are all knobs.', '']
  from fm_lingvo.config import registry

  for model in list_experiments.ListModels():
    cls = registry.Import(model)
    name = cls.__name__
    comments = docstrings.Comments(cls)
    datasets = registry.DatasetNames(model)
    lines += [
      f'## {model}',
      '',
      docstrings.Markdown(cls.__doc__),
      f'Data sets: {", ".join(f"`{d}`" for d in datasets)}.',
      '',
    ]
    lines += [f'| knob, `--gin.{name}.KNOB=VALUE` | type | default | meaning |', '|---|---|---|---|']
    for field in dataclasses.fields(cls):
      kind = field.type if isinstance(field.type, str) else inspect.formatannotation(field.type)
      meaning = docstrings.Cell(comments.get(field.name, ''))
      lines.append(f'| `{field.name}` | `{kind.replace("|", "or")}` | {docstrings.Code(field.default)} | {meaning} |')
    lines.append('')
  return '\n'.join(lines)


def WritePage(folder: str, name: str, text: str) -> None:
  """Writes FOLDER/NAME.md."""
  os.makedirs(folder, exist_ok=True)
  with open(os.path.join(folder, f'{name}.md'), 'w', encoding='utf-8') as f:
    f.write(text)


def Write(folder: str) -> list[str]:
  """Writes all pages into a folder; returns their names."""
  with quiet.Imports():  # TensorFlow, which --help does not need; most modules import it.
    from fm_lingvo.config import registry  # noqa: F401
  pages = {package: PackagePage(package, modules) for package, modules in Packages().items()}
  pages['experiments'] = ExperimentsPage()
  for name, text in pages.items():
    WritePage(folder, name, text)
  return sorted(pages)


def _Write(folder: str) -> int:
  print(f'{len(Write(folder))} pages in {folder}')
  return 0


def Main(argv: list[str]) -> int:
  """Runs the tool; returns the exit code."""
  parser = command_line.Parser('reference', __doc__)
  parser.add_argument('--output', type=files.ExpandUser, required=True, help='folder of the pages')
  args = parser.parse_args(argv[1:])
  return exit_codes.Report('reference', lambda: _Write(args.output))


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
