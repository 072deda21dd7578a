"""Transcribes recordings with a trained run.

  python -m tools.transcribe runs/AdapterFinetune-... talk.mp3 prompts/ --adapter=target
  cat call.wav | python -m tools.transcribe RUN - --format=json
  python -m tools.transcribe RUN talk.mp3 --format=srt --output=talk.srt
  python -m tools.transcribe RUN unlabeled/ --format=manifest --min_confidence=0.8 --output=pseudo.jsonl

AUDIO is a file of any format and sampling rate that FFmpeg supports, a folder (all audio files below it) or - for
standard input. Recordings longer than the run's max_seconds are recognised in windows, which are cut at quiet places
and overlap by 2 s (by a quarter of a window, if that is less).
--output is a file for all transcripts or, if it is a folder or ends with /, a folder with a file for each recording.
--format=manifest writes what `tools.prepare_data --importer=manifest` reads, with `confidence`, the geometric mean
probability of a character; recordings below --min_confidence, without text, or longer than a window are left out and
counted.
Existing files are overwritten only once the run is loaded and a recording is read.
Times are those of the encoded frames (40 ms) at which the model emitted the labels, slightly later than the sound.
Exit code 0: all done; 1: some recordings could not be read, each with a one-line message, or the transcripts cannot be
written; 2: wrong usage, run or checkpoint; 130: Ctrl-C.
"""

import argparse
import math
import os
import sys
import tempfile
import time

from fm_lingvo import errors
from fm_lingvo.config import user_modules
from fm_lingvo.decoding import search_options
from fm_lingvo.inference import long_form
from fm_lingvo.runtime import quiet
from fm_lingvo.utils import audio as audio_format
from fm_lingvo.utils import files as file_system

from .common import audio
from .common import exit_codes
from .common import files
from .common import run_flags
from .common import transcript_formats

STDIN = '-'
_EXTENSIONS = frozenset(
  '.722 .8svx .aac .ac3 .aif .aiff .amr .ape .au .caf .flac .g722 .gsm .m4a .m4b .mka .mkv .mov .mp2 .mp3 .mp4 .oga '
  '.ogg .opus .sph .snd .spx .voc .w64 .wav .webm .wma .wv'.split()
)
_BATCH_SECONDS = 128.0  # Audio in a batch, padding included.
_CHUNK_SECONDS = 1200.0  # Audio that is read, and sorted by length, before it is recognised.
_CHUNK_FILES = 64  # The same limit as a number of files.


def FindRecordings(names):
  """Finds the files to transcribe.

  Args:
    names: Files, folders and STDIN, as the user gave them.

  Returns:
    (found, missing): list of (path, path relative to the folder that the user gave), in order; list of (name, reason)
    of those without audio.
  """
  found, missing = [], []
  for name in names:
    is_local = name != STDIN and not file_system.IsRemote(name)
    if is_local and not os.path.exists(name):
      missing.append((name, 'missing: no such file or folder'))
      continue
    if not is_local or not os.path.isdir(name):
      found.append((name, 'stdin' if name == STDIN else os.path.basename(name)))
      continue
    below, closed = [], []
    for folder, names_there in files.LocalFolders(name, closed.append):
      paths = (os.path.join(folder, f) for f in names_there if os.path.splitext(f)[1].lower() in _EXTENSIONS)
      below += [(path, os.path.relpath(path, name)) for path in paths]
    found += below
    missing += [(e.filename, f'cannot be read ({e.strerror})') for e in closed]
    if not below and not closed:
      missing.append((name, 'no audio file in this folder'))
  return found, missing


def Read(path, max_seconds=None):
  """Reads a recording as int16 [S] at 16 kHz.

  Raises:
    audio.Rejected: The recording cannot be decoded, or is longer than `max_seconds`.
  """
  if path != STDIN:
    return audio.Decode(path, max_seconds)
  with tempfile.NamedTemporaryFile() as f:
    f.write(sys.stdin.buffer.read())
    f.flush()
    return audio.Decode(f.name, max_seconds)


