"""Subtitles of transcripts: SubRip (SRT), WebVTT, and TSV with times in milliseconds.

A cue is a segment of the transcript. It stays for a second, and as long as reading it takes, unless the next one or the
end of the recording comes before. tests/subtitles_test.py reads them with FFmpeg. No package writes both formats
without loss: pysubs2 drops text in braces, webvtt-py does not escape, and of srt there is no wheel.
"""

import dataclasses
import html
import math
from collections.abc import Sequence

from fm_lingvo.inference import transcript as transcript_lib

_SHORT_CUE_SECONDS = 1.0  # A cue lasts as long as this if it can.
_SHORTEST_CUE_SECONDS = 0.7  # A cue lasts as long as this at least, even if the next one has to wait.
_CHARACTERS_PER_SECOND = 17.0  # As fast as one reads.


@dataclasses.dataclass(frozen=True)
class Cue:
  """What is shown from start to end, in seconds."""

  start: float
  end: float
  lines: tuple[str, ...]


def Cues(words: Sequence[transcript_lib.Word], seconds: float = math.inf) -> list[Cue]:
  """Returns the cues of a sequence of words, which do not overlap.

  Args:
    words: With ascending times.
    seconds: Length of the recording.
  """
  cues: list[Cue] = []
  earliest = 0.0
  segments = transcript_lib.Segments(words)
  for number, segment in enumerate(segments, 1):
    lines = transcript_lib.Lines(segment.words)
    start = max(segment.start, earliest)
    following = segments[number].start if number < len(segments) else max(seconds, segment.end)
    reading = len('\n'.join(lines)) / _CHARACTERS_PER_SECOND
    end = min(max(segment.end, start + max(_SHORT_CUE_SECONDS, reading)), following)
    if end < start + _SHORTEST_CUE_SECONDS:
      if number == len(segments):  # Nothing can wait: the cue comes earlier.
        start = max(earliest, end - _SHORTEST_CUE_SECONDS)
      end = start + _SHORTEST_CUE_SECONDS
    earliest = end
    cues.append(Cue(start, end, tuple(lines)))
  return cues


def Srt(words: Sequence[transcript_lib.Word], seconds: float = math.inf) -> str:
  """Returns the SubRip text of a sequence of words, '' without any; see Cues."""
  return '\n'.join(
    f'{number}\n{_Time(cue.start, ",")} --> {_Time(cue.end, ",")}\n' + '\n'.join(cue.lines) + '\n'
    for number, cue in enumerate(Cues(words, seconds), 1)
  )


def Vtt(words: Sequence[transcript_lib.Word], seconds: float = math.inf) -> str:
  """Returns the WebVTT text of a sequence of words; see Cues."""
  blocks = [
    f'{_Time(cue.start, ".")} --> {_Time(cue.end, ".")}\n{html.escape(chr(10).join(cue.lines), quote=False)}\n'
    for cue in Cues(words, seconds)
  ]
  return '\n'.join(['WEBVTT\n', *blocks])


def Tsv(segments: Sequence[transcript_lib.Segment]) -> str:
  """Returns a table of segments as Whisper writes it: start and end in milliseconds, text."""
  rows = [f'{round(1000 * s.start)}\t{round(1000 * s.end)}\t{" ".join(s.text.split())}\n' for s in segments]
  return ''.join(['start\tend\ttext\n', *rows])


def _Time(seconds: float, mark: str) -> str:
  """Formats seconds as HH:MM:SS and milliseconds behind a mark."""
  milliseconds = round(seconds * 1000)
  minutes, milliseconds = divmod(milliseconds, 60_000)
  return f'{minutes // 60:02d}:{minutes % 60:02d}:{milliseconds // 1000:02d}{mark}{milliseconds % 1000:03d}'
