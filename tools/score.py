"""Scores hypotheses against references: WER and CER with counts and intervals, and whether one system beats another.

  python -m tools.score runs/adapted/hypotheses/TestTarget.jsonl
  python -m tools.score runs/ctc/hypotheses/TestTarget.jsonl --branch=labeled,ctc
  python -m tools.score ref.trn hyp.trn --by=speaker --worst=10
  python -m tools.score ref.stm system_a.ctm system_b.ctm --costs=sclite
  python -m tools.score manifest.jsonl transcripts.json --normalizer=english --basename --format=json

REF, HYP and HYP2 are files with an utterance a line. The extension says the format: .trn, .stm, .ctm, and .jsonl or
.json (hypotheses of a run: utt_id, reference, hypothesis; NeMo's manifests: audio_filepath, text, pred_text; JSON of
tools.transcribe), .csv and .tsv (tables whose first line names their columns by the same keys). Other files are text,
`ID TEXT`, if all lines begin with a different word that has a digit, _ or /, or have a tab; else plain lines, which are
matched by their number. The first lines of the output say what each was read as. REF may be left out where files are
JSON lines or tables with references and hypotheses; two of these are two systems.
Utterances are matched by id. One that a file lacks is an error; --ignore_missing leaves it out and says so. Words of
CTM are split into the segments of an STM reference, as sclite does.
With HYP2, systems A (HYP) and B (HYP2) are compared by a paired bootstrap and by MAPSSWE, NIST's matched pairs test.
Exit code 0: scored; 1: a file cannot be read; 2: wrong usage or a malformed file.
"""

import dataclasses
import json
import sys

from fm_lingvo import errors
from fm_lingvo.data import normalizers
from fm_lingvo.evaluation import alignment
from fm_lingvo.evaluation import scoring
from fm_lingvo.evaluation import significance
from fm_lingvo.utils import files as file_system

from .common import command_line
from .common import exit_codes
from .scoring import matching
from .scoring import report
from .scoring import speakers as speakers_lib
from .scoring import transcript_files


def _Files(args):
  """Returns (Transcripts of the references, list of Transcripts of each system)."""
  for path in args.files:
    transcript_files.CheckExists(path)
  both = [transcript_files.HasBoth(path, args.hyp_format) for path in args.files]
  reference, systems = args.files[0], args.files[1:]
  branches = args.branch.split(',') if args.branch else ['']
  if len(branches) > 2 or len(branches) == 2 and (len(args.files) > 1 or not both[0]):
    raise errors.ConfigError(f'--branch={args.branch}: expected one branch, or two of one file with references')
  if len(branches) == 2:
    systems = args.files * 2
  elif len(args.files) < 3 and all(both):
    systems = args.files
  elif not systems:
    raise errors.ConfigError(f'{reference}: expected HYP too, or JSON lines with references and hypotheses')
  own = systems[0] is reference
  ref_format = args.hyp_format if own else args.ref_format
  branches = (branches * 2)[:2]
  references = transcript_files.Read(reference, 'reference', ref_format, branches[0] if own else '')
  if own and len(systems) == 2:
    _CheckSame(references, transcript_files.Read(systems[1], 'reference', ref_format, branches[1]))
  return references, [
    transcript_files.Read(path, 'hypothesis', args.hyp_format, branch) for path, branch in zip(systems, branches)
  ]


def _CheckSame(a, b):
  """Raises ConfigError if two files have different references."""
  for utt_id, text in a.texts.items():
    if b.texts.get(utt_id, text) != text:
      raise errors.ConfigError(
        f'{a.path} and {b.path}: different references for {utt_id}; name the right ones: REF HYP HYP2'
      )


