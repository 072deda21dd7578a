"""A transcript as OpenAI's interface answers: json, text, srt, vtt, verbose_json."""

import math
import zlib
from typing import Any

from starlette import responses

from fm_lingvo.inference import transcript as transcript_lib

from ..transcription import transcript_formats
from . import fields

_UNKNOWN_LANGUAGE = 'und'  # ISO 639's code for undetermined.


def Response(transcript: transcript_lib.Transcript, options: fields.Options) -> responses.Response:
  """Returns the answer to a request.

  Args:
    transcript: A Transcript.
    options: What the request asked for.
  """
  kind = options.response_format
  if kind == 'json':
    return responses.JSONResponse({'text': transcript.text, 'usage': _Usage(transcript), **_Damage(transcript)})
  if kind == 'verbose_json':
    return responses.JSONResponse(Verbose(transcript, options))
  text = transcript_formats.Format(transcript, kind)
  return responses.PlainTextResponse(text, media_type='text/vtt' if kind == 'vtt' else None)


def Verbose(transcript: transcript_lib.Transcript, options: fields.Options) -> dict[str, Any]:
  """Returns the fields of verbose_json, with segments and words as asked for."""
  row: dict[str, Any] = {
    'task': 'transcribe',
    'language': options.language or _UNKNOWN_LANGUAGE,
    'duration': round(transcript.duration, 3),
    'text': transcript.text,
    'usage': _Usage(transcript),
  }
  if 'segment' in options.granularities:
    # Clients with types need all of OpenAI's fields. Not known here: tokens, and how likely there is no speech.
    logprob = round(transcript.score / max(1, len(transcript.text)), 4)  # A character's; of a segment: not known.
    row['segments'] = [
      {
        **segment,
        'seek': 0,
        'tokens': [],
        'temperature': 0.0,
        'avg_logprob': logprob,
        'compression_ratio': _CompressionRatio(segment['text']),
        'no_speech_prob': 0.0,
      }
      for segment in transcript.to_dict()['segments']
    ]
  if 'word' in options.granularities:
    row['words'] = transcript_lib.WordRows(transcript.words)
  return row | _Damage(transcript)


def _Damage(transcript: transcript_lib.Transcript) -> dict[str, str]:
  """Returns what of the recording was lost, if anything."""
  return {'damage': transcript.damage} if transcript.damage else {}


def _Usage(transcript: transcript_lib.Transcript) -> dict[str, Any]:
  return {'type': 'duration', 'seconds': math.ceil(transcript.duration)}


def _CompressionRatio(text: str) -> float:
  """Returns how many times as long a text is as when compressed: text that repeats itself has a high one."""
  raw = text.encode()
  return round(len(raw) / len(zlib.compress(raw)), 4)
