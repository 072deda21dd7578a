"""Normaliser `none`: the text with case and punctuation, in Unicode form NFC and without invisible characters."""

import unicodedata

from . import characters

# SentencePiece writes a space as U+2581 and learns nothing from texts with U+2585.
_RESERVED = str.maketrans('\u2581\u2585', '  ')


def Normalize(text: str, language: str | None = None) -> str:
  """Returns the text in form NFC, without control and format characters, with single spaces.

  Two block elements that tokenizers reserve become spaces.

  Args:
    text: The transcript.
    language: Not used.
  """
  del language
  return unicodedata.normalize('NFC', characters.Visible(text.translate(_RESERVED)))
