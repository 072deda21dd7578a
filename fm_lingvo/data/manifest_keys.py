"""The keys of an entry of a manifest, under the names that people use."""

# Key -> its other names.
ALIASES: dict[str, list[str]] = {
  'audio_filepath': (
    'audio_path audio_file audio_filename audio wav_path wav wav_filename path file file_name filename'
  ).split(),
  'text': 'transcript transcription sentence wrd'.split(),
  'duration': 'dur length_seconds'.split(),
  'offset': 'start start_time begin begin_time'.split(),
  'end': 'end_time stop'.split(),
  'channel': 'channel_id channel_selector'.split(),
  'utt_id': 'id utterance_id uttid utt segment_id key'.split(),
  'speaker': 'speaker_id client_id spk spk_id speaker_name'.split(),
  'lang': 'language locale lang_id source_lang'.split(),
  'split': 'subset partition'.split(),
  'domain': 'corpus dataset'.split(),
}
_NUMBERS = ('duration', 'offset', 'end', 'channel')
_KEY_OF = {name: key for key, names in ALIASES.items() for name in (key, *names)}


def KeyOf(name: str) -> str | None:
  """Returns the key of ALIASES that a name stands for, or None."""
  return _KEY_OF.get(name) or _KEY_OF.get(str(name).strip().lower())


def IsMissing(key: str | None, value: object) -> bool:
  """Returns whether a key of ALIASES, or None, has no value: null, or NaN, which pandas writes where a text is missing.

  Anything else, 0 too, is a value; a number that is NaN is a wrong one.
  """
  return value is None or (value != value and key not in _NUMBERS)
