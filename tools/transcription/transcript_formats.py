"""Transcripts of recordings as text, JSON, CTM, manifests and subtitles."""

import os
from typing import Any

from fm_lingvo import errors
from fm_lingvo.inference import transcript as transcript_lib
from fm_lingvo.utils import files
from fm_lingvo.utils import text_lines

from . import subtitles

EXTENSIONS = {
  'text': '.txt',
  'json': '.json',
  'srt': '.srt',
  'vtt': '.vtt',
  'tsv': '.tsv',
  'ctm': '.ctm',
  'manifest': '.jsonl',
}
FORMATS = tuple(EXTENSIONS)
OF_ONE = ('srt', 'vtt', 'tsv')  # A file is of one recording.


def Format(transcript: transcript_lib.Transcript, kind: str, with_name: bool = False) -> str:
  """Formats a Transcript as text that ends with a newline; SRT and CTM without words are empty.

  Args:
    transcript: A Transcript.
    kind: One of FORMATS.
    with_name: Whether `text` begins with the name and a tab; the other formats ignore it.
  """
  if kind == 'srt':
    return subtitles.Srt(transcript.words, transcript.duration)
  if kind == 'vtt':
    return subtitles.Vtt(transcript.words, transcript.duration)
  if kind == 'tsv':
    return subtitles.Tsv(transcript.segments)
  if kind == 'ctm':
    return Ctm(transcript)
  if kind == 'text':
    name = errors.OneLine(files.Printable(transcript.name))  # Line breaks and tabs divide what is written.
    return f'{name}\t{transcript.text}\n' if with_name else f'{transcript.text}\n'
  return (transcript.to_json() if kind == 'json' else Manifest(transcript)) + '\n'


def WhyNoLabel(transcript: transcript_lib.Transcript, min_confidence: float) -> str:
  """Returns why a transcript is no label to train on, '' if it is one."""
  if transcript.windows > 1:
    return 'longer than a window'
  if not transcript.text:
    return 'without text'
  return f'of confidence < {min_confidence:g}' if (transcript.probability or 0.0) < min_confidence else ''


def Manifest(transcript: transcript_lib.Transcript) -> str:
  """Returns a line of JSON that the importer `manifest` reads: audio_filepath, duration, text, and the confidence."""
  row: dict[str, Any] = {
    'audio_filepath': files.Absolute(transcript.name),
    'duration': round(transcript.duration, 3),
    'text': transcript.text,
  }
  if transcript.probability is not None:
    row['confidence'] = round(transcript.probability, 4)
  return text_lines.Json(row)


def Recording(name: str) -> str:
  """Returns the name of a recording in CTM: without folders and extension, _ for spaces."""
  return '_'.join(files.Printable(os.path.splitext(os.path.basename(name))[0]).split()) or '-'


def Ctm(transcript: transcript_lib.Transcript) -> str:
  """Returns a line `FILE CHANNEL START SECONDS WORD [CONFIDENCE]` for each word."""
  lines = []
  for w in transcript.words:
    confidence = '' if w.probability is None else f' {w.probability:.4f}'
    lines.append(f'{Recording(transcript.name)} 1 {w.start:.3f} {w.end - w.start:.3f} {w.text}{confidence}\n')
  return ''.join(lines)
