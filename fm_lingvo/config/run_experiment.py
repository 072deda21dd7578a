"""What a config.gin says about itself: the experiment that it configures, and the user's modules that this needs.

  experiment.name = 'my_experiments.FromRadio'
  experiment.modules = ['my_experiments']

Both are fields of the file, no params. A file with another experiment than --model, or that needs a module which the
command line has not named (--import_module), is refused: nothing is imported because a file says so.
"""

import re
import sys
from collections.abc import Iterable

from lingvo import compat as tf

from fm_lingvo.config import bindings as bindings_lib
from fm_lingvo.config import gin_reader
from fm_lingvo.config import user_modules

SELECTOR = 'experiment'
_FIELDS = ('name', 'modules')


def Lines(model_name: str) -> list[str]:
  """The fields as lines of config.gin, of the modules that are imported now."""
  lines = [f'{SELECTOR}.name = {model_name!r}']
  modules = list(user_modules.Imported())
  return [*lines, f'{SELECTOR}.modules = {modules!r}'] if modules else lines


def ReplayCommand(model_name: str, config: str = 'config.gin') -> str:
  """The command that replays a config.gin."""
  modules = ''.join(f' --{user_modules.FLAG}={given}' for given in user_modules.Imported().values())
  return f'trainer --model={model_name}{modules} --gin_file={config}'


def Take(bindings: Iterable[bindings_lib.Binding], model_name: str = '') -> tuple[str, list[bindings_lib.Binding]]:
  """Takes the fields out of bindings, and checks them.

  Args:
    bindings: The user's.
    model_name: That of --model; '' if the bindings have to say it.

  Returns:
    (name, others): the experiment's name, '' if nothing says it; the other bindings.

  Raises:
    GinError: No such field, a wrong value, another experiment than --model, a module that is not imported.
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
      raise binding.Error(f'configures this experiment, but {model_name} is asked for')
    else:
      model_name = binding.value
  return model_name, others


def _CheckImported(binding):
  modules = binding.value
  if not isinstance(modules, (list, tuple)) or not all(isinstance(name, str) for name in modules):
    raise binding.Error("expected a list of modules' names")
  missing = [name for name in modules if name not in user_modules.Imported() and name not in sys.modules]
  if missing:
    flags = ' '.join(f'--{user_modules.FLAG}={name}' for name in missing)
    raise binding.Error(
      f'made with modules that are not imported: give {flags}, or the path of the .py file; importing runs code, so it '
      'is not done because a file says so'
    )


def NameIn(gin_files: Iterable[str], gin_bindings: Iterable[str] = (), search_paths: Iterable[str] = ()) -> str:
  """Name of the experiment that Gin files and bindings configure, '' if none of them says it.

  Raises:
    GinError: One cannot be read, two name different experiments, or a module is not imported.
  """
  return Take(gin_reader.ReadAll(gin_files, gin_bindings, search_paths))[0]


def NameInRun(config: str) -> str:
  """Name of the experiment that a run's config.gin configures, '' if it has none.

  Runs that were made before the field was there have the name in a comment alone, `# trainer --model=NAME`.

  Raises:
    GinError: It cannot be read, or a module is not imported.
  """
  name = NameIn([config])
  if name:
    return name
  with tf.io.gfile.GFile(config) as f:
    found = re.search(r'^# .*--model=(\S+)', f.read(), re.M)
  return found.group(1) if found else ''