def Transcribe(model, recordings, max_seconds):
  """Transcribes recordings in batches of windows of similar length.

  Args:
    model: A recognizer.Recognizer.
    recordings: List of (name, int16 [S] at 16 kHz).
    max_seconds: Longest window in seconds.

  Returns:
    List of transcript_formats.Transcript in the same order.
  """
  windows = [long_form.Windows(samples, max_seconds) for _, samples in recordings]
  pieces = sorted(((w.end - w.start, r, i) for r, cuts in enumerate(windows) for i, w in enumerate(cuts)))
  recognized = {}
  for batch in _Batches(pieces, int(_BATCH_SECONDS * audio_format.SAMPLE_RATE)):
    waveforms = [recordings[r][1][windows[r][i].start : windows[r][i].end] for _, r, i in batch]
    recognized.update(zip([(r, i) for _, r, i in batch], model.Recognize(waveforms)))
  transcripts = []
  for r, (name, samples) in enumerate(recordings):
    hypotheses = [recognized[r, i] for i in range(len(windows[r]))]
    best = [found[0] for found in hypotheses]
    if len(best) == 1:
      text, words, n_best = best[0].text, best[0].words, hypotheses[0]
    else:
      words, n_best = long_form.Join(windows[r], [b.words for b in best]), ()
      text = ' '.join(w.text for w in words)
    transcripts.append(
      transcript_formats.Transcript(
        name,
        len(samples) / audio_format.SAMPLE_RATE,
        text,
        sum(b.score for b in best),
        tuple(words),
        len(best),
        tuple(n_best) if len(n_best) > 1 else (),
      )
    )
  return transcripts


def _Batches(pieces, size):
  """Yields batches: lists of pieces (length, ...) with at most `size` samples including padding, or a single piece.

  Args:
    pieces: List of tuples that begin with the length in samples, shortest first.
    size: Maximum number of samples in a batch.
  """
  batch = []
  for piece in pieces:
    if batch and piece[0] * (len(batch) + 1) > size:
      yield batch
      batch = []
    batch.append(piece)
  if batch:
    yield batch


class _Output:
  """Writes transcripts to standard output, one file, or a file for each recording."""

  def __init__(self, path, kind, recordings, min_confidence=0.0):
    self._path = path
    self._kind = kind
    self._min_confidence = min_confidence
    self.left_out = {}  # Why -> number of recordings that a manifest lacks.
    self._with_name = len(recordings) > 1
    self._recordings = {os.path.realpath(recording) for recording, _ in recordings}
    self._folder = self._file = None
    self._taken = set()
    above = os.path.dirname(path or '') or '.'
    if path and (path.endswith('/') or os.path.isdir(path)):
      self._folder = path
      files.MakeFolder(path, f'--output={path}')
    elif kind == 'srt' and len(recordings) > 1:
      raise errors.ConfigError(
        f'--format=srt: {len(recordings)} recordings, but a subtitle file is for one; expected --output=FOLDER/'
      )
    elif not os.path.isdir(above):
      raise errors.ConfigError(f'--output={path}: no folder {above}; expected one that exists')
    elif path and os.path.realpath(path) in self._recordings:
      raise errors.ConfigError(f'--output={path}: is one of the recordings; expected another file')

  def Open(self):
    """Opens the single output file on the first call, which empties it."""
    if self._folder is None and self._file is None:
      with self._Writing():
        self._file = open(self._path, 'w', encoding='utf-8') if self._path else sys.stdout

  def Write(self, transcript, relative_path):
    why = self._kind == 'manifest' and transcript_formats.WhyNoLabel(transcript, self._min_confidence)
    if why:
      self.left_out[why] = self.left_out.get(why, 0) + 1
      return
    with self._Writing():
      if self._folder is None:
        self._file.write(transcript_formats.Format(transcript, self._kind, self._with_name))
        self._file.flush()
      else:
        self._WriteFile(transcript, relative_path)

  def _Writing(self):
    return errors.Writing(f'--output={self._path}' if self._path else 'standard output')

  def _WriteFile(self, transcript, relative_path):
    base, number = os.path.join(self._folder, os.path.splitext(relative_path)[0]), 1
    path = base
    while path in self._taken:
      number += 1
      path = f'{base}-{number}'
    self._taken.add(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + transcript_formats.EXTENSIONS[self._kind], 'w', encoding='utf-8') as f:
      f.write(transcript_formats.Format(transcript, self._kind))

  def Close(self):
    if self._file not in (None, sys.stdout):
      self._file.close()


def _Printable(path):
  """Returns a path as UTF-8 text; invalid bytes, which file names may contain, become escapes."""
  return path.encode('utf-8', 'backslashreplace').decode('utf-8')


def _PrintStatus(line):
  print(f'transcribe: {line}', file=sys.stderr, flush=True)


def _Chunks(recordings, failed, max_seconds):
  """Yields (number of recordings tried so far, list of (path, relative path, samples)).

  Paths of recordings that cannot be read are appended to `failed`.
  """
  chunk, seconds = [], 0.0
  for number, (path, relative_path) in enumerate(recordings, 1):
    try:
      samples = Read(path, max_seconds)
      chunk.append((path, relative_path, samples))
      seconds += len(samples) / audio_format.SAMPLE_RATE
    except audio.Rejected as e:
      failed.append(path)
      _PrintStatus(f'{path}: {" ".join(str(e).split())}')
    if chunk and (seconds >= _CHUNK_SECONDS or len(chunk) >= _CHUNK_FILES or number == len(recordings)):
      yield number, chunk
      chunk, seconds = [], 0.0
  if chunk:
    yield len(recordings), chunk


