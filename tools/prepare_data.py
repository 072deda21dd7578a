"""Converts audio files to a data set, with Apache Beam: 16 kHz TFRecord shards, a manifest and a report.

  python -m tools.prepare_data --importer=folder --input=my_audio --output=data/mine
  python -m tools.prepare_data --importer=prompts --output=data/prompts
  python -m tools.prepare_data --importer=librispeech --input=LibriSpeech/dev-clean --output=data/dev-clean
  python -m tools.prepare_data --importer=librispeech --official_splits --output=data/librispeech/source \\
      --input=LibriSpeech/train-clean-100,LibriSpeech/dev-clean,LibriSpeech/test-clean
  python -m tools.prepare_data --importer=manifest --input=train.jsonl --output=gs://bucket/train \\
      --runner=DataflowRunner ...
  python -m tools.prepare_data --importer=synth --input=sentences.txt --output=data/synth
  python -m tools.prepare_data --importer=demo --output=data/demo
  python -m tools.prepare_data --import_module=my_importer.py --importer=radio --input=recordings --output=data/radio

Flags that --help does not list are passed to Beam (--runner and its options). fm_lingvo/data/dataset.py describes the
format of a data set, docs/transcripts.md that of its transcripts. Exit code 0: done; 1: no utterance was
accepted, or the disk failed; 2: wrong usage; 130: Ctrl-C; 143: SIGTERM.
"""

import argparse
import dataclasses
import logging
import math
import os
import sys

from absl import app
from absl import flags

from fm_lingvo import errors
from fm_lingvo.config import user_modules
from fm_lingvo.utils import files as file_system
from fm_lingvo.utils import suggest

from .common import exit_codes
from .common import interrupts
from .prepare import importers

_IMPORTER = flags.DEFINE_string(
  'importer',
  None,
  'Importer: one of those below, demo for the demo data (prompts and synth), or one that an installed package or '
  '--import_module adds.',
)
_INPUT = flags.DEFINE_string(
  'input', None, "The importer's source, see below: a file or folder, for most importers several, comma-separated."
)
_OUTPUT = flags.DEFINE_string(
  'output', None, 'Directory of the data set to write; it must not exist, except with --overwrite.'
)
_OVERWRITE = flags.DEFINE_bool('overwrite', False, 'Replace --output once the new data set is complete.')
_AUDIO_ROOTS = flags.DEFINE_list(
  'audio_roots',
  [],
  'Folders that a manifest or table may name audio in, in addition to its own; other paths are rejected. / allows '
  'every local file.',
)
_LANGUAGES = flags.DEFINE_list(
  'languages',
  [],
  'prompts, fillets and tuxpaint: languages to import (default: all). Others: the one language of texts that do not '
  'declare theirs, such as en, which determines how they are normalised.',
)
_ENGINES = flags.DEFINE_list(
  'engines', [], 'synth and general_speech: synthesisers to use (default: all that are installed).'
)
_VOICES_PER_LINE = flags.DEFINE_integer(
  'voices_per_line', 1, 'synth: number of voices that speak each line.', lower_bound=1
)
_MAX_UTTERANCES = flags.DEFINE_integer(
  'max_utterances',
  None,
  'Maximum number of utterances; for prompts, of each language. prompts, synth and general_speech only.',
  lower_bound=1,
)
_NORMALIZER = flags.DEFINE_string(
  'normalizer',
  None,
  'How transcripts are normalised: none, basic, english or prompts, see docs/transcripts.md (default: prompts for '
  'prompts, synth and general_speech; otherwise english if all transcripts are declared as English, else basic).',
)
_OFFICIAL_SPLITS = flags.DEFINE_bool(
  'official_splits',
  None,
  'Use the splits that the source has; with --noofficial_splits, or where it has none, a hash decides '
  '(default: true, but for librispeech).',
)
_SPLIT_BY = flags.DEFINE_string(
  'split_by',
  'recording',
  'What the hash is of: recording, or speaker, so that no known speaker is in two splits.',
)
_DEV_PERCENT = flags.DEFINE_float('dev_percent', 5.0, 'Percentage of the utterances in the dev set, chosen by a hash.')
_TEST_PERCENT = flags.DEFINE_float(
  'test_percent', None, 'Percentage of the utterances in the test set (default: 30 for prompts, otherwise 5).'
)
_HASH_FLAGS = ('dev_percent', 'test_percent', 'split_by')
_MIN_DURATION = flags.DEFINE_float('min_duration', 0.3, 'Shortest utterance in seconds.', lower_bound=0)
_MAX_DURATION = flags.DEFINE_float('max_duration', 30.0, 'Longest utterance in seconds.', lower_bound=0)
_CUT_UNLABELED = flags.DEFINE_bool(
  'cut_unlabeled',
  True,
  'Cut unlabeled recordings longer than --max_duration at quiet places instead of rejecting them.',
)
_SILENCE_DBFS = flags.DEFINE_float(
  'silence_dbfs', -55.0, 'An utterance whose loudest 100 ms is not above this is rejected as silent.'
)
_MIN_CHARS = flags.DEFINE_float(
  'min_chars_per_second',
  0.5,
  'Transcripts with fewer characters per second, in recordings of 5 s or more, are rejected as mislabelled.',
)
_MAX_CHARS = flags.DEFINE_float(
  'max_chars_per_second', 24.0, 'Transcripts with more characters per second are rejected as mislabelled.'
)
_REQUIRE_TEXT = flags.DEFINE_bool(
  'require_text',
  None,
  'Reject utterances without a transcript (default: true for general_speech, librispeech and synth).',
)
_NUM_SHARDS = flags.DEFINE_integer(
  'num_shards', 4, 'Shards of the train set; dev and test have a quarter as many.', lower_bound=1
)
flags.declare_key_flag(user_modules.FLAG)


