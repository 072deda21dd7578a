"""Fields of config.gin that name the experiment it configures and the user modules that the experiment needs.

  experiment.name = 'my_experiments.FromRadio'
  experiment.modules = ['my_experiments']

These are fields of the file, not params. A file is rejected if it names a different experiment than --model, or a
module that was not imported with --import_module: a file alone never causes an import.
"""

import sys
from collections.abc import Iterable

from fm_lingvo.config import bindings as bindings_lib
from fm_lingvo.config import gin_reader
from fm_lingvo.config import user_modules

SELECTOR = 'experiment'
_FIELDS = ('name', 'modules')


def Lines(model_name: str) -> list[str]:
  """Returns the fields as lines of config.gin, with the modules imported so far."""
  lines = [f'{SELECTOR}.name = {model_name!r}']
  modules = list(user_modules.Imported())
  return [*lines, f'{SELECTOR}.modules = {modules!r}'] if modules else lines


def ReplayCommand(model_name: str, config: str = 'config.gin') -> str:
  """Returns the command that replays a config.gin."""
  modules = ''.join(f' --{user_modules.FLAG}={given}' for given in user_modules.Imported().values())
  return f'trainer --model={model_name}{modules} --gin_file={config}'


def SplitFields(
  bindings: Iterable[bindings_lib.Binding], model_name: str = ''
) -> tuple[str, list[bindings_lib.Binding]]:
  """Checks the fields among bindings, and separates them from the others.

  Args:
    bindings: The user's bindings.
    model_name: Value of --model; '' if it is not given.

  Returns:
    (name, others): the experiment's name, '' if it is unknown; the other bindings.

  Raises:
    GinError: Unknown field, wrong value, a different experiment than --model, or a module that is not imported.
  """
  others = []
  for binding in bindings:
    if binding.selector != SELECTOR or not binding.arg:
      others.append(binding)
      continue
    if binding.arg not in _FIELDS or binding.scope:
      raise binding.Error(f'no such field; {SELECTOR} has {" and ".join(_FIELDS)}')
    if binding.arg == 'modules':
      _CheckImported(binding)
    elif not isinstance(binding.value, str):
      raise binding.Error('expected the name of an experiment')
    elif model_name and binding.value != model_name:
      raise binding.Error(f'configures this experiment, but {model_name} is requested')
    else:
      model_name = binding.value
  return model_name, others


def _CheckImported(binding):
  modules = binding.value
  if not isinstance(modules, (list, tuple)) or not all(isinstance(name, str) for name in modules):
    raise binding.Error('expected a list of module names')
  missing = [name for name in modules if name not in user_modules.Imported() and name not in sys.modules]
  if missing:
    flags = ' '.join(f'--{user_modules.FLAG}={name}' for name in missing)
    raise binding.Error(
      f'made with modules that are not imported: pass {flags}, or the path of the .py file; importing runs code, so '
      'only the command line can request it'
    )


def NameIn(gin_files: Iterable[str], gin_bindings: Iterable[str] = (), search_paths: Iterable[str] = ()) -> str:
  """Returns the name of the experiment that Gin files and bindings configure, '' if none names it.

  Raises:
    GinError: A file cannot be read, two name different experiments, or a module is not imported.
  """
  return SplitFields(gin_reader.ReadAll(gin_files, gin_bindings, search_paths))[0]
