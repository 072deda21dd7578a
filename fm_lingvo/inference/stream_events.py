"""What a stream of speech gives while it is heard: partial texts, and final ones; does not import TensorFlow."""

import dataclasses
import json
from typing import Any
from typing import ClassVar

from fm_lingvo.inference import transcript


@dataclasses.dataclass(frozen=True)
class Partial:
  """The text since the last Final, as far as it has been heard. The next event replaces it, with another text perhaps.

  Without words, what was shown before has proved to be none: `text` is empty, `start` and `end` say when that was seen.
  """

  text: str
  words: tuple[transcript.Word, ...]
  start: float  # Of the first word, in seconds from the start of the stream.
  end: float  # Of the last word so far.
  kind: ClassVar[str] = 'partial'

  def to_dict(self) -> dict[str, Any]:
    """Returns what json can write: type, text, start, end, words (word, start, end); times in seconds."""
    return {
      'type': self.kind,
      'text': self.text,
      'start': self.start,
      'end': self.end,
      'words': transcript.WordRows(self.words),
    }

  def to_json(self) -> str:
    """Returns to_dict as a line of JSON."""
    return json.dumps(self.to_dict(), ensure_ascii=False)


@dataclasses.dataclass(frozen=True)
class Final(Partial):
  """Text that does not change any more: the words up to a pause, or to the end of the stream; at least one."""

  score: float  # Log-probability of what was heard since the last Final.
  kind: ClassVar[str] = 'final'

  def to_dict(self) -> dict[str, Any]:
    """As of a Partial, and score."""
    return {**super().to_dict(), 'score': round(self.score, 4)}


Event = Partial | Final
