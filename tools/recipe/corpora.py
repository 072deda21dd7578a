"""The user's corpora for the recipe: the folders of --corpora, which ones have transcripts, and which are none."""

import glob
import json
import os

from fm_lingvo.data import manifest_keys
from fm_lingvo.utils import audio_extensions
from fm_lingvo.utils import files as file_system
from fm_lingvo.utils import text_lines

from ..common import exit_codes

FORMS = 'manifest.jsonl in it, or SPEAKER/CHAPTER/*.trans.txt as in LibriSpeech'
_TRANSCRIPTS = '*.trans.txt'


def Find(folder: str) -> tuple[dict[str, str], dict[str, str]]:
  """Returns ({name: path} of the corpora with transcripts, the same of those without), by their folders' names.

  Args:
    folder: Its folders are the corpora. Files in it and hidden folders do not count; a folder without any recording or
      transcript is skipped, which is printed.

  Raises:
    exit_codes.UsageError: There is no such folder, one of its folders has recordings but is no corpus or cannot be
      read, or a manifest is none.
  """
  if not os.path.isdir(folder):
    raise exit_codes.UsageError(f'--corpora={folder}: no such directory')
  labeled, unlabeled = {}, {}
  for path in sorted(glob.glob(os.path.join(glob.escape(folder), '*', ''))):
    path = path.rstrip('/')
    name, manifest = os.path.basename(path), os.path.join(path, 'manifest.jsonl')
    if os.path.exists(manifest):
      (labeled if _HasText(manifest) else unlabeled)[name] = manifest
    elif _IsLibriSpeech(path):
      labeled[name] = path
    elif found := _Speech(path):
      raise exit_codes.UsageError(f'--corpora={folder}: {path} has {found}, but is no corpus; expected {FORMS}')
    else:
      print(f'recipe data: {path} is skipped: no recordings in it')
  return labeled, unlabeled


def _IsLibriSpeech(path):
  return bool(glob.glob(os.path.join(glob.escape(path), '*', '*', _TRANSCRIPTS)))


def _Speech(folder):
  """Returns the path, relative to a folder, of the first recording or list of recordings somewhere in it, or ''."""
  for directory, names in file_system.LocalFolders(folder, file_system.Refuse):
    for name in names:
      is_list = name == 'manifest.jsonl' or name.endswith(_TRANSCRIPTS[1:])
      if is_list or os.path.splitext(name)[1].lower() in audio_extensions.ALL:
        return os.path.relpath(os.path.join(directory, name), folder)
  return ''


def _HasText(manifest):
  """Whether a line of a manifest has a transcript; lines that are no JSON objects are rejected later, one by one."""
  objects = 0
  for _, line in text_lines.Lines(manifest):
    try:
      row = json.loads(line) if line.strip() else None
    except (RecursionError, ValueError):
      continue
    if isinstance(row, dict):
      objects += 1
      texts = [value for key, value in row.items() if manifest_keys.KeyOf(key) == 'text']
      if any(not manifest_keys.IsMissing('text', text) and str(text).strip() for text in texts):
        return True
  if not objects:
    raise exit_codes.UsageError(f'{manifest}: no line is a JSON object; expected one for each utterance')
  return False
