"""Libri-Light, unlabeled: {small,medium,large,duplicate}/SPEAKER/BOOK/*.flac."""

import os

from fm_lingvo.utils import files as file_system

from ...common import exit_codes
from ...common import files
from .. import importers

OPTIONS = ('input',)


def Import(options):
  """Lists the recordings below --input, one or more comma-separated folders.

  They are chapters of books: the pipeline cuts them at quiet places, see pieces.py. Their .json is not read.

  Raises:
    exit_codes.UsageError: --input is not a folder, or has no FLAC files.
  """
  listing = importers.Listing()
  for part in (options.input or '').split(','):
    root = files.RequireDirectory('librilight', part)
    before = len(listing.utterances)
    for directory, names in file_system.Walk(root):
      listing.utterances += [_Recording(directory, name) for name in names if name.endswith('.flac')]
    if len(listing.utterances) == before:
      raise exit_codes.UsageError(f'--input={part}: no *.flac below it; expected the layout of Libri-Light')
  return listing


def _Recording(directory, name):
  subset, speaker, book = file_system.Absolute(directory).split('/')[-3:]
  utt_id = '/'.join((subset, speaker, book, os.path.splitext(name)[0]))
  source = os.path.join(directory, name)
  return importers.Utterance(utt_id, '', speaker, f'librilight/{subset}', source, language='en')
