"""Normaliser `prompts`: numbers and symbols as telephone prompts read them, in lower case without punctuation.

A normalised text is lower case, in Unicode form NFC, with one space between words. A word consists of letters and
apostrophes inside it (don't, dell'utente). The steps, in this order:
  1. invisible characters and notes in (), [] or <> are removed, ligatures and full-width letters become plain ones;
  2. spoken symbols are spelled out: English * -> star, # -> pound, % -> percent, & -> and, @ -> at; in English web
     addresses and decimals '.' -> dot or point;
  3. English acronyms of _SPELLED_OUT become single letters (PBX -> p b x), as do letters joined by dots (A.M. -> a m);
  4. numbers are spelled. English: up to two digits and whole hundreds as cardinals (18 -> eighteen, 500 -> five
     hundred), all others digit by digit (1234 -> one two three four), as telephone prompts read them. Spanish, French,
     Italian, Russian: single digits only;
  5. everything else that is not a letter or an inner apostrophe, including hyphens, becomes a space.
Numbers for which a language has no rule remain digits; `normalizers.HasDigits` finds them.
"""

import re

from fm_lingvo.data import normalizers

from . import basic
from . import characters

_ONES = (
  'zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen '
  'eighteen nineteen'
).split()
_TENS = '- - twenty thirty forty fifty sixty seventy eighty ninety'.split()
_DIGITS = {
  'es': 'cero uno dos tres cuatro cinco seis siete ocho nueve'.split(),
  'fr': 'zéro un deux trois quatre cinq six sept huit neuf'.split(),
  'it': 'zero uno due tre quattro cinque sei sette otto nove'.split(),
  'ru': 'ноль один два три четыре пять шесть семь восемь девять'.split(),
}
LANGUAGES = ('en',) + tuple(_DIGITS)
_SPELLED_OUT = ('PBX', 'IVR', 'IP', 'IAX', 'MGCP', 'USB', 'ID', 'TV', 'CD', 'UK')
_ACRONYM = re.compile(r'\b(' + '|'.join(_SPELLED_OUT) + r')(?=\d*\b)')
_SYMBOLS = {'*': 'star', '#': 'pound', '%': 'percent', '&': 'and', '@': 'at', '+': 'plus', '=': 'equals', '$': 'dollar'}
_NOTE = re.compile(r'\([^)]*\)|\[[^\]]*\]|<[^>]*>')
_DOTTED = re.compile(r'\b(?:[A-Za-z]\.){2,}')
_WEB = re.compile(r'\b(?:www\.)?[A-Za-z0-9-]+(?:\.[A-Za-z]{2,})+\b')
_NUMBER = re.compile(r'\d+')


def StripNotes(text: str) -> str:
  """Returns the text without notes in (), [] or <>; empty if it was only a note, such as [ascending tones]."""
  return ' '.join(_NOTE.sub(' ', text).split())


def Normalize(text: str, language: str | None = 'en') -> str:
  """Normalises a transcript as described above.

  Args:
    text: The transcript.
    language: One of LANGUAGES, with or without a country; for any other value, numbers, symbols and acronyms are not
      spelled out.

  Returns:
    The normalised text, '' if no word is left.
  """
  language = normalizers.Base(language)
  text = StripNotes(characters.Plain(characters.Visible(text)))
  if language == 'en':
    text = _EnglishSymbols(text)
  text = _NUMBER.sub(lambda m: f' {_Spell(m.group(), language)} ', text)
  return basic.Lower(characters.Words(text))


def _EnglishSymbols(text: str) -> str:
  text = _DOTTED.sub(lambda m: m.group().replace('.', ' '), text)
  text = _ACRONYM.sub(lambda m: ' '.join(m.group()), text)
  text = _WEB.sub(lambda m: re.sub(r'\bwww\b', 'w w w', m.group()).replace('.', ' dot '), text)
  text = re.sub(r'(?<=\d)\.(?=\d)', ' point ', text)
  text = re.sub(r'\b([A-Za-z])\.(?=\d)', r'\1 ', text)
  return ''.join(f' {_SYMBOLS[c]} ' if c in _SYMBOLS else c for c in text)


def _Spell(digits: str, language: str) -> str:
  if language == 'en':
    return _SpellEnglish(digits)
  if language in _DIGITS and len(digits) == 1:
    return _DIGITS[language][int(digits)]
  return digits


def _SpellEnglish(digits: str) -> str:
  value = int(digits[:4])  # Longer numbers are read digit by digit.
  if digits[0] == '0' and len(digits) > 1:
    return ' '.join(_ONES[int(d)] for d in digits)
  if value < 20:
    return _ONES[value]
  if value < 100:
    return _TENS[value // 10] + (f' {_ONES[value % 10]}' if value % 10 else '')
  if value < 1000 and value % 100 == 0:
    return f'{_ONES[value // 100]} hundred'
  return ' '.join(_ONES[int(d)] for d in digits)
