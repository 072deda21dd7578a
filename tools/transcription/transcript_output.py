"""Writes transcripts to standard output, one file, or a file for each recording."""

import contextlib
import os
import sys
from typing import IO

from fm_lingvo import errors
from fm_lingvo.inference import transcript as transcript_lib
from fm_lingvo.utils import files as file_system

from ..common import files
from . import transcript_formats


class Output:
  """Where transcripts go."""

  def __init__(self, path: str | None, kind: str, recordings: list[tuple[str, str]], resume: bool = False) -> None:
    """Checks where to write; existing files stay as they are until Open.

    Args:
      path: File, folder if it is one or ends with /, or None for standard output.
      kind: One of transcript_formats.FORMATS.
      recordings: List of (path, relative path) of the recordings.
      resume: Whether files that are there stay as they are.

    Raises:
      errors.ConfigError: The path cannot be written, cannot hold all recordings, or is no folder although `resume`.
    """
    self._path = path
    self._kind = kind
    self._with_name = len(recordings) > 1
    self._number = len(recordings)
    self._resume = resume
    self._paths: list[str] = []  # Of a folder: the file of each recording.
    self._file: IO[str] | None = None
    above = os.path.dirname(path or '') or '.'
    if path and (path.endswith('/') or os.path.isdir(path)):
      self._paths = _Paths(
        path, [relative_path for _, relative_path in recordings], transcript_formats.EXTENSIONS[kind]
      )
      files.MakeFolder(path, f'--output={path}')
      if kind == 'text' and not resume:
        _CheckKeepsTranscripts(path, recordings)
    elif resume:
      raise errors.ConfigError('--resume: expected with it --output=FOLDER/, where the files say what is done')
    elif kind in transcript_formats.OF_ONE and len(recordings) > 1:
      raise errors.ConfigError(
        f'--format={kind}: {len(recordings)} recordings, but a subtitle file is for one; expected --output=FOLDER/'
      )
    elif not os.path.isdir(above):
      raise errors.ConfigError(f'--output={path}: no folder {above}; expected one that exists')
    elif path and os.path.realpath(path) in {os.path.realpath(recording) for recording, _ in recordings}:
      raise errors.ConfigError(f'--output={path}: is one of the recordings; expected another file')
    if kind == 'ctm' and not self._paths:
      _CheckNames([recording for recording, _ in recordings])

  def Left(self) -> list[int]:
    """Returns the indices of the recordings to transcribe: all, or with `resume` those without a file."""
    return [n for n in range(self._number) if not (self._resume and os.path.exists(self._paths[n]))]

  def Open(self) -> None:
    """Opens the single output file on the first call, which empties it."""
    if not self._paths and self._file is None:
      with self._Writing():
        self._file = open(self._path, 'w', encoding='utf-8') if self._path else sys.stdout

  def Write(self, transcript: transcript_lib.Transcript, number: int) -> None:
    """Writes the transcript of a recording; `number` is its index among them."""
    self.Open()
    with self._Writing():
      if self._paths:
        os.makedirs(os.path.dirname(self._paths[number]), exist_ok=True)
        with file_system.Replacing(self._paths[number]) as f:
          f.write(transcript_formats.Format(transcript, self._kind))
      elif self._file is not None:
        self._file.write(transcript_formats.Format(transcript, self._kind, self._with_name))
        self._file.flush()

  def _Writing(self) -> contextlib.AbstractContextManager[None]:
    return errors.Writing(f'--output={self._path}' if self._path else 'standard output')

  def Close(self) -> None:
    if self._file is not None and self._file is not sys.stdout:
      self._file.close()


def _Paths(folder: str, relative_paths: list[str], extension: str) -> list[str]:
  """Returns the path of the file of each recording; those of one name are numbered from the second on."""
  paths: dict[str, None] = {}
  for relative_path in relative_paths:
    base, number = os.path.join(folder, os.path.splitext(relative_path)[0]), 1
    path = base
    while path in paths:
      number += 1
      path = f'{base}-{number}'
    paths[path] = None
  return [path + extension for path in paths]


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
