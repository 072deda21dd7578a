"""The prompts of the Asterisk telephone exchange on disk: recordings by language and name, and their transcripts."""

import os
import re

from fm_lingvo.data.normalizers import prompts as telephone
from fm_lingvo.utils import files as file_system
from fm_lingvo.utils import text_lines

# Formats in order of preference, for prompts that a directory has in several formats.
_EXTENSIONS = ('.g722', '.wav16', '.wav', '.flac', '.ogg', '.mp3', '.gsm')
_TRANSCRIPT = re.compile(r'^core-sounds-([a-z]{2})\.txt(\.gz)?$')
_VOICE = re.compile(r'^([a-z]{2})(_[A-Z]{2}_[fm]_\w+)?$')
# `name: ` inside a line. Names of one word are not matched: they could be words of the text.
_INNER_NAME = re.compile(r'\b([A-Za-z]+(?:[-/_][A-Za-z0-9]+)+): ')
# Prompts without speech according to the English transcript; other languages do not list all of them.
_SOUNDS = re.compile(r'^(silence/|(ascending|descending)-2tone$|beep$|beeperr$|confbridge-(join|leave)$|tt-monkeys$)')
_SOUND_NOTE = re.compile(r'[(\[<][^)\]>]*\b(tones?|beeps?|sounds?|silence)\b', re.IGNORECASE)


def IsSound(name, texts):
  """Returns whether a prompt is a tone, a sound or silence, by its name or its transcripts as published."""
  return bool(_SOUNDS.match(name)) or any(not telephone.StripNotes(t) or _SOUND_NOTE.search(t) for t in texts)


def Find(root):
  """Returns {language: {name: (voice, path)}} and {language: path of the transcript}."""
  recordings, transcripts = {}, {}
  for directory, names in file_system.Walk(root):
    relative = os.path.relpath(directory, root) if not file_system.IsRemote(root) else directory[len(root) :]
    parts = [p for p in relative.split('/') if p not in ('', '.')]
    depth = next((i for i, p in enumerate(parts) if _VOICE.match(p)), None)
    for name in names:
      path = os.path.join(directory, name)
      match = _TRANSCRIPT.match(name)
      if match:
        transcripts.setdefault(match.group(1), path)
      stem, extension = os.path.splitext(name)
      if depth is None or extension not in _EXTENSIONS:
        continue
      voice, prompt = parts[depth], '/'.join(parts[depth + 1 :] + [stem])
      found = recordings.setdefault(voice[:2], {})
      known = found.get(prompt)
      if known is None or _Preference(voice, path) < _Preference(*known):
        found[prompt] = (voice, path)
  return recordings, transcripts


def _Preference(voice, path):
  """Returns a sort key, smaller is better: a full voice name before a link such as `en`, then the better format."""
  return -len(voice), _EXTENSIONS.index(os.path.splitext(path)[1])


def ReadTranscript(path, names):
  """Reads lines `name: text`; returns {name: [texts]}, with several texts if the file has several lines for a name.

  Some lines contain several entries (`a: text b: text`) or repeat their name. A known name with a colon inside a line
  starts a new entry, which is used only if that name has no line of its own.
  """
  texts, inner = {}, {}
  for _, line in text_lines.Lines(path):
    name, separator, text = line.partition(':')
    if not separator or line.startswith(';'):
      continue
    entries = [(name.strip(), '')]
    position = 0
    for match in _INNER_NAME.finditer(text):
      if match.group(1) in names:
        entries[-1] = (entries[-1][0], text[position : match.start()].strip())
        entries.append((match.group(1), ''))
        position = match.end()
    entries[-1] = (entries[-1][0], text[position:].strip())
    if len(entries) > 1 and entries[1][0] == entries[0][0]:
      del entries[0]
    for i, (key, value) in enumerate(entries):
      if value:
        (inner if i else texts).setdefault(key, []).append(value)
  return {**inner, **texts}
