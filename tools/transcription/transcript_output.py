"""Writes transcripts to standard output, one file, or a file for each recording."""

import contextlib
import os
import sys
from typing import IO

from fm_lingvo import errors
from fm_lingvo.inference import transcript as transcript_lib

from ..common import files
from . import transcript_formats


class Output:
  """Where transcripts go."""

  def __init__(self, path: str | None, kind: str, recordings: list[tuple[str, str]]) -> None:
    """Checks where to write; existing files stay as they are until Open.

    Args:
      path: File, folder if it is one or ends with /, or None for standard output.
      kind: One of transcript_formats.FORMATS.
      recordings: List of (path, relative path) of the recordings.

    Raises:
      errors.ConfigError: The path cannot be written, or cannot hold all recordings.
    """
    self._path = path
    self._kind = kind
    self._with_name = len(recordings) > 1
    self._recordings = {os.path.realpath(recording) for recording, _ in recordings}
    self._folder: str | None = None
    self._file: IO[str] | None = None
    self._taken: set[str] = set()
    above = os.path.dirname(path or '') or '.'
    if path and (path.endswith('/') or os.path.isdir(path)):
      self._folder = path
      files.MakeFolder(path, f'--output={path}')
      if kind == 'text':
        _CheckKeepsTranscripts(path, recordings)
    elif kind in transcript_formats.OF_ONE and len(recordings) > 1:
      raise errors.ConfigError(
        f'--format={kind}: {len(recordings)} recordings, but a subtitle file is for one; expected --output=FOLDER/'
      )
    elif not os.path.isdir(above):
      raise errors.ConfigError(f'--output={path}: no folder {above}; expected one that exists')
    elif path and os.path.realpath(path) in self._recordings:
      raise errors.ConfigError(f'--output={path}: is one of the recordings; expected another file')
    if kind == 'ctm' and self._folder is None:
      _CheckNames([recording for recording, _ in recordings])

  def Open(self) -> None:
    """Opens the single output file on the first call, which empties it."""
    if self._folder is None and self._file is None:
      with self._Writing():
        self._file = open(self._path, 'w', encoding='utf-8') if self._path else sys.stdout

  def Write(self, transcript: transcript_lib.Transcript, relative_path: str) -> None:
    """Writes a transcript; `relative_path` is that of its recording below the folder that the user named."""
    self.Open()
    with self._Writing():
      if self._folder is not None:
        self._WriteFile(self._folder, transcript, relative_path)
      elif self._file is not None:
        self._file.write(transcript_formats.Format(transcript, self._kind, self._with_name))
        self._file.flush()

  def _Writing(self) -> contextlib.AbstractContextManager[None]:
    return errors.Writing(f'--output={self._path}' if self._path else 'standard output')

  def _WriteFile(self, folder: str, transcript: transcript_lib.Transcript, relative_path: str) -> None:
    base, number = os.path.join(folder, os.path.splitext(relative_path)[0]), 1
    path = base
    while path in self._taken:
      number += 1
      path = f'{base}-{number}'
    self._taken.add(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + transcript_formats.EXTENSIONS[self._kind], 'w', encoding='utf-8') as f:
      f.write(transcript_formats.Format(transcript, self._kind))

  def Close(self) -> None:
    if self._file is not None and self._file is not sys.stdout:
      self._file.close()


def _CheckKeepsTranscripts(folder: str, recordings: list[tuple[str, str]]) -> None:
  """Raises ConfigError if a text file beside its recording would be replaced: it may be what was said, to train on."""
  for recording, relative_path in recordings:
    path = os.path.splitext(os.path.join(folder, relative_path))[0] + transcript_formats.EXTENSIONS['text']
    beside = os.path.splitext(os.path.realpath(recording))[0] + transcript_formats.EXTENSIONS['text']
    if os.path.realpath(path) == beside and os.path.exists(path):
      raise errors.ConfigError(
        f'--output={folder}: {path} exists, and may be the transcript of {recording}; expected another folder'
      )


def _CheckNames(paths: list[str]) -> None:
  """Raises ConfigError if two recordings have one name in CTM."""
  names: dict[str, str] = {}
  for path in paths:
    other = names.setdefault(transcript_formats.Recording(path), path)
    if other != path:
      raise errors.ConfigError(
        f'--format=ctm: {other} and {path} are both {transcript_formats.Recording(path)}; expected --output=FOLDER/'
      )
