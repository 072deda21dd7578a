"""Lhotse's cuts, recordings and supervisions (JSON objects) as entries (rows.py) of the utterances that they are.

A supervision is an utterance; a cut without supervisions is one without a transcript. Times of a supervision count from
the start of its cut, those of a cut from the start of its recording.
"""

import contextlib
import json

from fm_lingvo.data import manifest_keys
from fm_lingvo.utils import audio

_TOLERANCE = 0.01  # Seconds that a part may differ from the whole recording and still be taken for it.
_CUTS = ('MonoCut', 'MultiCut')
_KNOWN = frozenset('id recording_id start duration channel text language speaker supervisions recording type'.split())


@contextlib.contextmanager
def _RefusingOtherForms():
  """Raises manifest_keys.BadEntry where an entry has another form, such as a number instead of a list."""
  try:
    yield
  except (AttributeError, OverflowError, TypeError) as e:
    raise manifest_keys.BadEntry(f"not in Lhotse's form ({type(e).__name__}: {e})") from e


@_RefusingOtherForms()
def FromCut(listing, cut, *, inside):
  """Returns the utterances of a cut.

  Args:
    listing: importers.Listing; keys that are not used are counted in `ignored`.
    cut: dict, as in Lhotse's JSON lines.
    inside: Whether the recording is only what the cut has (Shar), so that supervisions must not reach beyond.

  Returns:
    List of (id, dict with keys of manifest_keys.ALIASES, or manifest_keys.BadEntry).

  Raises:
    manifest_keys.BadEntry: The cut cannot be used.
  """
  kind = cut.get('type', _CUTS[0])
  if kind not in _CUTS:
    raise manifest_keys.BadEntry(f'{kind}: mixtures and padding are not read; save its audio first, with Lhotse')
  _Count(listing, cut)
  recording = cut.get('recording')
  if not isinstance(recording, dict):
    raise manifest_keys.BadEntry('a cut without a recording')
  supervisions = cut.get('supervisions') or []
  if not supervisions:
    return [(str(cut.get('id', '')), _Row(cut, cut, recording, 0.0))]
  result = []
  for supervision in supervisions:
    utt_id = str(supervision.get('id', ''))
    try:
      _Count(listing, supervision)
      _CheckInside(cut, supervision, inside)
      supervision = supervision if kind == 'MultiCut' else {**supervision, 'channel': cut.get('channel')}
      result.append((utt_id, _Row(supervision, cut, recording, _Seconds(cut, 'start'))))
    except manifest_keys.BadEntry as e:
      result.append((utt_id, e))
  return result


@_RefusingOtherForms()
def FromSupervision(listing, supervision, recording):
  """Returns the entry of a supervision of a recording, or of a recording itself; raises manifest_keys.BadEntry."""
  if supervision is recording:
    return _Row({'id': recording.get('id'), 'start': 0, 'duration': recording.get('duration')}, {}, recording, 0.0)
  _Count(listing, supervision)
  return _Row(supervision, {}, recording, 0.0)


def _Count(listing, entry):
  for key, value in entry.items():
    if key == 'custom' and isinstance(value, dict):
      listing.ignored.update(f'custom.{name}' for name in value)
    elif key not in _KNOWN and value is not None:
      listing.ignored[key] += 1


def _Seconds(entry, key):
  value = entry.get(key)
  if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < audio.MOST_SECONDS:
    raise manifest_keys.BadEntry(f'{key} = {json.dumps(value)[:40]}: expected seconds')
  return float(value)


def _CheckInside(cut, supervision, inside):
  start, duration = _Seconds(supervision, 'start'), _Seconds(supervision, 'duration')
  if inside and (start < -_TOLERANCE or start + duration > _Seconds(cut, 'duration') + _TOLERANCE):
    raise manifest_keys.BadEntry('the supervision reaches beyond the cut, which is all that the tar has')


@_RefusingOtherForms()
def _Row(entry, cut, recording, shift):
  """Returns the entry of a part of a recording that `entry` describes and that begins `shift` seconds later."""
  transforms = [t.get('name', str(t)) if isinstance(t, dict) else str(t) for t in recording.get('transforms') or ()]
  changes = sorted(set(transforms) - {'Resample'})
  if changes:
    raise manifest_keys.BadEntry(f'transforms of the recording are not applied: {", ".join(changes)}')
  source, channel = _Source(recording, entry.get('channel', cut.get('channel')))
  start, seconds = round(_Seconds(entry, 'start') + shift, 6), _Seconds(entry, 'duration')
  row = {'audio_filepath': source, 'duration': seconds, 'channel': channel, 'utt_id': entry.get('id') or cut.get('id')}
  whole = recording.get('duration')
  if start > _TOLERANCE or not isinstance(whole, (int, float)) or abs(start + seconds - whole) > _TOLERANCE:
    row['offset'] = start if abs(start) > 1e-3 else 0.0
  row.update(text=entry.get('text'), speaker=entry.get('speaker'), lang=entry.get('language'))
  return row


def _Source(recording, channel):
  """Returns (path, channel in the file or None for all) of the file with a channel, or list of channels."""
  sources = recording.get('sources')
  if not isinstance(sources, list) or not all(isinstance(s, dict) for s in sources) or not sources:
    raise manifest_keys.BadEntry('a recording without sources')
  wanted = channel if isinstance(channel, list) else [] if channel is None else [channel]
  holding = [s for s in sources if set(wanted) <= set(s.get('channels') or [0])]
  if not holding or (not wanted and len(sources) > 1):
    raise manifest_keys.BadEntry(f'channel = {json.dumps(channel)}: expected those of one file, of {len(sources)}')
  source = holding[0]
  channels = source.get('channels') or [0]
  if source.get('type') not in ('file', 'shar'):
    hint = '; commands are never run' if source.get('type') == 'command' else ''
    raise manifest_keys.BadEntry(f'a source of the type {source.get("type")}: expected file{hint}')
  if not wanted or set(wanted) == set(channels):
    return source.get('source'), None
  if len(wanted) > 1:
    raise manifest_keys.BadEntry(f'channel = {json.dumps(channel)}: expected one or all of {json.dumps(channels)}')
  return source.get('source'), channels.index(wanted[0])
