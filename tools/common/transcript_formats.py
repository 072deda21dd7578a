"""Transcripts of recordings as text, JSON and SubRip subtitles.

A subtitle cue is a segment of the transcript. It stays for a second, and as long as reading it takes, unless the next
one or the end of the recording comes before.
"""

import json
import math
import os
from collections.abc import Iterable

from fm_lingvo.inference import transcript as transcript_lib

FORMATS = ('text', 'json', 'srt', 'manifest')
EXTENSIONS = {'text': '.txt', 'json': '.json', 'srt': '.srt', 'manifest': '.jsonl'}

_SHORT_CUE_SECONDS = 1.0  # A cue lasts as long as this if it can.
_SHORTEST_CUE_SECONDS = 0.7  # A cue lasts as long as this at least, even if the next one has to wait.
_CHARACTERS_PER_SECOND = 17.0  # As fast as one reads.


def Format(transcript: transcript_lib.Transcript, kind: str, with_name: bool = False) -> str:
  """Formats a Transcript as text that ends with a newline; subtitles without words are empty.

  Args:
    transcript: A Transcript.
    kind: One of FORMATS.
    with_name: Whether `text` begins with the name and a tab; the other formats ignore it.
  """
  if kind == 'text':
    return f'{transcript.name}\t{transcript.text}\n' if with_name else f'{transcript.text}\n'
  if kind == 'srt':
    return Srt(transcript.words, transcript.duration)
  return (Json(transcript) if kind == 'json' else Manifest(transcript)) + '\n'


def Confidence(transcript: transcript_lib.Transcript) -> float:
  """Returns the geometric mean probability of a character, given its score: exp(score / characters)."""
  return math.exp(min(0.0, transcript.score) / max(1, len(transcript.text)))


def WhyNoLabel(transcript: transcript_lib.Transcript, min_confidence: float) -> str:
  """Returns why a transcript is no label to train on, '' if it is one."""
  if transcript.windows > 1:
    return 'longer than a window'
  if not transcript.text:
    return 'without text'
  return f'of confidence < {min_confidence:g}' if Confidence(transcript) < min_confidence else ''


def Manifest(transcript: transcript_lib.Transcript) -> str:
  """Returns a line of JSON that the importer `manifest` reads: audio_filepath, duration, text, and the confidence."""
  row = {
    'audio_filepath': os.path.abspath(transcript.name),
    'duration': round(transcript.duration, 3),
    'text': transcript.text,
    'confidence': round(Confidence(transcript), 4),
  }
  return json.dumps(row, ensure_ascii=False)


def Json(transcript: transcript_lib.Transcript) -> str:
  """Returns a line of JSON: file, seconds, text, score, windows, words (word, start, end) and, if not empty, n_best."""
  row = {
    'file': transcript.name,
    'seconds': round(transcript.duration, 3),
    'text': transcript.text,
    'score': round(transcript.score, 4),
    'windows': transcript.windows,
    'words': transcript_lib.WordRows(transcript.words),
  }
  if transcript.n_best:
    row['n_best'] = transcript_lib.HypothesisRows(transcript.n_best)
  return json.dumps(row, ensure_ascii=False)


def Srt(words: Iterable[transcript_lib.Word], seconds: float = math.inf) -> str:
  """Returns the SubRip text of a sequence of words: numbered cues that do not overlap.

  Args:
    words: With ascending times.
    seconds: Length of the recording.
  """
  blocks, earliest = [], 0.0
  cues = transcript_lib.Segments(words)
  for number, cue in enumerate(cues, 1):
    text = '\n'.join(transcript_lib.Lines(cue.words))
    start = max(cue.start, earliest)
    following = cues[number].start if number < len(cues) else max(seconds, cue.end)
    wanted = max(cue.end, start + max(_SHORT_CUE_SECONDS, len(text) / _CHARACTERS_PER_SECOND))
    end = min(wanted, following)
    if end < start + _SHORTEST_CUE_SECONDS:
      if number == len(cues):  # Nothing can wait: the cue comes earlier.
        start = max(earliest, end - _SHORTEST_CUE_SECONDS)
      end = start + _SHORTEST_CUE_SECONDS
    earliest = end
    blocks.append(f'{number}\n{_Time(start)} --> {_Time(end)}\n{text}\n')
  return '\n'.join(blocks)


def _Time(seconds: float) -> str:
  """Formats seconds as HH:MM:SS,mmm."""
  milliseconds = round(seconds * 1000)
  minutes, milliseconds = divmod(milliseconds, 60_000)
  return f'{minutes // 60:02d}:{minutes % 60:02d}:{milliseconds // 1000:02d},{milliseconds % 1000:03d}'
