"""Files of a Kaldi data directory: lines of a key and a value."""

import collections
import os
import re

from fm_lingvo.utils import files as file_system
from fm_lingvo.utils import suggest
from fm_lingvo.utils import text_lines

from ...common import exit_codes
from ...common import files
from . import inputs

_LINE = re.compile(r'[ \t]*([^ \t]+)[ \t]*(.*?)[ \t]*')
_SPACE = re.compile(r'[ \t]+')
_ARCHIVE = re.compile(r'.*:[0-9]+(\[[0-9:,]*\])?')  # PATH:OFFSET, with a range of rows.
_CHANNELS = {'A': 0, 'a': 0, '1': 0, 'B': 1, 'b': 1, '2': 1}  # Of reco2file_and_channel, which counts from 1.


def RequireData(part, folder):
  """Raises UsageError if the folder of a part of --input is missing or has no wav.scp; names subfolders with one."""
  files.RequireDirectory('kaldi', folder)
  if not file_system.Exists(os.path.join(folder, 'wav.scp')):
    inside = [inputs.Name(f) for f in inputs.Subfolders(folder) if file_system.Exists(os.path.join(f, 'wav.scp'))]
    hint = f', such as its {suggest.Some(inside, 3)}' if inside else ''
    raise exit_codes.UsageError(f'--input={part}: no wav.scp in it; expected a Kaldi data directory{hint}')


def Table(listing, path):
  """Returns {key: (line number, rest of the line)}; a second line with a key is rejected as duplicate_id."""
  table = {}
  for number, line in text_lines.Lines(path):
    match = _LINE.fullmatch(line)
    if not match:
      continue
    key, value = match.groups()
    if key in table:
      listing.Reject(key, f'{path}:{number}', 'duplicate_id', f'line {table[key][0]} has it, too')
    else:
      table[key] = (number, value)
  return table


def Fields(value):
  """Returns the fields of a value, which are separated by spaces and tabs, and by no other white space."""
  return _SPACE.split(value)


def AudioPath(entry):
  """Returns the path of an entry of wav.scp; raises ValueError for a command or a place in an archive."""
  if entry.endswith('|') or entry.startswith('|'):
    raise ValueError(f'{entry[:80]}: a command, which is not run; write its output to a file and name that in wav.scp')
  if entry in ('', '-'):
    raise ValueError(f'{entry or "empty"}: expected the path of an audio file')
  if _ARCHIVE.fullmatch(entry):
    raise ValueError(f'{entry[:80]}: a place in an archive of Kaldi, which is not read; expected an audio file')
  return entry


def Part(value):
  """Returns the offset, end and, if it has one, channel of a line of `segments`, as a row; raises ValueError."""
  fields = Fields(value)
  if len(fields) not in (3, 4):
    raise ValueError(f'{len(fields) + 1} fields, expected UTTERANCE RECORDING START END [CHANNEL]')
  part = dict(zip(('offset', 'end', 'channel'), fields[1:]))
  if part['end'] in ('-1', '-1.0', '-1.00'):  # Up to the end of the recording.
    del part['end']
  return part


def Channels(scp, reco2file_and_channel):
  """Returns {recording: channel from 0, or None if it is not known which} for the recordings that need a channel.

  Kaldi's recordings have one channel each. A is the first channel of the file, also of one with one channel. B is the
  second one if the recordings share a file; otherwise it is the only channel of a file of its own.

  Args:
    scp: Table of wav.scp.
    reco2file_and_channel: Table, or {}.
  """
  files = collections.Counter(path for _, path in scp.values())
  found = {}
  for recording, (_, path) in scp.items():
    known = reco2file_and_channel.get(recording)
    channel = _CHANNELS.get(Fields(known[1])[-1]) if known else None
    if files[path] > 1 or channel == 0:
      found[recording] = channel
  return found


def RejectUnused(listing, path, texts, segments):
  """Rejects the lines of `text` of utterances that do not exist."""
  for utt_id, (number, text) in texts.items():
    if utt_id not in segments:
      listing.Reject(utt_id, f'{path}:{number}', 'no_audio', f'neither in segments nor in wav.scp: {text[:60]}')
