"""Imports acted Czech and Dutch voices of the game Fish Fillets, unlabeled: Debian packages by apt, or --input=DIR."""

import os

from fm_lingvo.utils import files as file_system
from fm_lingvo.utils import suggest

from ...common import exit_codes
from .. import importers
from ..import_helpers import packages

LANGUAGES = ('cs', 'nl')
OPTIONS = ('input', 'languages')


def Import(options):
  """Lists the voices: sound/LEVEL/LANGUAGE/NAME.ogg.

  The id is fillets-LANGUAGE/LEVEL/NAME, the domain fillets/LANGUAGE. The speaker is the second part of a NAME such as
  kuf-m-disk: m is the little fish, v the big one; other characters have other names, and some names have no such part.

  Raises:
    exit_codes.UsageError: A language is unknown, apt cannot fetch the packages, or --input has no such voices.
  """
  languages = options.languages or LANGUAGES
  for language in languages:
    if language not in LANGUAGES:
      raise exit_codes.UsageError(
        f'--languages={language}: expected some of {",".join(LANGUAGES)}{suggest.Hint(language, LANGUAGES)}'
      )
  names = [f'fillets-ng-data-{language}' for language in languages]
  root = packages.Root('fillets', options.input, names)
  listing = importers.Listing()
  for folder, present in file_system.Walk(root):
    parts = folder.split('/')
    if parts[-1] not in languages or 'sound' not in parts:
      continue
    language, level = parts[-1], '/'.join(parts[len(parts) - parts[::-1].index('sound') : -1])
    for name in present:
      stem, extension = os.path.splitext(name)
      if extension == '.ogg':
        listing.utterances.append(
          importers.Utterance(
            f'fillets-{language}/{level}/{stem}',
            '',
            f'fillets-{language}/{_Character(stem)}',
            f'fillets/{language}',
            os.path.join(folder, name),
            language=language,
          )
        )
  found = {utterance.language for utterance in listing.utterances}
  for language, name in zip(languages, names):
    if language not in found:
      raise exit_codes.UsageError(f'{root}: no sound/LEVEL/{language}/*.ogg below it, of the package {name}')
    listing.notes[f'fillets/{language}'] = {'license': packages.Licenses(root, name)}
  return listing


def _Character(stem):
  return next((part for part in stem.split('-')[:-1] if part in ('m', 'v')), '?')
