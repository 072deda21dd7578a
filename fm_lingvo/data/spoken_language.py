"""Which language a run's transcripts are in: `settings.language` of its data sets' dataset.json, kept in its folder.

Data preparation writes it where all texts of a data set are in one language (`lang`, `--languages`, or that of the
corpus). A run records that of its training data, which may be elsewhere when it is used.
"""

import json
import os
from collections.abc import Iterable
from typing import Any

from fm_lingvo import errors
from fm_lingvo.data import normalizers
from fm_lingvo.data import transcripts
from fm_lingvo.utils import files

RECORD = 'language.json'  # In a run's folder: stream -> code, such as {"labeled": "en"}.


def OfInput(p: Any) -> dict[str, str]:
  """Returns stream -> language, for the labelled streams of an input all of whose transcripts are known to be in one.

  Args:
    p: Params of an input.

  Raises:
    errors.ConfigError, errors.DatasetError: A dataset.json is damaged.
  """
  found = {}
  for name, folders in transcripts.LabeledFolders(p).items():
    settings = {folder: transcripts.Settings(folder) for folder in folders}
    # normalizer = null: a data set without transcripts.
    languages = {
      folder: (s or {}).get('language') for folder, s in settings.items() if (s or {}).get('normalizer', '') is not None
    }
    first, language = next(iter(languages.items()), ('', None))
    if language and all(other == language for other in languages.values()):
      found[name] = normalizers.CheckLanguage(language, f'{first}/dataset.json: settings.language')
  return found


def Record(run: str, languages: dict[str, str], trained: Iterable[str], earlier: Iterable[str]) -> None:
  """Writes the languages of a run's training data into its folder.

  A stream has one if it had the same in every start that trained on it.

  Args:
    run: Folder of the run.
    languages: What OfInput returned.
    trained: Labelled streams of this start.
    earlier: Those that weights in the folder were trained on before this start.
  """
  known = _Read(run)
  kept = {stream: known[stream] for stream in earlier if stream in known}
  merged = {
    **{stream: code for stream, code in kept.items() if stream not in trained},
    **{s: code for s, code in languages.items() if s not in earlier or kept.get(s) == code},
  }
  if merged != known:
    transcripts.WriteRecord(os.path.join(run, RECORD), merged)


def Recorded(run: str, stream: str) -> str | None:
  """Returns the language of a run's stream, None if it is not known.

  Raises:
    errors.ConfigError: The file is damaged.
  """
  return _Read(run).get(stream)


def _Read(run: str) -> dict[str, str]:
  path = os.path.join(run, RECORD)
  if not files.Exists(path):
    return {}
  with files.Open(path, 'rb') as f:
    try:
      return {stream: normalizers.CheckLanguage(code, stream) for stream, code in json.loads(f.read()).items()}
    except (AttributeError, ValueError) as e:  # A ConfigError is a ValueError.
      raise errors.ConfigError(f'{path}: expected what a run wrote, stream -> language ({errors.OneLine(e)})') from e
