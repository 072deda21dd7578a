"""The recipe's data: human target and unlabeled speech, and synthetic source speech of general English text.

  python -m tools.recipe_data --output=data/recipe
  python -m tools.recipe_data --output=data/recipe_quick --quick

Makes three data sets below --output, or reuses those that are there and whole:
  target      English human prompts: what the recogniser is adapted to and tested on
  unlabeled   Spanish, French, Italian and Russian human prompts, for pretraining
  source      synthetic speech of general English text, without any sentence of the target: see
              importers/general_speech.py and general_text.py
Exit code 0: done; 1: nothing was accepted, or the disk failed; 2: something is missing, in one line; 130: Ctrl-C.
"""

import argparse
import os
import sys
import tempfile

from fm_lingvo.data import dataset
from fm_lingvo.utils import files as file_system

from ..common import exit_codes
from ..prepare import importers

NAMES = ('target', 'unlabeled', 'source')
TARGET_LANGUAGES = ('en',)
UNLABELED_LANGUAGES = ('es', 'fr', 'it', 'ru')

_MAX_SOURCE_SECONDS = 12.5
_QUICK_PROMPTS = 120  # Per language.
_QUICK_LINES = 110
_QUICK_ENGINES = ('flite', 'espeak-ng')
# Where apt has no network, quick data sets stand in: disjoint parts of the project's own sentences.
_STAND_IN_LINES = {'target': 90, 'unlabeled': 110}


def PrepareRecipe(output, quick=False):
  """Makes output/target, output/unlabeled and output/source, or reuses them where they are whole.

  Args:
    output: directory of the three data sets.
    quick: tiny data sets; human speech is replaced by synthetic speech where apt cannot fetch it.

  Returns:
    {name: dataset.Dataset} for the three NAMES.

  Raises:
    exit_codes.UsageError: no human prompts (unless quick), or no synthesiser.
  """
  made = {}
  for name, languages in (('target', TARGET_LANGUAGES), ('unlabeled', UNLABELED_LANGUAGES)):
    options = importers.Options(languages=languages, max_utterances=_QUICK_PROMPTS if quick else None)
    made[name] = _Reuse(output, name)
    if made[name] is not None:
      continue
    try:
      made[name] = _Make(output, name, 'prompts', options)
    except exit_codes.UsageError as e:
      if not quick:
        raise
      print(f'recipe data: no human prompts, so {name} is synthetic: {e}')
      made[name] = _MakeStandIn(output, name)
  made['source'] = _Reuse(output, 'source') or _MakeSource(output, made['target'], quick)
  for name in NAMES:
    _Describe(name, made[name])
  return made


def _MakeSource(output, target, quick):
  options = importers.Options(
    exclude=tuple(sorted({row['text'] for row in dataset.ReadManifest(target.path)} - {''})),
    engines=_QuickEngines() if quick else (),
    max_utterances=_QUICK_LINES if quick else None,
  )
  # A quick set is too small for 2 %: its dev and test sets must not be empty.
  shares = dict(dev_percent=10.0, test_percent=10.0) if quick else dict(dev_percent=2.0, test_percent=3.0)
  return _Make(
    output,
    'source',
    'general_speech',
    options,
    num_shards=4 if quick else 8,
    require_text=True,
    limits={'max_duration': _MAX_SOURCE_SECONDS},
    **shares,
  )


def _QuickEngines():
  """The fast engines, of those that can be had here; all engines where none of them can."""
  from ..speech_synthesis import speech_engines

  return tuple(name for name in _QUICK_ENGINES if speech_engines.WhyMissing(name) is None)


def _MakeStandIn(output, name):
  from ..speech_synthesis import synth

  lines = sorted(synth.ReadText(synth.DEFAULT_TEXT), key=lambda line: importers.Uniform(line, 'stand-in'))
  start = 0
  for other, count in _STAND_IN_LINES.items():
    if other == name:
      break
    start += count
  with tempfile.NamedTemporaryFile('w', suffix='.txt', encoding='utf-8') as f:
    f.writelines(line + '\n' for line in lines[start : start + _STAND_IN_LINES[name]])
    f.flush()
    options = importers.Options(input=f.name, engines=_QuickEngines())
    return _Make(output, name, 'general_speech', options, test_percent=30.0)


def _Make(output, name, importer, options, **kwargs):
  # Beam takes a second to import: --help need not wait.
  from ..prepare import pipeline

  path = os.path.join(output, name)
  try:
    made, _ = pipeline.PrepareData(importer, path, options=options, overwrite=file_system.Exists(path), **kwargs)
    return made
  except exit_codes.UsageError:
    found = _Reuse(output, name)  # Two runs at the same time: the first to end has made it.
    if found is None:
      raise
    return found


def _Reuse(output, name):
  """The data set, or None if it is not there or not whole."""
  path = os.path.join(output, name)
  try:
    found = dataset.ReadDataset(path)
  except dataset.DatasetError as e:
    if file_system.Exists(path):
      print(f'{e}; it is made anew')
    return None
  print(f'{path}: reused')
  return found


def _Describe(name, data):
  voices = len({row['speaker'] for row in dataset.ReadManifest(data.path)})
  splits = ', '.join(f'{split} {data.Utterances(split)}' for split in dataset.SPLITS)
  print(
    f'{name}: {sum(data.hours.values()):.2f} h, {splits} utterances, {voices} voices, '
    f'domains {", ".join(data.domains)}',
    flush=True,
  )


def Main(argv):
  """Makes the data sets that the arguments ask for; returns the exit code."""
  parser = argparse.ArgumentParser(
    prog='recipe_data', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument(
    '--output',
    type=file_system.ExpandUser,
    default='data/recipe',
    help='directory of the three data sets (default: data/recipe)',
  )
  parser.add_argument(
    '--quick', action='store_true', help='make tiny data sets of the same kinds, in less than a minute'
  )
  args = parser.parse_args(argv[1:])
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  os.environ.setdefault('CUDA_VISIBLE_DEVICES', '-1')

  def Run():
    PrepareRecipe(args.output.rstrip('/'), quick=args.quick)

  return exit_codes.Report('recipe_data', Run, 'interrupted; data sets that are whole are kept')


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
