"""Normaliser `english`: numbers, money, dates, times, units and abbreviations as they are said, then as `basic`.

num2words spells the numbers. Texts in another language than English are normalised as `basic` does; a text without a
language is taken for English. A text in which all is said already is the same as with `basic`. The order of the steps
matters: each replaces what it reads by words, so that later ones do not see it.
"""

import re
import unicodedata

from fm_lingvo.data import normalizers

from . import basic
from . import characters
from . import english_numbers as numbers
from . import english_roman as roman
from . import english_terms as terms

_FRACTION_SLASH = '\u2044'
_NUMERO = '\u2116'
_POWERS = {'\u00b2': 'squared', '\u00b3': 'cubed'}
_RANGE = re.compile(
  r'(?<=\d)\s*\u2013\s*(?=[$\u00a3\u20ac]?\d)|(?<=\b[12]\d{3})-(?=[12]\d{3}\b)|(?<=\d)-(?=\d+(?:\.\d+)?%|[$\u00a3\u20ac]\d)'
)
_LETTERS_WITH_DOTS = re.compile(r"\b((?:[A-Za-z]\.){2,})('s\b)?")
_ADDRESS = re.compile(
  r'(?:\b[\w.+-]+@)?\b(?:[A-Za-z0-9-]+\.)+(?:com|org|net|edu|gov|info|io|uk|de|fr|eu|ca|au|tv)\b(?!\.\w)', re.IGNORECASE
)
_SYMBOLS = {
  **_POWERS,
  '&': 'and',
  '@': 'at',
  '=': 'equals',
  '+': 'plus',
  '%': 'percent',
  '\u2212': 'minus',
  '\u00d7': 'times',
  '\u00f7': 'divided by',
  '\u00b0': 'degrees',
}


def Normalize(text: str, language: str | None = None) -> str:
  """Returns the words of a text as they are said, in lower case, '' if there are none.

  Args:
    text: The transcript.
    language: Its language; None is English.
  """
  if normalizers.Base(language) not in ('en', ''):
    return basic.Normalize(text, language)
  text = basic.StripNotes(text).replace(_NUMERO, '#')
  text = _Fractions(characters.Plain(characters.Visible(text)))
  text = roman.Spell(terms.Abbreviations(text))
  text = _LETTERS_WITH_DOTS.sub(lambda m: m[1][:-1].replace('.', ' ') + (m[2] or '') + ' ', text)
  text = _ADDRESS.sub(lambda m: m.group().replace('@', ' at ').replace('.', ' dot '), text)
  if normalizers.HasDigits(text):
    text = _RANGE.sub(' to ', text)
    for step in (numbers.Signs, terms.Money, terms.Dates, terms.Times, terms.Units, numbers.Spell):
      text = step(text)
  text = ''.join(f' {_SYMBOLS[c]} ' if c in _SYMBOLS else c for c in text)
  return basic.Lower(characters.Words(text))


def _Fractions(text: str) -> str:
  """Writes ½ as 1/2 apart from the number before it, ² as squared, and other numbers such as ① in form NFKC."""
  if text.isascii():
    return text
  parts: list[str] = []
  for c in text:
    if c in _POWERS:
      c = c if parts and parts[-1].isalpha() else f' {_POWERS[c]} '  # Units are read with it.
    elif unicodedata.category(c) == 'No':
      c = f' {unicodedata.normalize("NFKC", c).replace(_FRACTION_SLASH, "/")} '
    parts.append(c)
  return ''.join(parts).replace(_FRACTION_SLASH, '/')
