"""The data of a run that starts: whether it is there, and the demo's, which a run prepares itself."""

import os
import subprocess
import sys

from fm_lingvo import errors
from fm_lingvo.checkpoints import run_checkpoints
from fm_lingvo.data import hydra_input
from fm_lingvo.data import spoken_language
from fm_lingvo.data import transcripts
from fm_lingvo.data import unknown_characters

DEMO_DATA = 'data/demo'
_UNKNOWN_TOLD, _MOST_UNKNOWN = 0.01, 0.5  # Shares of characters that a tokenizer does not know.


def RaiseIfMissing(name, params):
  """Raises ConfigError if the streams of data set `name`, with model Params, have no records."""
  missing = hydra_input.MissingData(params.input)
  if missing:
    lacking = '; '.join(f'{name}/input.{path}: no record in files like {pattern}' for path, pattern in missing)
    raise errors.ConfigError(f'{lacking}; prepare data (docs/data.md), or name their folder by the knob data_dir')


def IsMissingDemo(params):
  """Whether records are missing, and all that are belong to the demo."""
  missing = hydra_input.MissingData(params.input)
  return bool(missing) and all(pattern.startswith(DEMO_DATA + os.sep) for _, pattern in missing)


def PrepareDemo(params):
  """Prepares the demo data set if the run with model Params reads it and it does not exist yet."""
  if IsMissingDemo(params):
    print(f'preparing the demo data in {DEMO_DATA} (once)', flush=True)
    result = subprocess.run(
      [sys.executable, '-m', 'fm_lingvo.tools.prepare_data', '--importer=demo', f'--output={DEMO_DATA}'], check=False
    )
    if result.returncode:
      raise errors.ConfigError(f'{DEMO_DATA}: preparing it failed, exit code {result.returncode}')


def Evaluated(manager, names):
  """Returns dict: data set -> model Params of a RunnerManager, for those that have data; prints the others."""
  params = {}
  for name in names:
    p = manager.GetParamsForDataset('evaler', name)
    missing = hydra_input.MissingRecords(p.input)
    if missing:
      print(f'{name}: not evaluated, {missing}', flush=True)
    else:
      params[name] = p
  return params


def CheckTranscripts(train, evaluated, logdir):
  """Raises ConfigError if transcripts of two normalisers meet: in training, also in earlier starts, or in a data set.

  Args:
    train: Model Params with the training input.
    evaluated: dict: data set -> model Params.
    logdir: Folder of the run; '': a new one.
  """
  trained = transcripts.OfInput(train.input)
  if _IsBegun(logdir):
    recorded = transcripts.Recorded(logdir) or {}
    transcripts.CheckResumed(logdir, trained, recorded)
    trained = transcripts.Joined(recorded, trained)
  for name, p in evaluated.items():
    transcripts.CheckComparable(name, transcripts.OfInput(p.input), trained)


def CheckCharacters(train):
  """Prints a line for each data set of model Params with many characters that the tokenizer does not know.

  Raises:
    errors.ConfigError: The tokenizer knows less than half of a data set's characters: it is of another script.
  """
  for found in unknown_characters.OfInput(train.input):
    if found.share > _MOST_UNKNOWN:
      raise errors.ConfigError(found.line)
    if found.share > _UNKNOWN_TOLD:
      print(found.line, flush=True)


def RecordTranscripts(train_input, logdir):
  """Writes normalisers and languages of the training data, Params of an input, into a run's folder.

  What earlier starts recorded counts only if the run has a checkpoint: else nothing has been trained on it.
  """
  trained, is_resumed = transcripts.OfInput(train_input), _IsBegun(logdir)
  earlier = (transcripts.Recorded(logdir) or {}) if is_resumed else {}
  spoken_language.Record(logdir, spoken_language.OfInput(train_input), trained, earlier)
  transcripts.Record(logdir, trained, is_resumed)


def _IsBegun(logdir):
  return bool(logdir and run_checkpoints.Newest(os.path.join(logdir, 'train')))