def main(argv):
  # TensorFlow only writes records here: no GPU, and no log but errors.
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  os.environ.setdefault('CUDA_VISIBLE_DEVICES', '-1')
  logging.getLogger('apache_beam').setLevel(logging.WARNING)
  if not any('multi_processing' in arg for arg in argv):  # Beam would wait for its workers, which SIGTERM does not end.
    interrupts.Raise()  # SIGTERM, too, leaves no partial data set.
  return exit_codes.Report(
    'prepare_data', lambda: _Run(argv), f'interrupted; no partial data set is left at {_OUTPUT.value}'
  )


def _Run(argv):
  """Prepares the data set that the flags describe."""
  from .prepare import beam_runs  # Importing Beam takes a second, and --help does not need it.
  from .prepare import pipeline

  user_modules.Import(flags.FLAGS.import_module)
  if not _IMPORTER.value:
    unknown = [arg.lstrip('-').partition('=')[0] for arg in argv[1:]]  # Some may be options of the importer.
    if misspelt := suggest.Nearest('importer', unknown):
      raise exit_codes.UsageError(f'--{misspelt}: no such flag; did you mean importer?')
    raise exit_codes.UsageError(f'--importer is missing: expected one of {", ".join(importers.Names())}, demo')
  _CheckFlags(_IMPORTER.value)
  own, rest = _OwnOptions(_IMPORTER.value, argv[1:])
  beam_args = beam_runs.CheckFlags(rest, known=[*flags.FLAGS, *own])
  if not _OUTPUT.value:
    raise exit_codes.UsageError('--output is missing: the directory of the data set to write')
  if _IMPORTER.value == 'demo':
    from .prepare import demo_data

    demo_data.PrepareDemo(file_system.ExpandUser(_OUTPUT.value), overwrite=_OVERWRITE.value)
    return
  pipeline.PrepareData(
    _IMPORTER.value,
    file_system.ExpandUser(_OUTPUT.value),
    overwrite=_OVERWRITE.value,
    beam_args=beam_args,
    dev_percent=_DEV_PERCENT.value,
    test_percent=_TEST_PERCENT.value,
    num_shards=_NUM_SHARDS.value,
    require_text=_REQUIRE_TEXT.value,
    normalizer=_NORMALIZER.value,
    official_splits=_OFFICIAL_SPLITS.value,
    split_by=_SPLIT_BY.value,
    hash_flags=[name for name in _HASH_FLAGS if flags.FLAGS[name].present],
    options=importers.Options(
      input=_ExpandInput(_INPUT.value),
      languages=tuple(_LANGUAGES.value),
      engines=tuple(_ENGINES.value),
      voices_per_line=_VOICES_PER_LINE.value,
      max_utterances=_MAX_UTTERANCES.value,
      audio_roots=tuple(map(file_system.ExpandUser, _AUDIO_ROOTS.value)),
      own=own,
    ),
    limits=dict(
      min_duration=_MIN_DURATION.value,
      max_duration=_MAX_DURATION.value,
      cut_unlabeled=_CUT_UNLABELED.value,
      silence_dbfs=_SILENCE_DBFS.value,
      min_chars_per_second=_MIN_CHARS.value,
      max_chars_per_second=_MAX_CHARS.value,
    ),
  )


