"""Imports spoken words in many languages, unlabeled: Debian's tuxpaint-stamps-default, or --input=DIR."""

import os
import re

from fm_lingvo.utils import files as file_system

from ...common import exit_codes
from .. import importers
from ..import_helpers import packages

OPTIONS = ('input', 'languages')
_PACKAGE = 'tuxpaint-stamps-default'
_EXTENSIONS = ('.ogg', '.wav')
_LANGUAGE = '[a-z]{2}(?:_[A-Za-z]{2})?'
_DESCRIPTION = re.compile(rf'.*_desc(?:_({_LANGUAGE}))?(?:\.ogg)?')
# Symbols are also spoken without _desc: digits and letters, in a language or else in that of the alphabet.
_SYMBOL = re.compile(rf'(?:\d|\w_(?:filled|outline)|\w_with_umlaut_\w+|ss_eszett_\w+)(?:_({_LANGUAGE}))?')


def Import(options):
  """Lists the voices below stamps/; the animals' own voices and other sounds are rejected (not_speech).

  The id is tuxpaint/FOLDERS/NAME, the domain tuxpaint/LANGUAGE; speakers are unknown: one of each language. --languages
  are some of the languages that the names have, such as fr or pt_BR (default: all).

  Raises:
    exit_codes.UsageError: apt cannot fetch the package, or --input has no voices, or none of a language.
  """
  root = packages.Root('tuxpaint', options.input, [_PACKAGE])
  listing, languages = importers.Listing(), set()
  for folder, names in file_system.Walk(root):
    parts = folder.split('/')
    if 'stamps' not in parts:
      continue
    below = '/'.join(parts[len(parts) - parts[::-1].index('stamps') :])
    for name in names:
      stem, extension = os.path.splitext(name)
      if extension not in _EXTENSIONS:
        continue
      utt_id, path = f'tuxpaint/{below}/{stem}', os.path.join(folder, name)
      language = _Language(below, stem)
      if language is None:
        listing.Reject(utt_id, path, 'not_speech', 'the sound of a thing or an animal')
        continue
      languages.add(language)
      if not options.languages or language in options.languages:
        speaker = domain = f'tuxpaint/{language}'
        code = language.replace('_', '-')
        listing.utterances.append(importers.Utterance(utt_id, '', speaker, domain, path, language=code))
  missing = [language for language in options.languages if language not in languages]
  if missing or not languages:
    raise exit_codes.UsageError(
      f'{root}: no voices in {missing[0] if missing else "any language"}; expected stamps/.../NAME_desc_LANGUAGE.ogg, '
      f'found the languages {", ".join(sorted(languages)) or "none"}'
    )
  listing.notes['tuxpaint'] = {'license': packages.Licenses(root, _PACKAGE)}
  return listing


def _Language(folder, stem):
  """Returns the language that a recording is spoken in, such as pt_BR; None if it is no speech."""
  match = _DESCRIPTION.fullmatch(stem)
  if not match and folder.startswith('symbols/'):
    match = _SYMBOL.fullmatch(stem)
  if not match:
    return None
  return match.group(1) or ('de' if 'alphabets/german' in folder else 'en')
