"""Brings references and the hypotheses of one or two systems together: the same ids, the same spelling."""

import bisect
import dataclasses
import os
from collections.abc import Sequence

from fm_lingvo import errors
from fm_lingvo.data import normalizers
from fm_lingvo.evaluation import scoring

from ..prepare.import_helpers import audio_paths
from ..prepare.import_helpers import stm
from . import transcript_files


@dataclasses.dataclass(frozen=True)
class Options:
  """How texts are brought together."""

  ignore_missing: bool = False
  by_recording: bool = False  # Join the segments of STM files.
  basename: bool = False  # Ids are compared without folders and the extensions of audio.
  normalizer: str = 'none'
  language: str | None = None  # Of texts without one.


@dataclasses.dataclass(frozen=True)
class Matched:
  """Texts by the same ids, in the order of the references."""

  references: dict[str, str]
  hypotheses: list[dict[str, str]]  # One of each system.
  speakers: dict[str, str]  # Of ids that have one.
  notes: list[str]


def Match(
  reference: transcript_files.Transcripts,
  hypotheses: Sequence[transcript_files.Transcripts],
  options: Options,
  speakers: dict[str, str] | None = None,
) -> Matched:
  """Matches texts by their ids and normalises them.

  Args:
    reference: The references; of STM, the segments of words in CTM files, as in sclite.
    hypotheses: Of each system.
    options: Options.
    speakers: Utterance id -> speaker, instead of those in the files; None: those in the files.

  Raises:
    errors.ConfigError: Ids differ and options.ignore_missing is not set, or none are shared.
  """
  normalize = normalizers.Get(options.normalizer)
  notes = list(reference.notes)
  for hypothesis in hypotheses:
    if (reference.format == 'lines') != (hypothesis.format == 'lines'):
      raise errors.ConfigError(
        f'{reference.path} was read as {reference.format}, {hypothesis.path} as {hypothesis.format}: expected ids '
        'in both or in none; --ref_format and --hyp_format say what they are'
      )
    if reference.format == 'lines' and len(reference.texts) != len(hypothesis.texts):
      raise errors.ConfigError(
        f'{reference.path} has {len(reference.texts)} lines, {hypothesis.path} {len(hypothesis.texts)}: expected '
        'the same number, since lines without ids are matched by their number'
      )
    notes += [note for note in hypothesis.notes if note not in notes]
  prepared = [_Prepare(t, reference, options) for t in (reference, *hypotheses)]
  references, languages = prepared[0].texts, prepared[0].languages
  ids = list(references)
  for hypothesis, file in zip(prepared[1:], hypotheses):
    if reference.format == 'stm' and file.format != 'stm' and references.keys().isdisjoint(hypothesis.texts):
      raise errors.ConfigError(
        f'{file.path}: none of the segments of {reference.path}; --by_recording joins the segments of a recording'
      )
    if references.keys().isdisjoint(hypothesis.texts) and not set(map(_Base, references)).isdisjoint(
      map(_Base, hypothesis.texts)
    ):
      raise errors.ConfigError(
        f'{file.path}: none of the ids of {reference.path}, such as {next(iter(references))}; --basename matches them '
        'without folders and extensions'
      )
    shared, note = scoring.Match(references, hypothesis.texts, file.path, options.ignore_missing)
    notes += [f'{note}; left out'] if note else []
    kept = set(shared)
    ids = [i for i in ids if i in kept]
  if not ids:
    raise errors.ConfigError('no utterance that all files have')

  def Normalized(texts: dict[str, str]) -> dict[str, str]:
    return {i: normalize(texts[i], languages.get(i) or options.language) for i in ids}

  if speakers is None:
    speakers = {i: speaker for t in reversed(prepared) for i, speaker in t.speakers.items()}
  else:
    unknown = [i for i in ids if i not in speakers]
    notes += [f'--speakers: none for {len(unknown)} of {len(ids)} utterances, such as {unknown[0]}'] if unknown else []
  return Matched(Normalized(references), [Normalized(t.texts) for t in prepared[1:]], speakers, notes)


def SplitWords(
  words: dict[str, list[transcript_files.Word]], segments: dict[str, stm.Segment], joined: bool = False
) -> dict[str, str]:
  """Splits recordings into segments as sclite does.

  A word belongs to the first segment that ends after the word's middle, or to the last one: words between two segments
  belong to the later one.

  Args:
    words: Words of each recording and channel, of CTM.
    segments: Segments of STM by utterance id; those that are not to be scored take their words away.
    joined: Whether what is left of a recording stays together.

  Returns:
    Texts by utterance id, for all segments of recordings with words, or by recording if they are joined; recordings
    without segments keep their id.
  """
  groups: dict[str, list[tuple[float, float, str]]] = {}
  for utt_id, s in segments.items():
    groups.setdefault(transcript_files.RecordingOf(s.recording, s.channel), []).append((s.end, s.start, utt_id))
  ignored = {i for i, s in segments.items() if s.text.strip().lower() == stm.IGNORED}
  texts: dict[str, list[str]] = {}
  for name, of_recording in words.items():
    ends = sorted(groups.get(name, [(0.0, 0.0, name)]))
    for _, _, utt_id in ends:
      if utt_id not in ignored:
        texts[name if joined else utt_id] = []
    for word in of_recording:
      place = bisect.bisect_left(ends, ((word.start + word.end) / 2,))
      utt_id = ends[min(place, len(ends) - 1)][2]
      if utt_id not in ignored:
        texts[name if joined else utt_id].append(word.text)
  return {i: ' '.join(of_segment) for i, of_segment in texts.items()}


def _Base(utt_id: str) -> str:
  """Returns an id without folders and the extension of audio."""
  return audio_paths.Stem(os.path.basename(utt_id))


def _Prepare(
  transcripts: transcript_files.Transcripts, reference: transcript_files.Transcripts, options: Options
) -> transcript_files.Transcripts:
  """Returns the texts of a file by the ids that the options ask for."""
  result = transcripts
  if options.by_recording and transcripts.segments:
    result = _ByRecording(transcripts)
  elif reference.segments and transcripts.words:
    texts = SplitWords(transcripts.words, reference.segments, options.by_recording)
    result = dataclasses.replace(transcripts, texts=texts)
  if not options.basename:
    return result
  names: dict[str, str] = {}
  for utt_id in result.texts:
    name = _Base(utt_id)
    if name in names:
      raise errors.ConfigError(f'{transcripts.path}: --basename: {names[name]} and {utt_id} are both {name}')
    names[name] = utt_id
  return dataclasses.replace(
    result,
    texts={name: result.texts[i] for name, i in names.items()},
    speakers={name: result.speakers[i] for name, i in names.items() if i in result.speakers},
    languages={name: result.languages[i] for name, i in names.items() if i in result.languages},
  )


def _ByRecording(transcripts: transcript_files.Transcripts) -> transcript_files.Transcripts:
  """Joins the segments of each recording and channel in the order of their times; only a lone speaker is kept."""
  texts: dict[str, list[str]] = {}
  speakers: dict[str, set[str]] = {}
  for utt_id, segment in sorted(transcripts.segments.items(), key=lambda item: (item[1].start, item[1].end)):
    if utt_id in transcripts.texts:
      name = transcript_files.RecordingOf(segment.recording, segment.channel)
      texts.setdefault(name, []).append(segment.text)
      speakers.setdefault(name, set()).add(segment.speaker)
  return dataclasses.replace(
    transcripts,
    texts={name: ' '.join(parts) for name, parts in texts.items()},
    speakers={name: next(iter(names)) for name, names in speakers.items() if len(names) == 1},
  )
