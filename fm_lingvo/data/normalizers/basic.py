"""Normaliser `basic`: words in lower case without punctuation, in any language, by Unicode's categories.

Notes in [] and <>, such as [laughter] or <unk>, are removed; words in () are kept, since they may be spoken. Numbers
stay digits.
"""

import re
import unicodedata

from fm_lingvo.data import normalizers

from . import characters

_NOTE = re.compile(r'\[[^\[\]]*\]|<[^<>\s][^<>]*>')
_DOTTED_I = 'i\u0307'  # What lower() makes of the Turkish capital.
_TURKIC = ('tr', 'az')


def Normalize(text: str, language: str | None = None) -> str:
  """Returns the words of a text in lower case, '' if there are none.

  Args:
    text: The transcript.
    language: Its language; only tr and az matter, which have an I without a dot.
  """
  text = characters.Plain(characters.Visible(StripNotes(text)))
  if normalizers.Base(language) in _TURKIC:
    text = text.replace('I', 'ı')
  return Lower(characters.Words(text))


def StripNotes(text: str) -> str:
  """Returns a text without notes in [] or <>, also nested ones."""
  while True:
    shorter = _NOTE.sub(' ', text)
    if shorter == text:
      return text
    text = shorter


def Lower(text: str) -> str:
  """Returns a text in lower case, in form NFC."""
  text = text.lower()
  if text.isascii():
    return text
  return unicodedata.normalize('NFC', text.replace(_DOTTED_I, 'i'))
