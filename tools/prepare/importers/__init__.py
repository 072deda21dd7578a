"""The importers that are shipped; fm_lingvo/data/importers.py says what one is, and how one's own is registered.

A module here has `Import(options) -> Listing`, and OPTIONS, the names of the fields of Options that it uses.
"""

import hashlib
import importlib

from fm_lingvo.data import importers as api
from fm_lingvo.utils import suggest

from ...common import exit_codes
from ...common import normalize

Listing, Options, Reject, Utterance = api.Listing, api.Options, api.Reject, api.Utterance

# Name -> module of those that are shipped, relative to this package.
IMPORTERS = {
  'prompts': '.prompts',
  'librispeech': '.librispeech',
  'manifest': '.manifest',
  'synth': '...speech_synthesis.synth',
  'general_speech': '...speech_synthesis.general_speech',
}


def Uniform(*key):
  """A number in [0, 1) that depends on the key only: choices that are the same on every machine."""
  digest = hashlib.blake2b('\0'.join(map(str, key)).encode('utf-8'), digest_size=8).digest()
  return int.from_bytes(digest, 'big') / 2**64


def CheckLanguages(languages):
  """Raises UsageError for a language that normalize has no rules for."""
  for language in languages:
    if language not in normalize.LANGUAGES:
      raise exit_codes.UsageError(
        f'--languages={language}: expected some of {",".join(normalize.LANGUAGES)}'
        f'{suggest.Hint(language, normalize.LANGUAGES)}'
      )


def Names():
  """Sorted names of all importers, those that --import_module has registered among them."""
  return sorted({*IMPORTERS, *api.Registered()})


def OptionsOf(name):
  """Names of the fields of Options that an importer uses; raises UsageError as GetImporter."""
  return _Importer(name).options


def GetImporter(name):
  """The function Options -> Listing of an importer.

  Raises:
    UsageError: no such importer, or one of one's own has the name of one that is shipped.
  """
  return _Importer(name).function


def _Importer(name):
  registered = api.Registered()
  for taken in IMPORTERS:
    if taken in registered:
      raise exit_codes.UsageError(f'importer {taken}: the name of one that is shipped; register yours under another')
  if name in registered:
    return registered[name]
  if name not in IMPORTERS:
    raise exit_codes.UsageError(f'--importer={name}: expected one of {", ".join(Names())}{suggest.Hint(name, Names())}')
  module = importlib.import_module(IMPORTERS[name], __package__)
  return api.Importer(module.Import, module.OPTIONS)
