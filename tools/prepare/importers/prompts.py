"""Imports the prompts of the Asterisk telephone exchange: human speech, 16 kHz, five languages with one speaker each.

The audio is in Debian's asterisk-core-sounds-LANG-g722, the transcripts are in asterisk-core-sounds-LANG (CC-BY-SA 3.0
and CC-BY 3.0; see the packages' copyright files). They are fetched with apt, without root, or read from a directory.
"""

import functools
import os
import re

from fm_lingvo.utils import files as file_system

from ...common import audio
from ...common import exit_codes
from ...common import files
from ...common import normalizers
from ...common.normalizers import prompts as telephone
from .. import importers
from ..import_helpers import debian
from ..import_helpers import lines

OPTIONS = ('input', 'languages', 'max_utterances')
NORMALIZER = 'prompts'
TEST_PERCENT = 30.0

# Formats in order of preference, for prompts that a directory has in several formats.
_EXTENSIONS = ('.g722', '.wav16', '.wav', '.flac', '.ogg', '.mp3', '.gsm')
_TRANSCRIPT = re.compile(r'^core-sounds-([a-z]{2})\.txt(\.gz)?$')
_VOICE = re.compile(r'^([a-z]{2})(_[A-Z]{2}_[fm]_\w+)?$')
# Prompts without speech according to the English transcript; other languages do not list all of them.
_SOUNDS = re.compile(r'^(silence/|(ascending|descending)-2tone$|beep$|beeperr$|confbridge-(join|leave)$|tt-monkeys$)')
# `name: ` inside a line. Names of one word are not matched: they could be words of the text.
_INNER_NAME = re.compile(r'\b([A-Za-z]+(?:[-/_][A-Za-z0-9]+)+): ')
_SOUND_NOTE = re.compile(r'[(\[<][^)\]>]*\b(tones?|beeps?|sounds?|silence)\b', re.IGNORECASE)


def Import(options):
  """Lists the prompts of --languages (default: all five).

  The id is prompts-LANG/NAME, the domain prompts/LANG, the speaker the voice's directory (en_US_f_Allison). Entries
  whose transcript is only a note in brackets, or has a note about a tone or sound, are rejected (not_speech). A prompt
  without a transcript, or with numbers that the language's rules cannot spell, is unlabeled: its text is ''. With
  max_utterances, the utterances of each language with the smallest hashes of their ids are kept.

  Raises:
    exit_codes.UsageError: A language is unknown, apt cannot fetch the packages, or --input has no prompts.
  """
  languages = options.languages or telephone.LANGUAGES
  importers.CheckLanguages(languages)
  if options.input:
    root = files.RequireDirectory('prompts', options.input)
  else:
    packages = [f'asterisk-core-sounds-{language}{kind}' for language in languages for kind in ('', '-g722')]
    try:
      root, _ = debian.FetchPackages(packages)
    except debian.AptError as e:
      raise exit_codes.UsageError(f'{e}; give a directory with the prompts: --input=DIRECTORY') from e
  recordings, transcripts = _Find(root)
  listing = importers.Listing()
  for language in languages:
    if language not in recordings:
      raise exit_codes.UsageError(
        f'{root}: no prompts in {language!r}; expected LANG_*/NAME.g722, found the languages '
        f'{", ".join(sorted(recordings)) or "none"}'
      )
    _ImportLanguage(listing, language, recordings[language], transcripts.get(language), options.max_utterances)
  return listing


def _Find(root):
  """Returns {language: {name: (voice, path)}} and {language: path of the transcript}."""
  recordings, transcripts = {}, {}
  for directory, names in files.Walk(root):
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


def _ImportLanguage(listing, language, recordings, transcript, max_utterances):
  texts = _ReadTranscript(transcript, recordings) if transcript else {}
  found = []
  counts = {
    'recordings': len(recordings),
    'with_transcript': 0,
    'unspellable_numbers': 0,
    'ambiguous_transcripts': 0,
    'transcripts_without_audio': 0,
  }
  for name, (voice, path) in sorted(recordings.items()):
    utt_id = f'prompts-{language}/{name}'
    raw = texts.pop(name, [])
    if _SOUNDS.match(name) or any(not telephone.StripNotes(t) or _SOUND_NOTE.search(t) for t in raw):
      listing.Reject(utt_id, path, 'not_speech', raw[0] if raw else 'a tone or silence in the English transcript')
      continue
    labels = {telephone.Normalize(t, language) for t in raw}
    label = labels.pop() if len(labels) == 1 else ''
    counts['ambiguous_transcripts'] += bool(labels)
    spelled = not normalizers.HasDigits(label)
    counts['unspellable_numbers'] += not spelled
    text = raw[0] if label and spelled else ''
    counts['with_transcript'] += bool(text)
    found.append(
      importers.Utterance(
        utt_id,
        text,
        voice,
        f'prompts/{language}',
        path,
        functools.partial(audio.Decode, path),
        language=language,
      )
    )
  if max_utterances is not None and len(found) > max_utterances:
    sample = set(sorted((u.utt_id for u in found), key=lambda i: importers.Uniform(i, 'sample'))[:max_utterances])
    found = [u for u in found if u.utt_id in sample]
  listing.utterances.extend(found)
  # Transcripts also cover the extra sounds of other packages; these are counted, not rejected.
  counts['transcripts_without_audio'] = len(texts)
  listing.notes[f'prompts/{language}'] = counts


def _ReadTranscript(path, names):
  """Reads lines `name: text`; returns {name: [texts]}, with several texts if the file has several lines for a name.

  Some lines contain several entries (`a: text b: text`) or repeat their name. A known name with a colon inside a line
  starts a new entry, which is used only if that name has no line of its own.
  """
  texts, inner = {}, {}
  for _, line in lines.Lines(path):
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