def _ParseFlags(argv):
  """Parses absl's flags; returns the others, which are passed to Beam."""
  if any(arg in ('--help', '-help', '-h') for arg in argv[1:]):
    mine = flags.FLAGS.find_module_defining_flag('importer')
    print(__doc__ + flags.FLAGS.module_help(mine) + '\n\n' + _ImportersHelp())
    sys.exit(0)
  try:
    return flags.FLAGS(argv, known_only=True)
  except flags.Error as e:
    print(f'prepare_data: {errors.OneLine(e)}', file=sys.stderr)
    sys.exit(2)


def _ExpandInput(value):
  """Returns --input with `~` expanded in each path, PATH or SPLIT=PATH; None stays None."""
  parts = [part.rpartition('=~') for part in (value or '').split(',')]
  expanded = [
    f'{split}={file_system.ExpandUser(f"~{path}")}' if found else file_system.ExpandUser(path)
    for split, found, path in parts
  ]
  return value and ','.join(expanded)


def _ImportersHelp():
  """Returns the part of --help about importers: what each one reads, and its own options."""
  lines = ['Importers:']
  for name in importers.BUILT_IN:
    module = importers.Module(name)
    lines.append(f'  {name}: {module.__doc__.partition(chr(10))[0]}')
    lines += [
      f'    --{option.name}: {option.help} (default: {option.default or "none"})'
      for option in importers.GetImporter(name).own_options
    ]
  return '\n'.join(lines)


def _OwnOptions(importer, args):
  """Returns ({name: value} of the importer's own options, the other arguments)."""
  own = () if importer == 'demo' else importers.GetImporter(importer).own_options
  parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
  for option in own:
    if option.name in flags.FLAGS or [other.name for other in own].count(option.name) > 1:  # The flag would take it.
      raise exit_codes.UsageError(f'--importer={importer}: its option {option.name}: this name is taken')
    parser.add_argument(f'--{option.name}', default=option.default)
  try:
    found, rest = parser.parse_known_args(args)
  except argparse.ArgumentError as e:
    raise exit_codes.UsageError(f'{e}') from e
  return vars(found), rest


def _CheckFlags(importer):
  """Raises UsageError for a flag that the importer (or demo) does not use, and for a number that is not finite."""
  options = {field.name for field in dataclasses.fields(importers.Options)}
  shared = () if importer == 'demo' else importers.GetImporter(importer).shared_options
  used = options.intersection(shared)
  for flag in flags.FLAGS.get_flags_for_module(flags.FLAGS.find_module_defining_flag('importer')):
    if isinstance(flag.value, float) and not math.isfinite(flag.value):
      raise exit_codes.UsageError(f'--{flag.name}={flag.value}: expected a finite number')
    if not flag.present or flag.name in used or flag.name in ('importer', 'output', 'overwrite'):
      continue
    if importer == 'demo':
      raise exit_codes.UsageError(f'--{flag.name}: not used by --importer=demo, expected only --output and --overwrite')
    if flag.name in _HASH_FLAGS and _OFFICIAL_SPLITS.value:
      raise exit_codes.UsageError(f'--{flag.name}: not used with --official_splits, which determines the splits')
    if flag.name in options:
      mine = ', '.join(f'--{name}' for name in shared if name in flags.FLAGS)
      raise exit_codes.UsageError(f'--{flag.name}: not used by --importer={importer}, which uses {mine}')


def Main():
  """Entry point."""
  app.run(main, flags_parser=_ParseFlags)


if __name__ == '__main__':
  Main()
