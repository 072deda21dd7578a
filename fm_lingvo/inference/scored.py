"""What model.score returns: the error rates of a model on recordings with transcripts, as tools.score has them."""

import dataclasses
import itertools
import os
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from fm_lingvo import audio
from fm_lingvo import errors
from fm_lingvo.audio import segments
from fm_lingvo.data import manifest
from fm_lingvo.data import normalizers
from fm_lingvo.data import transcripts
from fm_lingvo.evaluation import alignment
from fm_lingvo.evaluation import scoring
from fm_lingvo.inference import transcript
from fm_lingvo.utils import audio as audio_format
from fm_lingvo.utils import files

_PAIR = 'expected a manifest, or pairs (recording, text) or (recording, text, speaker)'


@dataclasses.dataclass(frozen=True)
class Reference:
  """A recording and what is said in it."""

  utt_id: str
  recording: Any  # See api.Model.transcribe, or a manifest.Entry.
  text: str
  speaker: str = ''
  language: str = ''


@dataclasses.dataclass(frozen=True)
class Score:
  """Error rates; `str` gives them in a line."""

  result: scoring.Result
  normalizer: str
  transcripts: tuple[transcript.Transcript, ...]  # In the order of the references.

  @property
  def wer(self) -> float:
    """Word error rate: errors / words."""
    return self.result.words.counts.rate

  @property
  def wer_interval(self) -> tuple[float, float]:
    """Its 95 % interval, of a bootstrap over speakers, or over utterances if fewer than two speakers are known."""
    return self.result.words.low, self.result.words.high

  @property
  def cer(self) -> float:
    """Character error rate, spaces included."""
    return self.result.chars.counts.rate

  @property
  def cer_interval(self) -> tuple[float, float]:
    """Its 95 % interval."""
    return self.result.chars.low, self.result.chars.high

  @property
  def words(self) -> alignment.Counts:
    """Substitutions, deletions, insertions and units: the words of the references."""
    return self.result.words.counts

  @property
  def speakers(self) -> dict[str, scoring.Totals]:
    """The counts of each speaker, words.rate among them; '' is for utterances of unknown ones."""
    return self.result.BySpeaker()

  def worst(self, number: int = 10) -> list[scoring.Utterance]:
    """Returns the utterances with the most errors of words, each with its alignment in `pairs`."""
    return self.result.Worst(number)

  def __str__(self) -> str:
    (low, high), (char_low, char_high) = self.wer_interval, self.cer_interval
    return (
      f'WER {self.wer:.2%} ({low:.2%} to {high:.2%}), CER {self.cer:.2%} ({char_low:.2%} to {char_high:.2%}), '
      f'{len(self.result.utterances)} utterances, normalizer {self.normalizer}'
    )


def References(refs: Any) -> list[Reference]:
  """Returns the references that model.score was called with.

  Raises:
    errors.ConfigError: They are malformed, or there are none.
  """
  if isinstance(refs, str | os.PathLike):
    entries = manifest.Read(files.ExpandUser(os.fspath(refs)))
    return [Reference(e.utt_id, e, e.text, e.speaker, e.language) for e in entries]
  if isinstance(refs, bytes | Mapping) or not isinstance(refs, Iterable):
    raise errors.ConfigError(f'references of type {type(refs).__name__}: {_PAIR}')
  found = []
  taken: set[str] = set()
  for number, ref in enumerate(refs, 1):
    if not isinstance(ref, tuple | list) or len(ref) not in (2, 3) or not all(isinstance(x, str) for x in ref[1:]):
      raise errors.ConfigError(f'reference {number}: {_PAIR}, got {type(ref).__name__}')
    name = os.fspath(ref[0]) if isinstance(ref[0], str | os.PathLike) else ''
    utt_id = str(name) if name and name not in taken else f'{name}#{number}'
    taken.add(utt_id)
    found.append(Reference(utt_id, ref[0], ref[1], *ref[2:]))
  if not found:
    raise errors.ConfigError(f'no references; {_PAIR}')
  return found


def Recordings(references: Sequence[Reference]) -> Iterator[Any]:
  """Yields what Model.transcribe takes; parts and channels of a file that follow each other are read in one pass.

  Raises:
    errors.AudioError: A part cannot be read.
  """

  def _File(reference: Reference) -> Any:
    entry = reference.recording
    return (entry.path, entry.is_whole) if isinstance(entry, manifest.Entry) else None

  for file, group in itertools.groupby(references, _File):
    if file is None:
      yield from (reference.recording for reference in group)
    elif file[1]:
      yield from (file[0] for _ in group)
    else:
      entries = [reference.recording for reference in group]
      parts = dict(segments.DecodeSegments(file[0], [(e.offset, e.seconds, e.channel) for e in entries]))
      for i, entry in enumerate(entries):
        samples = parts[i]
        if isinstance(samples, audio.Rejected):
          raise errors.AudioError(entry.utt_id, samples.reason, samples.detail) from samples
        yield samples, audio_format.SAMPLE_RATE


def Normalizer(run: str, name: str | None) -> str:
  """Returns the name of the normaliser of transcripts: `name`, or, if it is None, that of the run's training data.

  Raises:
    errors.ConfigError: The run was trained on transcripts of several.
  """
  if name is not None:
    return name
  recorded = transcripts.Recorded(run) or {}
  names = sorted({normalizer for stream in recorded.values() for normalizer in stream})
  if len(names) > 1:
    raise errors.ConfigError(f'{run}: trained on transcripts of {" and ".join(names)}; set normalizer to one of them')
  return names[0] if names else 'none'


def Scored(
  references: Sequence[Reference],
  results: Sequence[transcript.Transcript],
  normalizer: str,
  language: str | None,
  costs: str,
  resample: str,
) -> Score:
  """Scores transcripts; both sides are normalised."""
  normalize = normalizers.Get(normalizer)
  texts = {r.utt_id: normalize(r.text, r.language or language) for r in references}
  found = {r.utt_id: normalize(t.text, r.language or language) for r, t in zip(references, results, strict=True)}
  speakers = {r.utt_id: r.speaker for r in references if r.speaker != 'unknown'}
  return Score(scoring.Score(texts, found, speakers, costs, resample), normalizer, tuple(results))
