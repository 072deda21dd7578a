"""Labels the speech of a data set with a model's own transcripts, to train on: self-training on unlabeled speech.

  python -m tools.pseudo_label runs/adapted data/recipe/target --output=data/recipe/pseudo
  python -m tools.pseudo_label params/models/english data/mine/unlabeled --beam_size=8 --output=data/mine/pseudo

RUN is the folder of a run with a transducer or CTC head. DATASET is a folder that tools.prepare_data wrote; of its
training set, whatever transcripts it has, those utterances are kept whose transcript has a confidence of at least
--min_confidence. That is the share of its words that is expected to be right, if the run is calibrated
(`tools.evaluate RUN --datasets=DevTarget --calibrate`); without a calibration it is too high.

The output is a data set. A further training takes it as a branch beside the labels:

  trainer --model=asr.AdapterFinetune --gin.AdapterFinetune.pseudo=pseudo --gin.AdapterFinetune.pseudo_weight=1.0 ...

OUTPUT.jsonl has the transcripts that were kept, with their confidence. Exit code 0: done; 1: nothing was kept, or the
output cannot be written; 2: wrong usage, run or data set; 130: Ctrl-C.
"""

import argparse
import collections
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from fm_lingvo import errors
from fm_lingvo.config import user_modules
from fm_lingvo.data import dataset
from fm_lingvo.decoding import search_options
from fm_lingvo.inference import transcript as transcript_lib
from fm_lingvo.utils import audio
from fm_lingvo.utils import files as file_system
from fm_lingvo.utils import text_lines

from .common import command_line
from .common import exit_codes
from .common import run_flags
from .common import run_model
from .transcription import transcript_formats

_STATUS_UTTERANCES = 500  # Between two lines on the progress.


def _Records(found: dataset.Dataset) -> Iterator[dict[str, Any]]:
  """Yields the records of a data set's training set."""
  for shard in found.shards['train']:
    yield from dataset.ReadShard(os.path.join(found.path, shard.name))


def _Transcripts(args: argparse.Namespace, found: dataset.Dataset) -> Iterator[tuple[str, transcript_lib.Transcript]]:
  """Yields (id, Transcript) of the training set, and prints how far it is."""
  ids: list[str] = []

  def _Sounds() -> Iterator[tuple[np.ndarray, int]]:
    for record in _Records(found):
      ids.append(record['utt_id'])
      yield np.frombuffer(record['audio'], '<i2'), audio.SAMPLE_RATE

  total = found.Utterances('train')
  with run_model.Load(args, args.run) as model:
    for number, result in enumerate(model.transcribe(_Sounds()), 1):
      yield ids[number - 1], result
      if number % _STATUS_UTTERANCES == 0 or number == total:
        print(f'{number:,} of {total:,} utterances', flush=True)


def _Keep(args: argparse.Namespace, found: dataset.Dataset, path: str) -> str | None:
  """Writes the transcripts that are kept, and prints how many are, and why the others are not.

  Returns:
    The language of the transcripts, such as en, None if it is not known.

  Raises:
    errors.RunError: None is kept.
  """
  left_out: collections.Counter[str] = collections.Counter()
  kept, seconds, language = 0, 0.0, None
  with errors.Writing(path), file_system.Replacing(path) as f:
    for utt_id, result in _Transcripts(args, found):
      if why := transcript_formats.WhyNoLabel(result, args.min_confidence):
        left_out[why] += 1
        continue
      kept, seconds, language = kept + 1, seconds + result.duration, result.language
      f.write(
        text_lines.Json({'utt_id': utt_id, 'text': result.text, 'confidence': round(result.probability or 0.0, 4)})
        + '\n'
      )
  reasons = ', '.join(f'{count:,} {why}' for why, count in sorted(left_out.items()))
  line = (
    f'{kept:,} of {found.Utterances("train"):,} utterances kept, {seconds / 3600:.2f} h; left out: {reasons or "none"}'
  )
  if not kept:
    raise errors.RunError(f'{found.path}: {line}')
  print(line, flush=True)
  return language


def _Run(args: argparse.Namespace) -> None:
  from .prepare import importers
  from .prepare import pipeline  # Beam takes a second to import, and --help does not need it.

  if not 0 <= args.min_confidence <= 1:
    raise errors.ConfigError(f'--min_confidence={args.min_confidence:g}: expected a probability')
  found = dataset.ReadDataset(args.dataset)
  if not found.Utterances('train'):
    raise errors.ConfigError(f'{args.dataset}: its training set is empty')
  path = f'{args.output.rstrip("/")}.jsonl'
  options = importers.Options(input=args.dataset, own={'transcripts': path})
  pipeline.CheckedOutput(args.output.rstrip('/'), options, args.overwrite)
  language = _Keep(args, found, path)
  # Those of a model are normalised as its training transcripts were, as those of the data set are, if it has any.
  normalizer = found.settings.get('normalizer') or ('english' if language == 'en' else None)
  pipeline.PrepareData('dataset', args.output, options=options, overwrite=args.overwrite, normalizer=normalizer)


def Main(argv: list[str] | None = None) -> int:
  """Runs the tool; returns the exit code."""
  parser = command_line.Parser('pseudo_label', __doc__)
  parser.add_argument(
    'run', metavar='RUN', type=run_flags.RunFolder, help='folder of a run with a transducer or CTC head'
  )
  parser.add_argument('dataset', metavar='DATASET', type=file_system.ExpandUser, help='folder of a data set')
  parser.add_argument('--output', required=True, type=file_system.ExpandUser, help='folder of the new data set')
  parser.add_argument('--overwrite', action='store_true', help='replace the output')
  parser.add_argument(
    '--min_confidence', type=float, default=0.8, help='smallest confidence of a transcript (default: 0.8)'
  )
  run_flags.AddAdapter(parser)
  run_flags.AddWeights(parser)
  search_options.AddFlags(parser)
  user_modules.AddFlag(parser)
  args = parser.parse_args((argv or sys.argv)[1:])
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  return exit_codes.Report('pseudo_label', lambda: _Run(args))


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
