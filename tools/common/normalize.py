"""The names under which tools/prepare still calls the normaliser `prompts`; to be removed with the last of these calls."""

from . import normalizers
from .normalizers import prompts

LANGUAGES = prompts.LANGUAGES
NormalizeText = prompts.Normalize
HasDigits = normalizers.HasDigits
