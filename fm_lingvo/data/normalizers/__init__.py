"""Normalisers: functions (text, language) -> text that give transcripts one spelling, chosen by their name.

Each name is that of a module here with such a function, Normalize. The name is recorded with a data set, since texts
of two normalisers must not be compared (fm_lingvo/data/transcripts.py).
"""

import importlib
import re
import unicodedata
from collections.abc import Callable

from fm_lingvo import errors
from fm_lingvo.utils import suggest

NAMES = ('none', 'basic', 'english', 'prompts')

Normalizer = Callable[[str, str | None], str]


def Get(name: str) -> Normalizer:
  """Returns a normaliser: a function of a transcript and its language, such as en or pt-BR, or None if unknown.

  The function returns '' if no word is left. Normalising twice changes nothing.

  Raises:
    errors.ConfigError: There is no normaliser of this name.
  """
  if name not in NAMES:
    raise errors.ConfigError(f'--normalizer={name}: expected one of {", ".join(NAMES)}{suggest.Hint(name, NAMES)}')
  return importlib.import_module(f'.{name}', __package__).Normalize


def Base(language: str | None) -> str:
  """Returns the language without its country or script in lower case: en for en-US and en_GB, '' for None."""
  return (language or '').replace('_', '-').partition('-')[0].lower()


def IsLanguage(code: object) -> bool:
  """Returns whether this is the code of a language, such as en, pt-BR or zh_Hant_TW."""
  return isinstance(code, str) and bool(re.fullmatch(r'[A-Za-z]{2,3}([-_][A-Za-z0-9]+)*', code))


def CheckLanguage(code: object, where: str) -> str:
  """Returns the code of a language.

  Raises:
    errors.ConfigError: It is none; the message begins with `where`.
  """
  if not isinstance(code, str) or not IsLanguage(code):
    raise errors.ConfigError(f'{where} = {code!r}: expected the code of a language, such as en or pt-BR')
  return code


def HasDigits(text: str) -> bool:
  """Returns whether a text has numbers that are not words, of any script, such as 8, ½ or ②."""
  return any(unicodedata.category(c)[0] == 'N' for c in text)
