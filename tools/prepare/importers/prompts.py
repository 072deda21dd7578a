"""Imports the prompts of the Asterisk telephone exchange: human speech, 16 kHz, five languages with one speaker each.

The audio is in Debian's asterisk-core-sounds-LANG-g722, the transcripts are in asterisk-core-sounds-LANG (CC-BY-SA 3.0
and CC-BY 3.0; see the packages' copyright files). They are fetched with apt, without root, or read from a directory.
"""

from fm_lingvo.data import normalizers
from fm_lingvo.data.normalizers import prompts as telephone

from ...common import exit_codes
from .. import importers
from ..import_helpers import asterisk
from ..import_helpers import packages

OPTIONS = ('input', 'languages', 'max_utterances')
NORMALIZER = 'prompts'
TEST_PERCENT = 30.0


def Import(options):
  """Lists the prompts of --languages (default: all five).

  The speaker is the voice's directory (en_US_f_Allison). Entries whose transcript is only a note in brackets, or has a
  note about a tone or sound, are rejected (not_speech). A prompt without a transcript, or with numbers that the
  language's rules cannot spell, is unlabeled. With max_utterances, those with the smallest hashes are kept.

  Raises:
    exit_codes.UsageError: A language is unknown, apt cannot fetch the packages, or --input has no prompts.
  """
  languages = options.languages or telephone.LANGUAGES
  importers.CheckLanguages(languages)
  names = [f'asterisk-core-sounds-{language}{kind}' for language in languages for kind in ('', '-g722')]
  root = packages.Root('prompts', options.input, names)
  recordings, transcripts = asterisk.Find(root)
  listing = importers.Listing()
  for language in languages:
    if language not in recordings:
      found = ', '.join(sorted(recordings)) or 'none'
      raise exit_codes.UsageError(
        f'{root}: no prompts in {language!r}; expected LANG_*/NAME.g722, found the languages {found}'
      )
    _ImportLanguage(listing, language, recordings[language], transcripts.get(language), options.max_utterances)
  return listing


def _ImportLanguage(listing, language, recordings, transcript, max_utterances):
  texts = asterisk.ReadTranscript(transcript, recordings) if transcript else {}
  found, counts = [], dict.fromkeys(('with_transcript', 'unspellable_numbers', 'ambiguous_transcripts'), 0)
  counts['recordings'] = len(recordings)
  for name, (voice, path) in sorted(recordings.items()):
    utt_id = f'prompts-{language}/{name}'
    raw = texts.pop(name, [])
    if asterisk.IsSound(name, raw):
      listing.Reject(utt_id, path, 'not_speech', raw[0] if raw else 'a tone or silence in the English transcript')
      continue
    labels = {telephone.Normalize(t, language) for t in raw}
    label = labels.pop() if len(labels) == 1 else ''
    counts['ambiguous_transcripts'] += bool(labels)
    spelled = not normalizers.HasDigits(label)
    counts['unspellable_numbers'] += not spelled
    text = raw[0] if label and spelled else ''
    counts['with_transcript'] += bool(text)
    found.append(importers.Utterance(utt_id, text, voice, f'prompts/{language}', path, language=language))
  if max_utterances is not None:
    sample = sorted(found, key=lambda u: importers.Uniform(u.utt_id, 'sample'))[:max_utterances]
    found = sorted(sample, key=lambda u: u.utt_id)
  listing.utterances.extend(found)
  counts['transcripts_without_audio'] = len(texts)  # Those of other packages' sounds, too; counted, not rejected.
  listing.notes[f'prompts/{language}'] = counts
