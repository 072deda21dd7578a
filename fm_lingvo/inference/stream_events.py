"""Events of streaming recognition: partial and final results; does not import TensorFlow."""

import dataclasses
import json
from typing import Any
from typing import ClassVar

from fm_lingvo.inference import transcript


@dataclasses.dataclass(frozen=True)
class Partial:
  """The best text so far since the last Final; the next event replaces it.

  An empty text withdraws the partial before it: the best hypothesis has no words any more. `start` and `end` are then
  the time of the newest encoded frame.
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
  """Text that no longer changes: the words up to a pause or to the end of the stream, at least one."""

  score: float  # Log-probability of the speech since the last Final.
  kind: ClassVar[str] = 'final'

  def to_dict(self) -> dict[str, Any]:
    """As of a Partial, and score."""
    return {**super().to_dict(), 'score': round(self.score, 4)}


Event = Partial | Final
