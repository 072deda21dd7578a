"""The built-in importers, one module each; fm_lingvo/data/importers.py describes importers and how to add your own.

Each module has `Import(options) -> Listing`; OPTIONS, the names of the fields of Options that it uses and its own
options; and, optionally, other fields of Importer in capitals. The first line of its docstring is shown by --help.
"""

import hashlib
import importlib
import importlib.metadata
import pkgutil

from fm_lingvo.data import importers as api
from fm_lingvo.data.normalizers import prompts as telephone
from fm_lingvo.utils import suggest

from ...common import exit_codes

Listing, Option, Options, Reject, Utterance = api.Listing, api.Option, api.Options, api.Reject, api.Utterance

# Names of the built-in importers, which are those of the modules in this folder.
BUILT_IN = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def Uniform(*key):
  """Returns a number in [0, 1) that depends only on the key, for choices that are the same on every machine."""
  digest = hashlib.blake2b('\0'.join(map(str, key)).encode('utf-8'), digest_size=8).digest()
  return int.from_bytes(digest, 'big') / 2**64


def CheckLanguages(languages):
  """Raises UsageError for a language for which the normaliser `prompts` has no rules."""
  for language in languages:
    if language not in telephone.LANGUAGES:
      raise exit_codes.UsageError(
        f'--languages={language}: expected some of {",".join(telephone.LANGUAGES)}'
        f'{suggest.Hint(language, telephone.LANGUAGES)}'
      )


def _EntryPoints():
  """Returns {name: entry point} of the importers in installed packages."""
  return {point.name: point for point in importlib.metadata.entry_points(group=api.ENTRY_POINTS)}


def Names():
  """Returns the sorted names of all importers, including those of installed packages and of --import_module."""
  return sorted({*BUILT_IN, *_EntryPoints(), *api.Registered()})


def Module(name):
  """Returns the module of a built-in importer."""
  return importlib.import_module(f'.{name}', __package__)


def GetImporter(name):
  """Returns an importer, a fm_lingvo.data.importers.Importer.

  Raises:
    exit_codes.UsageError: There is no such importer; one of a package or of --import_module has the name of a
      built-in one; or the module of a package cannot be used.
  """
  registered, points = api.Registered(), _EntryPoints()
  for taken in BUILT_IN:
    if taken in registered or taken in points:
      raise exit_codes.UsageError(f'importer {taken}: the name of a built-in one; register yours under another name')
  if name in registered:
    return registered[name]
  if name in BUILT_IN:
    return api.FromModule(Module(name))
  if name not in points:
    raise exit_codes.UsageError(f'--importer={name}: expected one of {", ".join(Names())}{suggest.Hint(name, Names())}')
  try:
    return api.FromModule(points[name].load())
  except (ImportError, AttributeError, TypeError) as e:
    raise exit_codes.UsageError(
      f'--importer={name}: the entry point {points[name].value} is not the module of an importer ({e})'
    ) from e
