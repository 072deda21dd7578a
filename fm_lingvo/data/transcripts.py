"""Which normaliser wrote the transcripts of streams, so that none are scored against those of another one.

`settings.normalizer` of dataset.json names it. Data sets from before it was recorded count as `prompts`, the only one
there was; with null, or without a dataset.json, it is not known. A run records the normalisers of its
training data, which may be elsewhere or changed when it is evaluated.
"""

import json
import os
import uuid
from collections.abc import Mapping
from typing import Any

from fm_lingvo import errors
from fm_lingvo.data import dataset
from fm_lingvo.utils import files

UNRECORDED = 'prompts'
RECORD = 'normalizers.json'  # In a run's folder: stream -> {normaliser: folder of one such data set}.

Normalizers = Mapping[str, Mapping[str, str]]


def OfInput(p: Any) -> dict[str, dict[str, str]]:
  """Returns the normalisers of those labelled streams of an input that have data.

  Args:
    p: Params of an input; those without streams have no transcripts to compare.

  Returns:
    dict: stream -> {normaliser: folder of the first data set with it}.

  Raises:
    errors.DatasetError: A dataset.json is damaged.
  """
  found = {}
  for name, folders in LabeledFolders(p).items():
    names = {folder: _OfFolder(folder) for folder in folders}
    found[name] = {normalizer: folder for folder, normalizer in reversed(names.items()) if normalizer is not None}
  return found


def LabeledFolders(p: Any) -> dict[str, list[str]]:
  """Returns labelled stream -> sorted folders of its data sets that have shards, for Params of an input."""
  from fm_lingvo.data import stream_params  # Imports Lingvo, which a run's own records do not need.

  found = {}
  for name, stream in p.streams.IterParams() if 'streams' in p else ():
    if 'labeled' in stream and stream.labeled:
      patterns = filter(None, stream_params.Patterns(stream))
      found[name] = sorted({os.path.dirname(f) for pattern in patterns for f in stream_params.Glob(pattern)})
  return found


def Settings(folder: str) -> dict[str, Any] | None:
  """Returns how a data set was prepared, None if its folder has no dataset.json, or one of another program.

  Raises:
    errors.DatasetError: The file is damaged.
  """
  path = os.path.join(folder, 'dataset.json')
  if not files.Exists(path):
    return None
  with files.Open(path, 'rb') as f:
    try:
      info = json.loads(f.read())
    except ValueError as e:
      raise errors.DatasetError(f'{path}: not JSON ({e})') from e
  if not isinstance(info, dict) or info.get('format') != dataset.FORMAT:
    return None
  settings = info.get('settings')
  return settings if isinstance(settings, dict) else {}


def _OfFolder(folder: str) -> str | None:
  settings = Settings(folder)
  if settings is None:
    return None
  normalizer = settings.get('normalizer', UNRECORDED)
  if normalizer is not None and not isinstance(normalizer, str):
    path = os.path.join(folder, 'dataset.json')
    raise errors.DatasetError(f'{path}: settings.normalizer = {normalizer!r}: expected the name of a normaliser')
  return normalizer


def Record(run: str, trained: Normalizers, is_resumed: bool) -> None:
  """Writes the normalisers of a run's training data into its folder.

  Args:
    run: Folder of the run.
    trained: What OfInput returned.
    is_resumed: Whether weights in the folder were trained before this start, whose normalisers then stay.
  """
  known = Recorded(run) or {}
  merged = Joined(known, trained) if is_resumed else trained
  if merged != known:
    WriteRecord(os.path.join(run, RECORD), merged)


def Joined(earlier: Normalizers, now: Normalizers) -> dict[str, dict[str, str]]:
  """Returns the normalisers of both; of one that both have, the folder of the later one."""
  return {stream: {**earlier.get(stream, {}), **now.get(stream, {})} for stream in (*earlier, *now)}


def WriteRecord(path: str, values: Mapping[str, Any]) -> None:
  """Writes JSON into a run's folder, all at once; several evaluation jobs may do so at the same time."""
  temporary = f'{path}.{uuid.uuid4().hex}.tmp'
  with files.Open(temporary, 'w') as f:
    f.write(json.dumps(values, indent=2) + '\n')
  files.Replace(temporary, path)


def Recorded(run: str) -> Normalizers | None:
  """Returns what Record wrote into a run's folder, None if it wrote nothing.

  Raises:
    errors.ConfigError: The file is damaged.
  """
  path = os.path.join(run, RECORD)
  if not files.Exists(path):
    return None
  with files.Open(path, 'rb') as f:
    try:
      return {stream: dict(names) for stream, names in json.loads(f.read()).items()}
    except (AttributeError, TypeError, ValueError) as e:
      raise errors.ConfigError(f'{path}: expected what a run wrote ({e}); remove the file') from e


def CheckComparable(name: str, tested: Normalizers, trained: Normalizers) -> None:
  """Refuses to score a data set with transcripts of two normalisers, or of another one than those trained on.

  Args:
    name: Name of the data set that is evaluated.
    tested: What OfInput returned for its input.
    trained: What OfInput returned for the training input; streams that are not trained on are not compared.

  Raises:
    errors.ConfigError: One line with the folders, the normalisers and what to do.
  """
  for stream, names in tested.items():
    _RaiseIfMixed(f'{name}: stream {stream}', names)
    if names and trained.get(stream):
      _RaiseIfMixed(f'{name}: training data of stream {stream}', trained[stream])
      _RaiseIfMixed(f'{name}: stream {stream} and its training data', {**trained[stream], **names})


def CheckResumed(run: str, trained: Normalizers, recorded: Normalizers) -> None:
  """Refuses to go on with a run on transcripts of a normaliser that it was not trained on before.

  Args:
    run: Folder of the run.
    trained: What OfInput returned for the training input of this start.
    recorded: What Recorded returned for the run; streams without a known normaliser are not compared.

  Raises:
    errors.ConfigError: One line with the folders, the normalisers and what to do.
  """
  for stream, names in trained.items():
    before = recorded.get(stream)
    for normalizer, folder in sorted(names.items()) if before else ():
      if normalizer not in before:
        known, there = min(before.items())
        raise errors.ConfigError(
          f'--logdir={run}: stream {stream} was trained on transcripts of the normaliser {known} ({there}); those of '
          f'{folder} are of {normalizer}: prepare them again, with --normalizer={known}, or start another run'
        )


def _RaiseIfMixed(where: str, names: Mapping[str, str]) -> None:
  if len(names) > 1:
    (first, there), (second, here) = sorted(names.items())[:2]
    raise errors.ConfigError(
      f'{where}: transcripts of two normalisers, {first} ({there}) and {second} ({here}), cannot be compared; prepare '
      f'one of them again, with --normalizer={first} or --normalizer={second}'
    )
