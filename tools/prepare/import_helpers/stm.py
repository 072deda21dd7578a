"""Segments of STM files, NIST's format of reference transcripts: `FILE CHANNEL SPEAKER START END [<LABELS>] TEXT`."""

import dataclasses
import math
import re

from fm_lingvo.utils import audio
from fm_lingvo.utils import text_lines

IGNORED = 'ignore_time_segment_in_scoring'  # The text of segments without a transcript.
_FIELD = re.compile(r'[ \t]+')
_LABELS = re.compile(r'^<(?=[^>]*[,_])[^> ]*>[ \t]*')  # <o,f0,male> or <F0_M>; not <unk>, which is text.


@dataclasses.dataclass(frozen=True)
class Segment:
  """A segment of a recording."""

  recording: str
  channel: str  # As written: 1 or A.
  speaker: str
  start: float  # Seconds.
  end: float  # Seconds, more than start.
  labels: str  # Such as <o,f0,male>; '' if there are none.
  text: str


def Parse(line):
  """Returns the Segment of a line, or None for an empty line or a comment (;;); raises ValueError."""
  line = line.strip(' \t')
  if not line or line.startswith(';;'):
    return None
  fields = _FIELD.split(line, 5)
  if len(fields) < 5:
    raise ValueError(f'{len(fields)} fields, expected FILE CHANNEL SPEAKER START END TEXT')
  recording, channel, speaker, *times = fields[:5]
  try:
    start, end = map(float, times)
  except ValueError:
    start = end = math.nan
  if not 0 <= start < end < audio.MOST_SECONDS:
    raise ValueError(f'from {times[0]} to {times[1]}: expected seconds, 0 <= START < END < {audio.MOST_SECONDS:g}')
  text = fields[5] if len(fields) > 5 else ''
  labels = _LABELS.match(text)
  return Segment(
    recording, channel, speaker, start, end, labels[0].strip() if labels else '', text[labels.end() if labels else 0 :]
  )


def Segments(listing, path):
  """Yields (line number, Segment) of an STM file; lines that cannot be parsed are rejected as bad_entry."""
  for number, line in text_lines.Lines(path):
    try:
      segment = Parse(line)
    except ValueError as e:
      listing.Reject('', f'{path}:{number}', 'bad_entry', str(e))
      continue
    if segment is not None:
      yield number, segment
