"""Synthesises general English with all voices: the recipe's source (tools/speech_synthesis/general_speech.py)."""

from ...speech_synthesis import general_speech

OPTIONS = general_speech.OPTIONS
NORMALIZER = 'prompts'
REQUIRE_TEXT = True
Import = general_speech.Import
