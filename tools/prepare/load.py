"""Loads the utterances of a shard: normalised text, decoded and checked audio; a recording is decoded once for all.

Utterances that share a file (parts of a recording, members of a tar) are loaded in one pass over it, and come in its
order.
"""

import collections
import tarfile
import zlib

from fm_lingvo import audio
from fm_lingvo.data import normalizers
from fm_lingvo.utils import audio as audio_format

from . import pieces

# What a Container may raise for damage; everything else is a mistake in it.
_DAMAGE = (OSError, EOFError, ValueError, zlib.error, tarfile.TarError)


def GroupKey(utterance):
  """Returns what an utterance's audio is read from, equal for utterances that are loaded in one pass."""
  if utterance.load is not None:
    return 'load', utterance.utt_id
  return ('file', utterance.source) if utterance.container is None else ('container', utterance.container)


def Groups(utterances):
  """Returns lists of utterances with the same GroupKey, sorted by id, and the lists by that of their first one."""
  groups = collections.defaultdict(list)
  for utterance in sorted(utterances, key=lambda u: u.utt_id):
    groups[GroupKey(utterance)].append(utterance)
  return list(groups.values())


def Load(utterances, limits):
  """Loads utterances of any number of files.

  Args:
    utterances: List of importers.Utterance.
    limits: shards.Limits.

  Yields:
    (utterance, record, rejected) for each utterance, or each piece of an unlabeled one that is cut, group by group: a
    dict with dataset.FEATURES and None, or None and the audio.Rejected of the first check that failed.
  """
  normalizer = normalizers.Get(limits.normalizer)
  for group in Groups(utterances):
    texts, wanted = {}, []
    for utterance in group:
      texts[utterance.utt_id] = normalizer(utterance.text, utterance.language)
      if limits.require_text and not texts[utterance.utt_id]:
        yield utterance, None, audio.Rejected('no_text', 'no transcript, or no word in it')
      else:
        wanted.append(utterance)
    for utterance, samples in _Audio(wanted, limits):
      try:
        if isinstance(samples, audio.Rejected):
          raise samples
        yield utterance, _Checked(utterance, texts.get(utterance.utt_id, ''), samples, limits), None
      except audio.Rejected as e:
        yield utterance, None, e


def _Audio(group, limits):
  """Yields (utterance, int16 [N] at 16 kHz or audio.Rejected) of a group, in the order of its file."""
  if not group:
    return
  if group[0].load is not None:
    try:
      yield group[0], group[0].load(limits.max_duration)
    except audio.Rejected as e:
      yield group[0], e
  elif group[0].container is None:
    yield from _Recording(group[0].source, group, limits)
  else:
    yield from _Container(group, limits)


def _Recording(source, utterances, limits, name=''):
  """As _Audio, for the utterances of one recording: a path, or the bytes of an audio file and its name."""
  if limits.cut_unlabeled and len(utterances) == 1 and pieces.CanCut(utterances[0]):
    yield from pieces.Cut(source, utterances[0], limits.max_duration, name)
    return
  segments = [(u.offset, u.seconds, u.channel) for u in utterances]
  for index, samples in audio.DecodeSegments(source, segments, limits.max_duration, name):
    yield utterances[index], samples


def _Container(group, limits):
  by_member = collections.defaultdict(list)
  for utterance in group:
    by_member[utterance.member].append(utterance)
  rejected = audio.Rejected('missing', 'not in its container')
  try:
    for member, data in group[0].container.Read(list(by_member)):
      utterances = by_member.pop(member)
      if isinstance(data, audio.Rejected):
        yield from ((utterance, data) for utterance in utterances)
      else:
        yield from _Recording(data, utterances, limits, str(member))
  except _DAMAGE as e:
    rejected = audio.Rejected('corrupt', f'{type(e).__name__}: {e}')
  for utterances in by_member.values():
    for utterance in utterances:
      yield utterance, rejected


def _Checked(utterance, text, samples, limits):
  """Returns a record, see dataset.FEATURES; raises audio.Rejected if a check fails."""
  audio.CheckSpeech(
    samples, min_duration=limits.min_duration, max_duration=limits.max_duration, silence_dbfs=limits.silence_dbfs
  )
  duration = len(samples) / audio_format.SAMPLE_RATE
  audio.CheckText(
    text,
    duration,
    min_rate=limits.min_chars_per_second,
    max_rate=limits.max_chars_per_second,
    declared_duration=utterance.declared_duration,
  )
  return {
    'utt_id': utterance.utt_id,
    'audio': samples.astype('<i2').tobytes(),
    'text': text,
    'speaker': utterance.speaker,
    'domain': utterance.domain,
    'duration': duration,
  }
