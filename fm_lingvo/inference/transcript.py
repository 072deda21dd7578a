"""What recognition returns: words with times, segments, hypotheses and transcripts; does not import TensorFlow."""

import dataclasses
import textwrap
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

from fm_lingvo.utils import text_lines

# A segment ends at a pause, and before it would be too long for a subtitle.
_PAUSE_SECONDS = 0.8
_SEGMENT_SECONDS = 6.0
_LINE_CHARACTERS = 42
_SEGMENT_LINES = 2


@dataclasses.dataclass(frozen=True)
class Word:
  """A word, with the start of its first label and the end of its last one in seconds."""

  text: str
  start: float
  end: float
  probability: float | None = None  # That it is right, see fm_lingvo/decoding/confidence.py; None: not known.


@dataclasses.dataclass(frozen=True)
class Hypothesis:
  """A transcript with its log-probability and its words."""

  text: str
  score: float
  words: tuple[Word, ...]

  @property
  def probability(self) -> float | None:
    """The share of its words that is expected to be right, 0 without words; None: not known."""
    return _Mean(self.words)


@dataclasses.dataclass(frozen=True)
class Segment:
  """Words that belong together, such as those of a subtitle: at most 6 s and two lines of 42 characters."""

  words: tuple[Word, ...]  # At least one.

  @property
  def start(self) -> float:
    return self.words[0].start

  @property
  def end(self) -> float:
    return self.words[-1].end

  @property
  def text(self) -> str:
    return ' '.join(w.text for w in self.words)

  @property
  def probability(self) -> float | None:
    """The share of its words that is expected to be right; None: not known."""
    return _Mean(self.words)


@dataclasses.dataclass(frozen=True)
class Transcript:
  """The transcript of one recording."""

  name: str  # Path of the recording as the user wrote it; '' for sound in memory.
  duration: float  # Seconds.
  text: str
  score: float  # Log-probability, summed over windows.
  words: tuple[Word, ...]
  windows: int  # Number of windows in which it was recognised.
  n_best: tuple[Hypothesis, ...] = ()  # Best first, if more than one was asked for and the recording is one window.
  damage: str = ''  # What of the recording could not be decoded and became silence; '': nothing.
  language: str | None = None  # Code of what the model transcribes, such as en; None: not known.

  @property
  def segments(self) -> tuple[Segment, ...]:
    """The words in segments, which end at pauses of 0.8 s."""
    return tuple(Segments(self.words))

  @property
  def probability(self) -> float | None:
    """The share of the words that is expected to be right, 0 without words; None: not known."""
    return _Mean(self.words)

  def to_dict(self) -> dict[str, Any]:
    """Returns what json can write, under the keys that speech recognisers commonly use.

    Returns:
      dict: text; language, None if it is not known; duration; probability; segments (id, start, end, text,
      probability); words (word, start, end, probability); score; windows; and, if they are not empty, file, n_best
      (text, score, probability) and damage. Times are in seconds; probabilities that are not known are left out.
    """
    row: dict[str, Any] = {'file': self.name} if self.name else {}
    row |= {
      'text': self.text,
      'language': self.language,
      'duration': round(self.duration, 3),
      **_Probability(self.probability),
      'segments': [
        {'id': i, 'start': s.start, 'end': s.end, 'text': s.text, **_Probability(s.probability)}
        for i, s in enumerate(self.segments)
      ],
      'words': WordRows(self.words),
      'score': round(self.score, 4),
      'windows': self.windows,
    }
    if self.n_best:
      row['n_best'] = HypothesisRows(self.n_best)
    if self.damage:
      row['damage'] = self.damage
    return row

  def to_json(self) -> str:
    """Returns to_dict as a line of JSON."""
    return text_lines.Json(self.to_dict())


def WordRows(words: Iterable[Word]) -> list[dict[str, Any]]:
  """Returns words as JSON objects: word, start, end and, if it is known, probability."""
  return [{'word': w.text, 'start': w.start, 'end': w.end, **_Probability(w.probability)} for w in words]


def HypothesisRows(hypotheses: Iterable[Hypothesis]) -> list[dict[str, Any]]:
  """Returns hypotheses as JSON objects: text, score and, if it is known, probability."""
  return [{'text': h.text, 'score': round(h.score, 4), **_Probability(h.probability)} for h in hypotheses]


def _Mean(words: Sequence[Word]) -> float | None:
  known = [w.probability for w in words if w.probability is not None]
  return None if len(known) < len(words) else sum(known) / len(words) if words else 0.0


def _Probability(value: float | None) -> dict[str, float]:
  """Returns the key of JSON, if the probability is known."""
  return {} if value is None else {'probability': round(value, 4)}


def Segments(words: Iterable[Word]) -> list[Segment]:
  """Splits words with ascending times into segments."""
  found: list[list[Word]] = []
  for word in words:
    if found and (
      word.start - found[-1][-1].end < _PAUSE_SECONDS
      and word.end - found[-1][0].start <= _SEGMENT_SECONDS
      and len(Lines([*found[-1], word])) <= _SEGMENT_LINES
    ):
      found[-1].append(word)
    else:
      found.append([word])
  return [Segment(tuple(group)) for group in found]


def Lines(words: Sequence[Word]) -> list[str]:
  """Returns the text of words in lines of at most 42 characters; a longer word has a line of its own."""
  text = ' '.join(w.text for w in words)
  return textwrap.wrap(text, _LINE_CHARACTERS, break_long_words=False, break_on_hyphens=False)
