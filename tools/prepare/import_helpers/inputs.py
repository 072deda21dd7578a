"""What --input and --languages of an importer name: folders, splits and the language."""

import dataclasses
import os
import re

from fm_lingvo.data import normalizers
from fm_lingvo.utils import files as file_system

from ...common import exit_codes
from ...common import files
from . import rows

_SPLIT_WORDS = re.compile(r'train(ing)?|dev|val(id(ation)?)?|test|eval(uation)?', re.IGNORECASE)


def SplitOf(part):
  """Returns (split or None, path) of a part of --input, PATH or SPLIT=PATH; raises UsageError for an unknown split."""
  name, equals, path = part.partition('=')
  if not equals or '/' in name or file_system.Exists(part):  # A folder may be named lang=en, as Hive names it.
    return None, part
  split = rows.SplitName(name)
  if split is None:
    raise exit_codes.UsageError(f'--input={part}: expected train, dev or test before =, got {name!r}')
  return split, path


def SplitOfName(path):
  """Returns the split that a file or folder's name has as a word, such as cuts_train-clean.jsonl; None: none or two."""
  words = re.split(r'[^a-zA-Z]+', Name(path))
  splits = {rows.SplitName(word) for word in words if _SPLIT_WORDS.fullmatch(word)}
  return splits.pop() if len(splits) == 1 else None


def Language(options):
  """Returns the one language of --languages, that of texts without a language of their own, or None.

  Raises:
    exit_codes.UsageError: There are several, or it is not a code such as en or pt-BR.
  """
  for language in options.languages:
    if not normalizers.IsLanguage(language):
      raise exit_codes.UsageError(f'--languages={language}: expected the code of a language, such as en')
  if len(options.languages) > 1:
    raise exit_codes.UsageError(
      f'--languages={",".join(options.languages)}: expected one language, that of texts without a `lang`'
    )
  return options.languages[0] if options.languages else None


def Choice(options, name, choices):
  """Returns the value of an importer's own option; raises UsageError if it is not one of the choices."""
  value = options.own.get(name, choices[0])
  if value not in choices:
    raise exit_codes.UsageError(f'--{name}={value}: expected {" or ".join(choices)}')
  return value


def Roots(importer, options, marks):
  """Returns the folders of a corpus: those of --input, comma-separated, or their folders, that have one of the marks.

  Args:
    importer: Name of the importer, for errors.
    options: importers.Options.
    marks: Paths, relative to the folder of a corpus; one of them must exist.

  Raises:
    exit_codes.UsageError: --input is missing, not a folder, or without any of the marks.
  """
  found = []
  for part in (options.input or '').split(','):
    folder = files.RequireDirectory(importer, part)
    here = [folder] if _HasMark(folder, marks) else [f for f in Subfolders(folder) if _HasMark(f, marks)]
    if not here:
      raise exit_codes.UsageError(
        f'--input={part}: no {" or ".join(marks)} in it or its folders; expected the layout of {importer}'
      )
    found += here
  return found


def Name(folder):
  """Returns the name of a folder, also of `.` and of one with a trailing slash."""
  return os.path.basename((folder if file_system.IsRemote(folder) else os.path.abspath(folder)).rstrip('/'))


def Trusting(options, roots):
  """Returns options that allow audio anywhere in the folders of a corpus, not only beside the file that names it."""
  return dataclasses.replace(options, audio_roots=(*options.audio_roots, *roots))


def _HasMark(folder, marks):
  return any(file_system.Exists(os.path.join(folder, mark)) for mark in marks)


def Subfolders(folder):
  """Returns the sorted paths of the folders directly in a local or remote folder."""
  if file_system.IsRemote(folder):
    return [path for name in file_system.List(folder) if file_system.IsFolder(path := os.path.join(folder, name))]
  with os.scandir(folder) as entries:
    return sorted(entry.path for entry in entries if entry.is_dir())
