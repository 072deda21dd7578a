"""Roman numerals in English text as they are said: Chapter IV, Henry VIII, the XIXth century.

Only capital letters that form a numeral, and only where the word beside them says that they are one: "I", "mix", "an IV
drip", "Malcolm X" and "the group CD" stay. A numeral of one letter needs more: "Chapter I", "King George V", but "the
part I play".
"""

import re

from . import english_numbers as numbers

_VALUES = {'I': 1, 'V': 5, 'X': 10, 'L': 50, 'C': 100}  # D and M are more often letters, as in CD.
_HEADINGS = (
  'act appendix article book bowl canto chapter class division episode figure game grade group lesson level mark '
  'number olympiad page part phase psalm quadrant scene schedule season section stage table title type unit verse vol '
  'volume war'
).split()
_TITLES = 'king queen pope emperor empress tsar czar kaiser sultan shah pharaoh prince duke'.split()
_REGNAL = (  # Names that kings, queens and popes share, and few others are numbered by.
  'Adrian Albert Alexander Alfonso Antiochus Artaxerxes Basil Benedict Boniface Carlos Catherine Celestine Charles '
  'Christian Clement Constantine Darius Edward Elizabeth Emmanuel Ferdinand Francis Frederick George Gregory Gustav '
  'Haakon Harald Henri Henry Innocent Ivan James John Joseph Julius Leo Leopold Louis Margrethe Maximilian Mehmed '
  'Murad Napoleon Nicholas Olav Otto Paul Peter Philip Pius Ptolemy Ramesses Ramses Richard Robert Rudolf Selim Sixtus '
  'Stephen Theodosius Thutmose Umberto Urban Wilhelm William'
).split()
_NUMBER = r'(?=[IVXL]{2}|[IVXLC]{3})(?P<numeral>C{0,3}(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3}))'
_NUMERAL = rf"{_NUMBER}(?![\w-]|'(?!s\b))"
# One letter: before a sign that ends a part of the sentence, or a word that does not follow the pronoun.
_LETTER = r"(?P<numeral>[IVX])(?=$|[,;:!?)\"]|\.(?!\s+[A-Z]|\w)|'s\b|\s+(?:of|and)\b)"
_ANY = rf'(?:{_NUMERAL}|{_LETTER.replace("numeral", "letter")})'


def _Words(names: list[str]) -> str:
  """A pattern of words as they begin, or in capital letters."""
  return '|'.join(form for name in names for form in (name, name.capitalize(), name.upper()))


_FOUND = re.compile(r'\b[IVXLC]{2}|\b[IVX]\b')  # A text without has no numeral.
_ORDINAL = re.compile(rf'\b{_NUMBER}(?:st|nd|rd|th)\b')
_CENTURY = re.compile(rf'\b{_NUMERAL}(?=\s+(?:[Cc]entury|[Cc]enturies)\b)')
_HEADING = re.compile(rf'\b(?P<head>{_Words(_HEADINGS)})(?P<gap>\.?\s+){_NUMERAL}')
_HEADING_LETTER = re.compile(
  rf'\b(?P<head>{"|".join(name.capitalize() for name in _HEADINGS)})(?P<gap>\.?\s+){_LETTER}'
)
_TITLED = re.compile(
  rf'\b(?P<head>(?:{"|".join(name.capitalize() for name in _TITLES)})(?:\s+[A-Z][a-z]+){{1,3}})(?P<gap>\s+){_ANY}'
)
_NAMED = re.compile(
  rf'\b(?P<head>{"|".join(form for name in _REGNAL for form in (name, name.upper()))})(?P<gap>\s+){_NUMERAL}'
)


def Value(numeral: str) -> int:
  """Returns the number of a Roman numeral in capital letters."""
  values = [_VALUES[c] for c in numeral]
  return sum(-v if v < following else v for v, following in zip(values, [*values[1:], 0]))


def _Cardinal(m: re.Match) -> str:
  return f'{m["head"]}{m["gap"]}{numbers.Cardinal(str(Value(m["numeral"])))}'


def _Regnal(m: re.Match) -> str:
  groups = m.groupdict()
  return f'{m["head"]} the {numbers.Ordinal(str(Value(m["numeral"] or groups["letter"])))}'


def Spell(text: str) -> str:
  """Chapter IV -> Chapter four; Henry VIII -> Henry the eighth; XIXth century -> nineteenth century."""
  if not _FOUND.search(text):
    return text
  for pattern in (_ORDINAL, _CENTURY):
    text = pattern.sub(lambda m: numbers.Ordinal(str(Value(m['numeral']))), text)
  for pattern in (_TITLED, _NAMED):
    text = pattern.sub(_Regnal, text)
  for pattern in (_HEADING, _HEADING_LETTER):
    text = pattern.sub(_Cardinal, text)
  return text
