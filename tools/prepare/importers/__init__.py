"""The built-in importers; fm_lingvo/data/importers.py describes importers and how users register their own.

Each module has `Import(options) -> Listing` and OPTIONS, the names of the fields of Options that it uses.
"""

import hashlib
import importlib

from fm_lingvo.data import importers as api
from fm_lingvo.utils import suggest

from ...common import exit_codes
from ...common import normalize

Listing, Options, Reject, Utterance = api.Listing, api.Options, api.Reject, api.Utterance

# Name -> module of each built-in importer, relative to this package.
IMPORTERS = {
  'prompts': '.prompts',
  'librispeech': '.librispeech',
  'manifest': '.manifest',
  'synth': '...speech_synthesis.synth',
  'general_speech': '...speech_synthesis.general_speech',
}


def Uniform(*key):
  """Returns a number in [0, 1) that depends only on the key, for choices that are the same on every machine."""
  digest = hashlib.blake2b('\0'.join(map(str, key)).encode('utf-8'), digest_size=8).digest()
  return int.from_bytes(digest, 'big') / 2**64


def CheckLanguages(languages):
  """Raises UsageError for a language for which normalize has no rules."""
  for language in languages:
    if language not in normalize.LANGUAGES:
      raise exit_codes.UsageError(
        f'--languages={language}: expected some of {",".join(normalize.LANGUAGES)}'
        f'{suggest.Hint(language, normalize.LANGUAGES)}'
      )


def Names():
  """Returns the sorted names of all importers, including those that --import_module has registered."""
  return sorted({*IMPORTERS, *api.Registered()})


def OptionsOf(name):
  """Returns the names of the fields of Options that an importer uses; raises as GetImporter does."""
  return _Importer(name).options


def GetImporter(name):
  """Returns the function Options -> Listing of an importer.

  Raises:
    exit_codes.UsageError: There is no such importer, or a registered one has the name of a built-in one.
  """
  return _Importer(name).function


def _Importer(name):
  registered = api.Registered()
  for taken in IMPORTERS:
    if taken in registered:
      raise exit_codes.UsageError(f'importer {taken}: the name of a built-in one; register yours under another name')
  if name in registered:
    return registered[name]
  if name not in IMPORTERS:
    raise exit_codes.UsageError(f'--importer={name}: expected one of {", ".join(Names())}{suggest.Hint(name, Names())}')
  module = importlib.import_module(IMPORTERS[name], __package__)
  return api.Importer(module.Import, module.OPTIONS)
