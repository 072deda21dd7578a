"""Cuts unlabeled recordings that are longer than an utterance may be at quiet places, while they are decoded."""

import dataclasses

from fm_lingvo import audio
from fm_lingvo.audio import channels as audio_channels
from fm_lingvo.audio import segments as audio_segments
from fm_lingvo.audio import stream as audio_stream
from fm_lingvo.inference import long_form
from fm_lingvo.utils import audio as audio_format


def CanCut(utterance):
  """Returns whether an utterance may be cut: it is a whole recording, and has no transcript."""
  return not utterance.text.strip() and not utterance.is_part and utterance.load is None


def Cut(source, utterance, max_seconds, name=''):
  """Decodes a recording, and cuts it if it is too long; memory is that of a piece.

  Args:
    source: Path of the recording, or the bytes of an audio file.
    utterance: importers.Utterance for which CanCut is true.
    max_seconds: Longest piece in seconds.
    name: File name, if the source has none.

  Yields:
    (utterance, int16 [N] at 16 kHz or audio.Rejected) for each piece. The id of a piece is that of the utterance and
    `@START-END` in milliseconds. Damage ends the recording; the pieces before it are kept.
  """
  start = 0  # Of the next piece, in samples.
  try:
    with audio_stream.Translated(), audio_segments.OpenSource(source) as f:
      seconds = audio_stream.Seconds(f, name or (source if isinstance(source, str) else ''))
      blocks = (audio_channels.Select(block, utterance.channel) for block in seconds)
      for window, samples in long_form.Cut(blocks, max_seconds):
        if start == 0 and window.end == window.cut:
          yield utterance, samples
          return
        piece = samples[start - window.start : window.cut - window.start]
        yield _Piece(utterance, start, window.cut), piece
        start = window.cut
  except audio.Rejected as e:
    yield utterance, e


def _Piece(utterance, start, end):
  first, last = (round(1000 * n / audio_format.SAMPLE_RATE) for n in (start, end))
  return dataclasses.replace(utterance, utt_id=f'{utterance.utt_id}@{first}-{last}', declared_duration=None)
