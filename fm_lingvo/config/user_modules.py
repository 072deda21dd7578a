"""--import_module: imports user code from outside the checkout before names are looked up.

  trainer --import_module=my_experiments --model=my_experiments.Experiment
  python -m tools.transcribe RUN AUDIO --import_module=my/folder/my_experiments.py

The module registers experiments (config/registry.py) or importers (data/importers.py), and defines or imports the
heads, encoders and layers that they use. Importing a module runs its code. A module is therefore imported only if the
command line names it, never because a file or a run's folder does.
"""

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Iterable

from absl import flags

from fm_lingvo import errors
from fm_lingvo.utils import files
from fm_lingvo.utils import suggest

FLAG = 'import_module'
_HELP = (
  'Python module, or path to a .py file, to import first, with experiments, heads, encoders or importers from outside '
  'the checkout; repeatable. Importing runs its code.'
)
flags.DEFINE_multi_string(FLAG, [], _HELP)

_imported: dict[str, str] = {}  # Name of each module imported by Import -> the module or path as given.


def AddFlag(parser: argparse.ArgumentParser) -> None:
  """Adds --import_module to a tool's flags; the tool then calls Import(args.import_module)."""
  parser.add_argument(
    f'--{FLAG}', action='append', default=[], metavar='MODULE', help=_HELP[0].lower() + _HELP[1:].rstrip('.')
  )


def Import(modules: Iterable[str]) -> None:
  """Imports modules in order; a module that is already imported is not reloaded.

  Args:
    modules: Each is a dotted name, found on sys.path or in the working directory, or a path that ends in .py. The
      module of a file is named after the file, without .py; modules in the same folder can be imported, too.

  Raises:
    errors.ConfigError: The module does not exist, raises an error (reported with file and line), or its name is that
      of another module.
  """
  for given in map(files.ExpandUser, modules):
    name, folder = _Locate(given)
    if folder not in map(os.path.abspath, sys.path):
      sys.path.append(folder)  # Last, so that no file in the folder shadows another module.
    try:
      module = importlib.import_module(name)
    except ModuleNotFoundError as e:
      if e.name and (name + '.').startswith(e.name + '.'):
        raise errors.ConfigError(
          f'--{FLAG}={given}: no module {name} on sys.path or in {folder}{suggest.Hint(name, _ModulesIn(folder))}'
        ) from e
      raise _ErrorIn(given, folder, e) from e
    except (Exception, SystemExit) as e:
      raise _ErrorIn(given, folder, e) from e
    if given.endswith('.py') and not _IsFrom(module, given):
      raise errors.ConfigError(
        f'--{FLAG}={given}: {name} is the name of another module ({getattr(module, "__file__", "built in")}); rename '
        'the file'
      )
    _imported[name] = os.path.abspath(given) if given.endswith('.py') else given


def Imported() -> dict[str, str]:
  """Returns dict name of each imported module -> dotted name or absolute path, as the flag takes it."""
  return dict(_imported)


def _Locate(given):
  """Returns (module name, folder to add to sys.path) for a value of the flag."""
  if not given.endswith('.py'):
    if not all(part.isidentifier() for part in given.split('.')):
      raise errors.ConfigError(f'--{FLAG}={given}: expected a module such as my_experiments, or a path to a .py file')
    return given, os.getcwd()
  path = os.path.abspath(given)
  folder, name = os.path.dirname(path), os.path.basename(path)[: -len('.py')]
  if not os.path.isfile(path):
    names = [f'{other}.py' for other in _ModulesIn(folder)]
    nearest = suggest.Nearest(f'{name}.py', names)
    raise errors.ConfigError(
      f'--{FLAG}={given}: no such file' + suggest.DidYouMean(nearest and os.path.join(os.path.dirname(given), nearest))
    )
  if not name.isidentifier():
    raise errors.ConfigError(f'--{FLAG}={given}: {name} is not a valid module name; expected letters, digits and _')
  return name, folder


def _ModulesIn(folder):
  """Returns the names of the .py files and packages in a folder."""
  entries = os.listdir(folder) if os.path.isdir(folder) else []
  return sorted(
    [e[: -len('.py')] for e in entries if e.endswith('.py')]
    + [e for e in entries if os.path.isfile(os.path.join(folder, e, '__init__.py'))]
  )


def _IsFrom(module, path):
  """Whether a module was loaded from the file at `path`."""
  file = getattr(module, '__file__', None)
  return bool(file) and os.path.realpath(file) == os.path.realpath(path)


def _ErrorIn(given, folder, error):
  """Returns the ConfigError for an exception of a module; names the innermost frame in the module's folder, if any."""
  if isinstance(error, SyntaxError) and error.filename:
    place = error.filename, error.lineno
  else:
    frames = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__) if os.path.isfile(f.filename)]
    frames_in_folder = [f for f in frames if os.path.realpath(f[0]).startswith(os.path.realpath(folder) + os.sep)]
    place = (frames_in_folder or frames)[-1]
  return errors.ConfigError(f'--{FLAG}={given}: {place[0]}:{place[1]}: {type(error).__name__}: {errors.Reason(error)}')
