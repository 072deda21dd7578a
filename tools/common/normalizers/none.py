"""Normaliser `none`: the text with case and punctuation, in Unicode form NFC and without invisible characters."""

import unicodedata

from . import characters

_SPACE = '\u2581'  # SentencePiece's sign for a space; a tokenizer could not tell the two apart.


def Normalize(text: str, language: str | None = None) -> str:
  """Returns the text in form NFC, without control and format characters, with single spaces.

  Args:
    text: The transcript.
    language: Not used.
  """
  del language
  return unicodedata.normalize('NFC', characters.Visible(text.replace(_SPACE, ' ')))
