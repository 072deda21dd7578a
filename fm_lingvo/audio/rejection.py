"""Why an utterance is rejected: the reasons that the data preparation counts and reports."""

# Reason -> its meaning, as report.json explains it.
REASONS = {
  'missing': 'the audio file does not exist or cannot be read',
  'empty': 'the file or the recording has length 0',
  'not_audio': 'the content is not audio in a known format',
  'corrupt': 'decoding failed, samples are no sound, or the recording is shorter than its file declares',
  'no_channel': 'the recording has fewer channels than the one that is asked for',
  'silent': 'no 100 ms window is louder than the silence threshold',
  'too_short': 'shorter than --min_duration',
  'too_long': 'longer than --max_duration',
  'mislabelled': 'the transcript or the declared duration does not fit the recording',
  'no_text': 'a transcript is required and missing',
  'no_audio': 'a transcript without an audio file',
  'duplicate_id': 'the utterance id was taken by an earlier entry',
  'not_speech': 'the transcript says that it is a tone, a sound or silence',
  'outside': 'the audio file is neither in the folder of the manifest nor in one of --audio_roots',
  'bad_entry': 'the line or entry that describes the utterance cannot be parsed',
  'synthesis_failed': 'the synthesiser returned an error',
}


class Rejected(Exception):
  """An utterance is rejected; `reason` is one of REASONS."""

  def __init__(self, reason: str, detail: str = '') -> None:
    if reason not in REASONS:
      raise ValueError(f'reason = {reason!r}: expected one of {", ".join(REASONS)}')
    super().__init__(f'{reason}: {detail}')
    self.reason = reason
    self.detail = detail
