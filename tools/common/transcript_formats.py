"""Transcripts of recordings as text, JSON and SubRip subtitles.

A subtitle cue ends at a pause of 0.8 s, and before it would exceed 6 s or two lines of 42 characters. It stays for a
second, and as long as reading it takes, unless the next one or the end of the recording comes before.
"""

import dataclasses
import json
import math
import os
import textwrap
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

FORMATS = ('text', 'json', 'srt', 'manifest')
EXTENSIONS = {'text': '.txt', 'json': '.json', 'srt': '.srt', 'manifest': '.jsonl'}

_PAUSE_SECONDS = 0.8
_CUE_SECONDS = 6.0
_LINE_CHARACTERS = 42
_CUE_LINES = 2
_SHORT_CUE_SECONDS = 1.0  # A cue lasts as long as this if it can.
_SHORTEST_CUE_SECONDS = 0.7  # A cue lasts as long as this at least, even if the next one has to wait.
_CHARACTERS_PER_SECOND = 17.0  # As fast as one reads.


@dataclasses.dataclass(frozen=True)
class Transcript:
  """The transcript of one recording."""

  name: str  # The recording, as the user named it.
  seconds: float
  text: str
  score: float  # Log-probability, summed over windows.
  words: tuple  # Of recognizer.Word.
  windows: int  # Number of windows.
  n_best: tuple = ()  # Of recognizer.Hypothesis, for recordings of one window.


def Format(transcript: Transcript, kind: str, with_name: bool = False) -> str:
  """Formats a Transcript as text that ends with a newline; subtitles without words are empty.

  Args:
    transcript: A Transcript.
    kind: One of FORMATS.
    with_name: Whether `text` begins with the name and a tab; the other formats ignore it.
  """
  if kind == 'text':
    return f'{transcript.name}\t{transcript.text}\n' if with_name else f'{transcript.text}\n'
  if kind == 'srt':
    return Srt(transcript.words, transcript.seconds)
  return (Json(transcript) if kind == 'json' else Manifest(transcript)) + '\n'


def Confidence(transcript: Transcript) -> float:
  """Returns the geometric mean probability of a character, given its score: exp(score / characters)."""
  return math.exp(min(0.0, transcript.score) / max(1, len(transcript.text)))


def WhyNoLabel(transcript: Transcript, min_confidence: float) -> str:
  """Returns why a transcript is no label to train on, '' if it is one."""
  if transcript.windows > 1:
    return 'longer than a window'
  if not transcript.text:
    return 'without text'
  return f'of confidence < {min_confidence:g}' if Confidence(transcript) < min_confidence else ''


def Manifest(transcript: Transcript) -> str:
  """Returns a line of JSON that the importer `manifest` reads: audio_filepath, duration, text, and the confidence."""
  row = {
    'audio_filepath': os.path.abspath(transcript.name),
    'duration': round(transcript.seconds, 3),
    'text': transcript.text,
    'confidence': round(Confidence(transcript), 4),
  }
  return json.dumps(row, ensure_ascii=False)


def Json(transcript: Transcript) -> str:
  """Returns a line of JSON: file, seconds, text, score, windows, words (word, start, end) and, if not empty, n_best."""
  row = {
    'file': transcript.name,
    'seconds': round(transcript.seconds, 3),
    'text': transcript.text,
    'score': round(transcript.score, 4),
    'windows': transcript.windows,
    'words': [{'word': w.text, 'start': w.start, 'end': w.end} for w in transcript.words],
  }
  if transcript.n_best:
    row['n_best'] = [{'text': h.text, 'score': round(h.score, 4)} for h in transcript.n_best]
  return json.dumps(row, ensure_ascii=False)


def Srt(words: Iterable[Any], seconds: float = math.inf) -> str:
  """Returns the SubRip text of a sequence of words: numbered cues that do not overlap.

  Args:
    words: recognizer.Word, with ascending times.
    seconds: Length of the recording.
  """
  blocks, earliest = [], 0.0
  cues = _Cues(words)
  for number, cue in enumerate(cues, 1):
    text = '\n'.join(_Lines(cue))
    start = max(cue[0].start, earliest)
    following = cues[number][0].start if number < len(cues) else max(seconds, cue[-1].end)
    wanted = max(cue[-1].end, start + max(_SHORT_CUE_SECONDS, len(text) / _CHARACTERS_PER_SECOND))
    end = min(wanted, following)
    if end < start + _SHORTEST_CUE_SECONDS:
      if number == len(cues):  # Nothing can wait: the cue comes earlier.
        start = max(earliest, end - _SHORTEST_CUE_SECONDS)
      end = start + _SHORTEST_CUE_SECONDS
    earliest = end
    blocks.append(f'{number}\n{_Time(start)} --> {_Time(end)}\n{text}\n')
  return '\n'.join(blocks)


def _Lines(cue: Sequence[Any]) -> list[str]:
  return textwrap.wrap(' '.join(w.text for w in cue), _LINE_CHARACTERS, break_long_words=False, break_on_hyphens=False)


def _Cues(words: Iterable[Any]) -> list[list[Any]]:
  """Splits words into cues; returns a list of words for each cue."""
  cues: list[list[Any]] = []
  for word in words:
    if cues and (
      word.start - cues[-1][-1].end < _PAUSE_SECONDS
      and word.end - cues[-1][0].start <= _CUE_SECONDS
      and len(_Lines(cues[-1] + [word])) <= _CUE_LINES
    ):
      cues[-1].append(word)
    else:
      cues.append([word])
  return cues


def _Time(seconds: float) -> str:
  """Formats seconds as HH:MM:SS,mmm."""
  milliseconds = round(seconds * 1000)
  minutes, milliseconds = divmod(milliseconds, 60_000)
  return f'{minutes // 60:02d}:{minutes % 60:02d}:{milliseconds // 1000:02d},{milliseconds % 1000:03d}'