def _Run(args):
  """Transcribes the recordings that the arguments name; returns the exit code."""
  if args.window_seconds is not None and not 2 <= args.window_seconds < math.inf:
    raise errors.ConfigError(f'--window_seconds={args.window_seconds:g}: expected >= 2 and finite')
  if not args.max_hours > 0:
    raise errors.ConfigError(f'--max_hours={args.max_hours:g}: expected > 0')
  if args.audio.count(STDIN) > 1:
    raise errors.ConfigError(f'{STDIN}: given twice; standard input is one recording')
  if args.format == 'manifest' and STDIN in args.audio:
    raise errors.ConfigError(f'--format=manifest: {STDIN} is no file that a manifest can name')
  if args.min_confidence and args.format != 'manifest' or not 0 <= args.min_confidence <= 1:
    raise errors.ConfigError(
      f'--min_confidence={args.min_confidence:g}: expected a probability, with --format=manifest only'
    )
  recordings, missing = FindRecordings(args.audio)
  for name, why in missing:
    _PrintStatus(f'{name}: {why}')
  failed = [name for name, _ in missing]
  # Report a wrong output or run before minutes of decoding.
  output = _Output(args.output, args.format, recordings, args.min_confidence)
  if not recordings:
    return _ExitCode(failed)
  with quiet.HoldStderr():
    # These import TensorFlow, which --help does not need.
    from fm_lingvo.inference import load_run
    from fm_lingvo.inference import recognizer
  recognizer.Start()
  user_modules.Import(args.import_module)
  run = load_run.Load(
    args.run,
    checkpoint=args.checkpoint,
    adapter=args.adapter,
    averages=args.averages,
    how=search_options.FromArgs(args),
  )
  model = recognizer.Recognizer(run, args.n_best)
  started, seconds = time.time(), 0.0
  for number, chunk in _Chunks(recordings, failed, 3600 * args.max_hours if args.max_hours < math.inf else None):
    output.Open()
    transcripts = Transcribe(
      model, [(_Printable(path), samples) for path, _, samples in chunk], args.window_seconds or run.max_seconds
    )
    for transcript, (_, relative_path, _) in zip(transcripts, chunk):
      output.Write(transcript, relative_path)
      seconds += transcript.seconds
    if len(recordings) > 1:
      _PrintStatus(
        f'{number} of {len(recordings)} recordings, {seconds:.1f} s of audio in {time.time() - started:.1f} s'
      )
  output.Close()
  if output.left_out:
    _PrintStatus('left out: ' + ', '.join(f'{count} {why}' for why, count in sorted(output.left_out.items())))
  return _ExitCode(failed)


def _ExitCode(failed):
  """Prints how many recordings could not be transcribed; returns the exit code."""
  if failed:
    _PrintStatus(f'{len(failed)} failed')
  return 1 if failed else 0


def Main(argv: list[str] | None = None) -> int:
  """Runs the tool; returns the exit code."""
  parser = argparse.ArgumentParser(
    prog='transcribe', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('run', metavar='RUN', help='folder of a run with a transducer or CTC head')
  parser.add_argument(
    'audio',
    nargs='+',
    metavar='AUDIO',
    help='file, folder, or - for standard input (not headerless formats like G.722)',
  )
  parser.add_argument('--adapter', help="name of the adapters to apply, or none (default: the run's active set)")
  run_flags.AddWeights(parser)
  search_options.AddFlags(parser)
  user_modules.AddFlag(parser)
  parser.add_argument(
    '--n_best',
    type=int,
    default=1,
    help='hypotheses in JSON output, at most the beam size, for recordings of one window (default: 1)',
  )
  parser.add_argument('--format', choices=transcript_formats.FORMATS, default='text')
  parser.add_argument(
    '--min_confidence', type=float, default=0.0, help='smallest confidence in a manifest (default: 0)'
  )
  parser.add_argument('--output', help='file, or folder if it ends with / (default: standard output)')
  parser.add_argument('--window_seconds', type=float, help="longest window (default: the run's max_seconds)")
  parser.add_argument(
    '--max_hours',
    type=float,
    default=6.0,
    help='reject longer recordings, because a small file can hold days of silence; inf: no limit (default: 6)',
  )
  args = parser.parse_args((argv or sys.argv)[1:])
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  return exit_codes.Report('transcribe', lambda: _Run(args))


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
