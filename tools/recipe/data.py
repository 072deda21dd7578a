"""The recipe's data: source, target and unlabeled speech; human speech of the user's corpora where there is some.

  python -m tools.recipe_data --output=data/recipe --corpora=CORPORA
  python -m tools.recipe_data --output=data/recipe_quick --quick

Makes these data sets below --output, or reuses those that are complete:
  source        labeled speech: the corpora of --corpora, or else synthetic speech of general English text
  target        acted dialogue out of three games (importer games), whose domain the recogniser is adapted to
  target_an4    a second target, AN4, if --corpora has a folder an4
  unlabeled, unlabeled_*   for pretraining: prompts in five languages, fillets, tuxpaint, corpora without transcripts
With --quick all are tiny: the target is English prompts, the others are synthetic speech and prompts.

A folder in --corpora is a corpus: it has a manifest.jsonl as in NeMo, with official splits, or LibriSpeech's layout;
a folder of another form is refused.
Exit code 0: done; 1: nothing was accepted, or the disk failed; 2: something is missing, in one line; 130: Ctrl-C.
"""

import os
import tempfile

from fm_lingvo.data import dataset
from fm_lingvo.utils import files as file_system

from ..common import command_line
from ..common import exit_codes
from ..common import flag_types
from ..prepare import importers
from ..prepare import reuse
from . import corpora as corpora_lib

NAMES = ('target', 'unlabeled', 'source')  # These are always there.
LANGUAGES = ('en', 'es', 'fr', 'it', 'ru')
# Debian packages of unlabeled speech, by the importer that reads them.
_UNLABELED = ('fillets', 'tuxpaint')
_SECOND_TARGET = 'an4'  # Folder of --corpora.
_NORMALIZER = 'english'  # Of all transcripts, so that error rates can be compared.

_MAX_SYNTHETIC_SECONDS = 12.5
_QUICK_PROMPTS = 120  # Per language.
_QUICK_LINES = 110
_QUICK_ENGINES = ('flite', 'espeak-ng')
# Where apt has no network, quick data sets stand in: disjoint parts of the project's own sentences.
_STAND_IN_LINES = {'target': 90, 'unlabeled': 110}


def PrepareRecipe(output, quick=False, corpora=''):
  """Makes the data sets, or reuses those that are complete.

  Args:
    output: Directory of the data sets.
    quick: Tiny data sets; human speech is replaced by synthetic speech where apt cannot fetch it.
    corpora: Folder with human corpora, '' for none.

  Returns:
    {name: dataset.Dataset}, NAMES and others.

  Raises:
    exit_codes.UsageError: Packages cannot be fetched (unless quick), no synthesiser is installed, or `corpora` has no
      corpus with transcripts, or a folder that is no corpus.
  """
  labeled, unlabeled = corpora_lib.Find(corpora) if corpora else ({}, {})
  if corpora and not set(labeled) - {_SECOND_TARGET}:
    raise exit_codes.UsageError(
      f'--corpora={corpora}: no corpus with transcripts; expected folders, each with {corpora_lib.FORMS}'
    )
  made = _Quick(output) if quick else _Targets(output)
  if _SECOND_TARGET in labeled:
    name, path = f'target_{_SECOND_TARGET}', labeled.pop(_SECOND_TARGET)
    made[name] = _Get(output, name, *_Corpus([path]))
  for name, path in unlabeled.items():
    made[f'unlabeled_{name}'] = _Get(output, f'unlabeled_{name}', *_Corpus([path]))
  if labeled:
    made['source'] = _Get(output, 'source', *_Corpus(list(labeled.values())))
  else:
    made['source'] = reuse.Find(os.path.join(output, 'source')) or _Synthetic(output, made['target'], quick)
  for name, data in made.items():
    _Describe(name, data)
  return made


def _Corpus(paths):
  """Returns (importer, options, further arguments of PrepareData) for corpora of one kind.

  Raises:
    exit_codes.UsageError: Some have a manifest and others LibriSpeech's layout.
  """
  kinds = {'manifest' if path.endswith('.jsonl') else 'librispeech' for path in paths}
  if len(kinds) > 1:
    raise exit_codes.UsageError(
      f"--corpora: manifests and LibriSpeech's layout together, {', '.join(paths)}; expected one kind"
    )
  options = importers.Options(input=','.join(paths))
  return kinds.pop(), options, dict(normalizer=_NORMALIZER, official_splits=True, num_shards=8)


def _Targets(output):
  """Makes the target and the unlabeled data sets out of Debian's packages."""
  made = {'target': _Get(output, 'target', 'games', importers.Options(), dict(normalizer=_NORMALIZER, num_shards=8))}
  made['unlabeled'] = _Get(output, 'unlabeled', 'prompts', importers.Options(languages=LANGUAGES))
  for name in _UNLABELED:
    made[f'unlabeled_{name}'] = _Get(output, f'unlabeled_{name}', name, importers.Options())
  return made


def _Quick(output):
  """Makes tiny targets and unlabeled data sets: prompts, or synthetic speech where apt cannot fetch them."""
  made = {}
  for name, languages in (('target', LANGUAGES[:1]), ('unlabeled', LANGUAGES[1:])):
    options = importers.Options(languages=languages, max_utterances=_QUICK_PROMPTS)
    try:
      made[name] = _Get(output, name, 'prompts', options)
    except exit_codes.UsageError as e:
      print(f'recipe data: no human prompts, so {name} is synthetic: {e}')
      made[name] = _MakeStandIn(output, name)
  return made


def _Synthetic(output, target, quick):
  options = importers.Options(
    exclude=tuple(sorted({row['text'] for row in dataset.ReadManifest(target.path)} - {''})),
    engines=_QuickEngines() if quick else (),
    max_utterances=_QUICK_LINES if quick else None,
  )
  # A quick set is too small for 2 %: its dev and test sets must not be empty.
  shares = dict(dev_percent=10.0, test_percent=10.0) if quick else dict(dev_percent=2.0, test_percent=3.0)
  return reuse.Get(
    os.path.join(output, 'source'),
    'general_speech',
    options=options,
    num_shards=4 if quick else 8,
    require_text=True,
    normalizer='prompts' if quick else _NORMALIZER,
    limits={'max_duration': _MAX_SYNTHETIC_SECONDS},
    **shares,
  )


def _QuickEngines():
  """Returns the fast engines that are installed or can be fetched; none of them means all engines."""
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
    return reuse.Get(os.path.join(output, name), 'general_speech', options=options, test_percent=30.0)


def _Get(output, name, importer, options, arguments=None):
  """Returns a data set, made with these arguments of PrepareData unless a complete one is there."""
  return reuse.Get(os.path.join(output, name), importer, options=options, **(arguments or {}))


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
  parser = command_line.Parser('recipe_data', __doc__)
  parser.add_argument(
    '--output',
    type=flag_types.LocalPath,
    default='data/recipe',
    help='directory of the data sets (default: data/recipe)',
  )
  parser.add_argument(
    '--corpora',
    type=file_system.ExpandUser,
    default='',
    help='folder with human corpora (default: none, a synthetic source)',
  )
  parser.add_argument(
    '--quick', action='store_true', help='make tiny data sets of the same kinds, in less than a minute'
  )
  args = parser.parse_args(argv[1:])
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  os.environ.setdefault('CUDA_VISIBLE_DEVICES', '-1')

  def Run():
    PrepareRecipe(args.output.rstrip('/'), quick=args.quick, corpora=args.corpora)

  return exit_codes.Report('recipe_data', Run, 'interrupted; data sets that are complete are kept')
