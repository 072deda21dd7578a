"""English numbers as words: cardinals, ordinals, years, decades, fractions and digits; num2words spells them.

A number of four digits without a comma from 1100 to 2099 is read as a year, nineteen ninety. Numbers of ten digits and
more without commas, and those that begin with 0, are read digit by digit.
"""

import functools
import re

_WITH_WHOLE = r'\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?'  # 1,000 or 1000 or 3.14.
NUMBER = rf'{_WITH_WHOLE}|(?<![\w.])\.\d+'  # Or .5.
_LONGEST = 9  # Digits of a number that is not read digit by digit.
_MOST = 36  # Digits of a number with commas.
_HALVES = {2: ('half', 'halves'), 4: ('quarter', 'quarters')}
_DENOMINATORS = (*range(2, 11), 12, 16, 20, 32, 64, 100)

_ORDINAL = re.compile(rf'(?<![\d.,])({_WITH_WHOLE})(?:st|nd|rd|th)\b', re.IGNORECASE)
_DECADE = re.compile(r"(?<![\d.,])(?:(1[1-9]|20)(\d)0|'?([2-9])0)'?s\b")
_PHONE = re.compile(r'(?<![\d.,-])(?:\+?\d[ -])?(?:\(?\d{3}\)?[ -])?\d{3}-\d{4}(?![\d-])')
_FRACTION = re.compile(r'(?<![\d/.,])(?:(\d+)\s+)?(\d+)/(\d+)(?![\d/])')
_VERSION = re.compile(r'(?<![\d.,])\d+(?:\.\d+){2,}(?!\d)')
_SIGN = re.compile(r'(?<![\w)\]-])[-\u2212](?=[$\u00a3\u20ac\u00a5\u20b9]?\.?\d)')
_HASH = re.compile(r'(?:#|\bNo\.)\s*(?=\d)')
_BY = re.compile(r'(?<=\d)\s*x\s*(?=\d)')
_PLAIN = re.compile(NUMBER)


def _Words(text: str) -> str:
  return text.replace(',', '').replace('-', ' ')


@functools.lru_cache(maxsize=10_000)
def _Library(value: int, kind: str) -> str:
  import num2words  # Slow to import, and most texts have no number.

  return _Words(num2words.num2words(value, lang='en', to=kind))


def Digits(text: str) -> str:
  """Returns the digits of a text as words, one by one."""
  return ' '.join(_Library(int(c), 'cardinal') for c in text if c.isdecimal())


def Cardinal(text: str, year: bool = False) -> str:
  """Returns a NUMBER in words; with `year`, one of four digits from 1100 to 2099 is read as a year."""
  whole, point, decimals = text.partition('.')
  if not whole:
    return f'point {Digits(decimals)}'
  digits = whole.replace(',', '')
  if year and not point and digits == whole and len(digits) == 4 and 1100 <= int(digits) < 2100:
    said = _Library(int(digits), 'year')
  elif len(digits) > (_LONGEST if digits == whole else _MOST) or (digits[0] == '0' and len(digits) > 1):
    said = Digits(digits)
  else:
    said = _Library(int(digits), 'cardinal')
  return f'{said} point {Digits(decimals)}' if point else said


def Ordinal(text: str) -> str:
  """Returns a number as an ordinal in words, without its decimals."""
  digits = text.partition('.')[0].replace(',', '')
  return _Library(int(digits), 'ordinal') if len(digits) <= _MOST else Digits(digits)


def Year(text: str) -> str:
  """Returns a year in words."""
  return Cardinal(text, year=True)


def _Plural(word: str) -> str:
  return word[:-1] + 'ies' if word.endswith('y') else word + 's'


def _Decade(m: re.Match) -> str:
  if m.group(3):
    return f' {_Plural(_Library(int(m.group(3)) * 10, "cardinal"))} '
  return f' {_Plural(_Library(int(m.group(1) + m.group(2) + "0"), "year"))} '


def _Fraction(m: re.Match) -> str:
  whole, top, bottom = m.groups()
  if len(top) > 3 or len(bottom) > 3 or int(bottom) not in _DENOMINATORS or not 0 < int(top) < int(bottom):
    return m.group().replace('/', ' ')
  one, several = _HALVES.get(int(bottom), (_Library(int(bottom), 'ordinal'),) * 2)
  if int(bottom) not in _HALVES:
    several = _Plural(several)
  if whole is None:
    return f' {Cardinal(top)} {one if int(top) == 1 else several} '
  return f' {Cardinal(whole)} and ' + (f'a {one} ' if int(top) == 1 else f'{Cardinal(top)} {several} ')


def Signs(text: str) -> str:
  """-5 -> minus 5; to be called before money, units and fractions are spelled: -$5, -5%, -1/2."""
  return _SIGN.sub(' minus ', text)


def Spell(text: str) -> str:
  """Returns a text with all numbers in words."""
  text = _ORDINAL.sub(lambda m: f' {Ordinal(m.group(1))} ', text)
  text = _DECADE.sub(_Decade, text)
  text = _PHONE.sub(lambda m: f' {Digits(m.group())} ', text)
  text = _FRACTION.sub(_Fraction, text)
  text = _VERSION.sub(lambda m: ' ' + ' point '.join(map(Cardinal, m.group().split('.'))) + ' ', text)
  text = _HASH.sub(' number ', text)
  text = _BY.sub(' by ', text)
  return _PLAIN.sub(lambda m: f' {Cardinal(m.group(), year=True)} ', text)
