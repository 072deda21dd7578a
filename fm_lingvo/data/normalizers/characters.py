"""What the normalisers share: invisible characters, compatibility characters, and what a word consists of.

Categories are those of Unicode: L letters, M marks, N numbers (No: ½, ², ①), Cf format characters, which are invisible.
"""

import re
import unicodedata

_APOSTROPHES = re.compile('[\u2018\u2019\u02bc\uff07`\u00b4]')  # Read as '.
# Zero-width non-joiner and joiner, Mongolian vowel separator: format characters that are part of the spelling between
# letters of some scripts, and beside a virama.
_JOINERS = '\u200c\u200d\u180e'
_RUN_OF_JOINERS = re.compile(f'([{_JOINERS}])[{_JOINERS}]*')
_JOINED_SCRIPTS = ('ARABIC', 'SYRIAC', 'NKO', 'MONGOLIAN', 'ADLAM', 'MANDAIC')
_VIRAMA = 9  # Canonical combining class.
# Letters and marks that are invisible, too: fillers of Hangul, inherent vowels of Khmer, variation selectors.
_FILLERS = re.compile('[\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]')
_KEPT_AS_THEY_ARE = '\u2122\u2120'  # Trade and service mark, which would become letters of the word before.


def Visible(text: str) -> str:
  """Returns a text without control and format characters, lone surrogates, and spaces other than single ones.

  A removed character does not split a word. Joiners that a script needs are kept.
  """
  if not (text.isascii() and text.isprintable()):
    text = ''.join(filter(_IsVisible, text))
    text = _RUN_OF_JOINERS.sub(_NeededJoiner, text)
  return ' '.join(text.split())


def _IsVisible(c: str) -> bool:
  return c.isspace() or c in _JOINERS or unicodedata.category(c) not in ('Cc', 'Cf', 'Cs')


def _NeededJoiner(m: re.Match[str]) -> str:
  """Returns the first of a run of joiners if it is part of the spelling, between the characters around it, else ''."""
  before, after = m.string[max(0, m.start() - 1) : m.start()], m.string[m.end() : m.end() + 1]
  return m.group(1) if _Joins(before, after) else ''


def _Joins(before: str, after: str) -> bool:
  if _VIRAMA in (before and unicodedata.combining(before), after and unicodedata.combining(after)):
    return True
  return all(c and unicodedata.name(c, '').startswith(_JOINED_SCRIPTS) for c in (before, after))


def Plain(text: str) -> str:
  """Returns a text in form NFKC, so that ligatures and full-width letters become plain ones, with only ' as apostrophe.

  Numbers such as ½ and ² stay, since 1½ would become 11/2; so do trade marks. Invisible letters are removed.
  """
  text = _APOSTROPHES.sub("'", text)
  if text.isascii():
    return text
  text = ''.join(
    c if unicodedata.category(c) == 'No' or c in _KEPT_AS_THEY_ARE else unicodedata.normalize('NFKC', c)
    for c in _FILLERS.sub('', text)
  )
  return _APOSTROPHES.sub("'", unicodedata.normalize('NFC', text))  # Form NFKC of ŉ has an apostrophe.


def Words(text: str) -> str:
  """Returns the words of a text with one space between them.

  A word consists of letters, numbers, their marks, joiners, and apostrophes inside it (don't, dell'utente); in Hebrew
  also of geresh and gershayim, in Catalan of the dot in l·l. Everything else separates words.
  """
  if text.isascii():
    return ' '.join(re.findall(r"[A-Za-z0-9]+(?:'[A-Za-z0-9]+)*", text))
  words: list[list[str]] = [[]]
  for i, c in enumerate(text):
    kind = unicodedata.category(c)
    if kind[0] in 'LN' or words[-1] and (kind in ('Mn', 'Mc') or c in _JOINERS):
      words[-1].append(c)
    elif c in "'\u05f3\u05f4\u00b7" and _IsInside(c, text[max(0, i - 1) : i], text[i + 1 : i + 2]):
      words[-1].append(c)
    elif words[-1]:
      words.append([])
  return ' '.join(map(''.join, filter(None, words)))


def _IsInside(c: str, before: str, after: str) -> bool:
  """Whether a mark of punctuation belongs to the word around it."""
  if c == '\u00b7':
    return before + after in ('ll', 'LL')
  return all(side and unicodedata.category(side)[0] in 'LMN' for side in (before, after))
