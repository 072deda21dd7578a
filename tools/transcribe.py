"""Transcribes recordings with a trained run, or with the English model that the project ships.

  python -m tools.transcribe talk.mp3
  python -m tools.transcribe runs/AdapterFinetune-... talk.mp3 prompts/ --adapter=target
  cat call.wav | python -m tools.transcribe RUN - --format=json
  arecord -f S16_LE -r 16000 -t raw | python -m tools.transcribe RUN --stream - --rate=16000
  python -m tools.transcribe RUN talk.mp3 --format=srt --output=talk.srt
  python -m tools.transcribe RUN calls/ --beam_size=8 --hotwords=names.txt --format=ctm --output=calls.ctm
  python -m tools.transcribe RUN unlabeled/ --format=manifest --min_confidence=0.8 --output=pseudo.jsonl

RUN is the folder of a run with a transducer or CTC head; without it params/models/english recognises.
AUDIO is a file of any format and sampling rate that FFmpeg supports, a folder (all audio files below it) or - for
standard input. Recordings longer than the run's max_seconds are recognised in windows, which are cut at quiet places
and overlap by 2 s (by a quarter of a window, if that is less). The channels of a recording are mixed. Where a recording
is damaged, silence stands in place of what cannot be decoded, so that times stay right; standard error says how much.
--output is a file for all transcripts or, if it is a folder or ends with /, a folder with a file for each recording.
With --resume, recordings whose file is in that folder are left out.
--format=manifest writes what `tools.prepare_data --importer=manifest` reads, with `confidence`, the share of the words
that is expected to be right (`tools.evaluate --calibrate`); recordings below --min_confidence, without text, or longer
than a window are left out and counted. JSON and CTM have the probability of each word. --hotwords=FILE names phrases to
prefer, --lm=FILE a language model.
Existing files are overwritten only once the run is loaded and a recording is read; a text file beside its recording,
which may be what was said, never.
Times are those of the encoded frames (of 40 or 80 ms) at which the model emitted the labels, slightly later than the
sound.
--stream recognises a recording while it is heard, with a run that was trained for it (the knob streaming). Standard
input is WAV, or with --rate raw samples of 16 bits, little-endian, one channel. A text is final after a pause of
--endpoint_seconds; on a terminal the last line is the text so far. --format=json writes each event as a line. Ctrl-C
ends the stream with its last text and exit code 0. Standard error tells the latency and the real-time factor.
Exit code 0: all done; 1: some recordings could not be read, each with a one-line message, or the transcripts cannot be
written; 2: wrong usage, run or checkpoint; 130: Ctrl-C.
"""

import collections
import dataclasses
import math
import os
import sys
import time

from fm_lingvo import errors
from fm_lingvo.config import user_modules
from fm_lingvo.decoding import search_options
from fm_lingvo.inference import api
from fm_lingvo.utils import files as file_system

from .common import command_line
from .common import exit_codes
from .common import flag_types
from .common import recordings as recordings_lib
from .common import run_flags
from .common import run_model
from .transcription import live_transcripts
from .transcription import transcript_formats
from .transcription import transcript_output

# Flags without a meaning for --stream, and their defaults.
_NOT_STREAMED = {'n_best': 1, 'min_confidence': 0.0, 'output': None, 'resume': False, 'window_seconds': None}
_STATUS_SECONDS = 1.0  # Between two lines on the progress.


def _PrintStatus(line):
  print(f'transcribe: {errors.OneLine(file_system.Printable(line))}', file=sys.stderr, flush=True)


def _CheckArgs(args):
  """Raises ConfigError where flags contradict each other or the recordings."""
  if args.window_seconds is not None and not 2 <= args.window_seconds < math.inf:
    raise errors.ConfigError(f'--window_seconds={args.window_seconds:g}: expected >= 2 and finite')
  if not args.max_hours > 0:
    raise errors.ConfigError(f'--max_hours={args.max_hours:g}: expected > 0')
  live_transcripts.CheckArgs(args, _NOT_STREAMED)
  if args.audio.count(recordings_lib.STDIN) > 1:
    raise errors.ConfigError(f'{recordings_lib.STDIN}: given twice; standard input is one recording')
  if args.format == 'manifest' and recordings_lib.STDIN in args.audio:
    raise errors.ConfigError(f'--format=manifest: {recordings_lib.STDIN} is no file that a manifest can name')
  if args.min_confidence and args.format != 'manifest' or not 0 <= args.min_confidence <= 1:
    raise errors.ConfigError(
      f'--min_confidence={args.min_confidence:g}: expected a probability, with --format=manifest only'
    )


