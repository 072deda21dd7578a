"""Synthesises one sentence per line with voices of eSpeak NG and Piper (tools/speech_synthesis/synth.py)."""

from ...speech_synthesis import synth

OPTIONS = synth.OPTIONS
NORMALIZER = 'prompts'
REQUIRE_TEXT = True
Import = synth.Import