def _Run(args):
  """Scores and prints."""
  if args.worst < 0:
    raise errors.ConfigError(f'--worst={args.worst}: expected >= 0')
  if args.language and args.normalizer == 'none':
    raise errors.ConfigError(f'--language={args.language}: not used without --normalizer, such as --normalizer=basic')
  reference, systems = _Files(args)
  options = matching.Options(
    args.ignore_missing, args.by_recording, args.basename, args.normalizer, args.language or None
  )
  speakers = speakers_lib.Read(args.speakers) if args.speakers else None
  matched = matching.Match(reference, systems, options, speakers)
  if args.by == 'speaker' and not any(matched.speakers.get(i) for i in matched.references):
    raise errors.ConfigError(
      '--by=speaker: no speakers are known; --speakers=FILE names them, such as DATA_SET/manifest.jsonl'
    )
  results = [
    scoring.Score(matched.references, texts, matched.speakers, args.costs, args.resample)
    for texts in matched.hypotheses
  ]
  comparison = significance.Compare(*results) if len(results) == 2 else None
  shown = report.Shown(args.worst, args.by == 'speaker')
  names = [t.path + (t.branch and f', {t.branch}') for t in systems]
  labels = [f'{label} ({name})' for label, name in zip('AB', names)] if comparison else names
  if args.format == 'json':
    row = dict(
      reference=_Describe(reference),
      costs=args.costs,
      normalizer=args.normalizer,
      notes=matched.notes,
      systems=[dict(_Describe(t), **report.Json(r, shown)) for t, r in zip(systems, results)],
    )
    if comparison:
      row['comparison'] = dataclasses.asdict(comparison)
    print(json.dumps(row, ensure_ascii=False, indent=1))
    return
  for t, name in zip((reference, *systems), ('references', *labels)):
    print(f'{name}: {t.path}, read as {t.format}' if name == 'references' else f'{name}: read as {t.format}')
  print(f'costs: {args.costs}; normalizer: {args.normalizer}')
  for note in matched.notes:
    print(f'note: {note}')
  for label, result in zip(labels, results):
    print(f'\n{label}\n{report.Text(result, shown)}')
  if comparison:
    print(f'\n{report.ComparisonText(comparison)}')


def _Describe(transcripts):
  return dict(path=transcripts.path, format=transcripts.format)


def Main(argv: list[str] | None = None) -> int:
  """Runs the tool; returns the exit code."""
  parser = command_line.Parser('score', __doc__)
  parser.add_argument(
    'files', nargs='+', metavar='FILE', type=file_system.ExpandUser, help='[REF] HYP [HYP2], see above'
  )
  formats = ('auto', *transcript_files.FORMATS)
  parser.add_argument('--ref_format', choices=formats, default='auto', help='format of REF (default: auto)')
  parser.add_argument('--hyp_format', choices=formats, default='auto', help='format of HYP and HYP2 (default: auto)')
  parser.add_argument(
    '--branch',
    default='',
    metavar='A[,B]',
    help='branch whose hypotheses count, in files of a run with several that decode; two of one file are two systems',
  )
  parser.add_argument(
    '--normalizer', default='none', help=f'{", ".join(normalizers.NAMES)}; of all texts (default: none)'
  )
  parser.add_argument('--language', default='', help='language of texts without one, such as en, for the normaliser')
  parser.add_argument(
    '--costs',
    choices=alignment.COSTS,
    default='levenshtein',
    help='alignment: as few errors as possible, as jiwer (default), or as NIST sclite: 4 a substitution, 3 the others',
  )
  parser.add_argument('--ignore_missing', action='store_true', help='leave out, and name, ids that a file lacks')
  parser.add_argument('--basename', action='store_true', help='match ids without folders and the extension of audio')
  parser.add_argument('--by_recording', action='store_true', help='join the segments of each recording in STM files')
  parser.add_argument(
    '--speakers',
    type=file_system.ExpandUser,
    metavar='FILE',
    help="lines ID SPEAKER, or a data set's manifest.jsonl, instead of the files' own speakers",
  )
  parser.add_argument('--by', choices=('speaker',), help='add a table with a line for each speaker')
  parser.add_argument(
    '--resample',
    choices=scoring.RESAMPLE,
    default='speakers',
    help='what the bootstrap draws: speakers where known (default), or always utterances',
  )
  parser.add_argument('--worst', type=int, default=0, metavar='N', help='show the N utterances with the most errors')
  parser.add_argument('--format', choices=('text', 'json'), default='text', help='form of the output (default: text)')
  args = parser.parse_args((argv or sys.argv)[1:])
  if len(args.files) > 3:
    parser.error(f'{len(args.files)} files: expected [REF] HYP [HYP2]')
  return exit_codes.Report('score', lambda: _Run(args))


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