def _Run(args):
  """Transcribes the recordings that the arguments name; returns the exit code."""
  args.run, args.audio = recordings_lib.SplitRun([*filter(None, [args.run]), *args.audio])
  _CheckArgs(args)
  notes = []
  recordings, missing = recordings_lib.Find(args.audio, notes.append)
  for name, why in missing:
    _PrintStatus(f'{name}: {why}')
  # Report a wrong output or run before minutes of decoding.
  output = transcript_output.Output(args.output, args.format, recordings, args.resume)
  wanted = output.Left()
  if len(wanted) < len(recordings):
    notes.append(f'{len(recordings) - len(wanted)} of {len(recordings)} recordings have a transcript')
  if not wanted:
    for line in notes:
      _PrintStatus(line)
    return _Close(len(missing), len(missing))
  options = dict(n_best=args.n_best, max_window=args.window_seconds, language=args.language)
  with run_model.Load(args, args.run, **options) as model:
    for line in notes:
      _PrintStatus(line)
    if args.stream:
      return live_transcripts.Run(model, args, _PrintStatus)
    started = time.time()
    failed, seconds = _Transcribe(model, args, {n: recordings[n][0] for n in wanted}, output)
  effort = f', {seconds:.1f} s of audio in {time.time() - started:.1f} s'
  return _Close(len(missing) + failed, len(missing) + len(wanted), effort)


def _Transcribe(model, args, recordings, output):
  """Writes the transcripts of recordings; returns how many failed, and the seconds of sound of the others.

  Args:
    model: A Model.
    args: The flags.
    recordings: dict: index of a recording among those of `output` -> its path.
    output: transcript_output.Output.
  """
  failed, seconds, started = 0, 0.0, time.time()
  told = started
  left_out: collections.Counter[str] = collections.Counter()  # Of a manifest, by why.
  sounds = (sys.stdin.buffer if path == recordings_lib.STDIN else path for path in recordings.values())
  results = model.transcribe(sounds, max_hours=args.max_hours, on_error='return')
  for done, ((number, path), result) in enumerate(zip(recordings.items(), results, strict=True), 1):
    if isinstance(result, errors.AudioError):
      failed += 1
      _PrintStatus(f'{path}: {result.reason}: {result.detail}')
    else:
      seconds += result.duration
      if result.damage:
        _PrintStatus(f'{path}: {result.damage}')
      output.Open()  # Also if all are left out: an old file is not the result.
      why = args.format == 'manifest' and transcript_formats.WhyNoLabel(result, args.min_confidence)
      if why:
        left_out[why] += 1
      else:
        output.Write(dataclasses.replace(result, name=path), number)
    if done < len(recordings) and seconds and time.time() > told + _STATUS_SECONDS:
      told = time.time()
      _PrintStatus(f'{done} of {len(recordings)} recordings, {seconds:.1f} s of audio in {told - started:.1f} s')
  output.Close()
  if left_out:
    _PrintStatus('left out: ' + ', '.join(f'{count} {why}' for why, count in sorted(left_out.items())))
  return failed, seconds


def _Close(failed, total, effort=''):
  """Prints how many of several recordings were transcribed, and how many failed; returns the exit code."""
  if failed or total > 1:
    failures = f', {failed} failed' if failed else ''
    _PrintStatus(f'{total - failed} of {total} recordings transcribed{failures}{effort}')
  return 1 if failed else 0


def Main(argv: list[str] | None = None) -> int:
  """Runs the tool; returns the exit code."""
  parser = command_line.Parser('transcribe', __doc__)
  parser.add_argument(
    'run',
    nargs='?',
    metavar='RUN',
    type=file_system.ExpandUser,
    help='folder of a run with a transducer or CTC head (default: the English model of the project)',
  )
  parser.add_argument(
    'audio',
    nargs='+',
    metavar='AUDIO',
    type=file_system.ExpandUser,
    help='file, folder, or - for standard input (not headerless formats like G.722)',
  )
  run_flags.AddAdapter(parser)
  run_flags.AddWeights(parser)
  run_flags.AddLanguage(parser)
  search_options.AddFlags(parser)
  user_modules.AddFlag(parser)
  parser.add_argument(
    '--n_best',
    type=int,
    default=1,
    help='hypotheses in JSON output, at most the beam size, for recordings of one window (default: 1)',
  )
  parser.add_argument(
    '--format', choices=transcript_formats.FORMATS, default='text', help='form of the output (default: text)'
  )
  parser.add_argument(
    '--min_confidence', type=float, default=0.0, help='smallest confidence in a manifest (default: 0)'
  )
  parser.add_argument(
    '--output',
    type=flag_types.LocalPath,
    help='file, or folder if it ends with / (default: standard output)',
  )
  parser.add_argument(
    '--resume',
    action='store_true',
    help='leave out recordings whose transcript is in the folder --output, as after an interrupted call',
  )
  parser.add_argument('--window_seconds', type=float, help="longest window (default: the run's max_seconds)")
  parser.add_argument(
    '--max_hours',
    type=float,
    default=api.MAX_HOURS,
    help='reject longer recordings, because a small file can hold days of silence; inf: no limit (default: 6)',
  )
  parser.add_argument('--stream', action='store_true', help='recognise while the sound comes')
  parser.add_argument(
    '--rate', type=int, help='with --stream -: Hz of raw samples of 16 bits (default: standard input is WAV)'
  )
  parser.add_argument(
    '--step_seconds', type=float, help='with --stream: seconds of speech that are recognised at once (default: 0.16)'
  )
  parser.add_argument(
    '--endpoint_seconds',
    type=float,
    help='with --stream: a text is final after a pause of so many seconds; inf: only at the end (default: 0.8)',
  )
  args = parser.parse_intermixed_args((argv or sys.argv)[1:])  # RUN may be left out, so flags may stand between.
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  return exit_codes.Report('transcribe', lambda: _Run(args))


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
