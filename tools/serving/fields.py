"""The fields of OpenAI's transcription request -> what the server does; what it cannot do is refused, never ignored."""

import dataclasses
from collections.abc import Collection
from collections.abc import Mapping

from fm_lingvo.data import normalizers
from fm_lingvo.utils import suggest

from . import problems

FORMATS = ('json', 'text', 'srt', 'verbose_json', 'vtt')
GRANULARITIES = ('word', 'segment')
_LIST = 'timestamp_granularities[]'
_ONCE = ('model', 'language', 'prompt', 'response_format', 'temperature', 'stream')
_FALSE = ('', 'false', '0')


@dataclasses.dataclass(frozen=True)
class Options:
  """What a request asks for."""

  model: str  # One of those that are served.
  language: str  # A code as the client wrote it; '': not given.
  response_format: str  # One of FORMATS.
  granularities: frozenset[str]  # Of GRANULARITIES, for verbose_json.


def Parse(fields: Collection[tuple[str, str]], languages: Mapping[str, str | None]) -> Options:
  """Checks the fields of a form.

  Args:
    fields: (name, value) of each.
    languages: Model that is served -> code of what it transcribes, None: not known. A request need not name the only
      model.

  Raises:
    problems.Problem: An unknown model (404).
    problems.Wrong: A field that cannot be used (400).
  """
  once = _Once(fields)
  model = Model(once.get('model'), languages)
  return Options(
    model=model,
    language=CheckLanguage(once.get('language', ''), languages[model]),
    response_format=_Format(once),
    granularities=_Granularities(fields, once.get('response_format', 'json')),
  )


def Model(name: object, models: Collection[str]) -> str:
  """Returns the model that a request names; None: it names none.

  Raises:
    problems.Problem: It is not served.
    problems.Wrong: It is no text, or None, and there are several.
  """
  if name is None:
    if len(models) == 1:
      return next(iter(models))
    raise problems.Wrong('model', f'missing; expected one of {", ".join(models)}')
  if not isinstance(name, str):
    raise problems.Wrong('model', f'{name!r}; expected one of {", ".join(models)}')
  if name not in models:
    raise problems.Problem(
      404,
      f'model: no model {name!r} here; expected one of {", ".join(models)}{suggest.Hint(name, models)}',
      param='model',
      code='model_not_found',
    )
  return name


def CheckLanguage(asked: object, served: str | None) -> str:
  """Returns the language of a transcript: what the client asks for, else what the model transcribes; '': not known.

  Args:
    asked: The client's, such as 'en' or 'en-US'.
    served: Code of what the model transcribes; None: not known, so that every code is accepted.

  Raises:
    problems.Wrong: It is no code, or the model transcribes another language.
  """
  if not isinstance(asked, str) or asked and not normalizers.IsLanguage(asked):
    raise problems.Wrong('language', f'{asked!r}; expected a code such as "en"')
  if asked and served and normalizers.Base(asked) != normalizers.Base(served):
    raise problems.Wrong('language', f'{asked!r}: the model transcribes {served!r}')
  return asked or served or ''


def _Once(fields: Collection[tuple[str, str]]) -> dict[str, str]:
  """Returns the fields that may be there once."""
  once: dict[str, str] = {}
  for name, value in fields:
    if name == _LIST:
      continue
    if name not in _ONCE:
      raise problems.Wrong(name, f'no such field{suggest.Hint(name, (*_ONCE, _LIST, "file"))}')
    if name in once:
      raise problems.Wrong(name, 'given twice')
    once[name] = value
  if once.get('prompt'):
    raise problems.Wrong('prompt', 'not supported: a model here has no text before it; leave it out')
  if once.get('stream', '').lower() not in _FALSE:
    raise problems.Wrong('stream', 'not supported here; use the WebSocket /v1/audio/stream, or leave it out')
  if not _IsZero(once.get('temperature', '')):
    raise problems.Wrong('temperature', f'{once["temperature"]!r}: nothing is sampled; expected 0')
  return once


def _IsZero(text: str) -> bool:
  try:
    return not text or float(text) == 0
  except ValueError:
    return False


def _Format(once: dict[str, str]) -> str:
  value = once.get('response_format', 'json')
  if value not in FORMATS:
    raise problems.Wrong(
      'response_format', f'{value!r}; expected one of {", ".join(FORMATS)}{suggest.Hint(value, FORMATS)}'
    )
  return value


def _Granularities(fields: Collection[tuple[str, str]], response_format: str) -> frozenset[str]:
  asked = [value for name, value in fields if name == _LIST]
  for value in asked:
    if value not in GRANULARITIES:
      raise problems.Wrong(_LIST, f'{value!r}; expected {" or ".join(GRANULARITIES)}')
  if asked and response_format != 'verbose_json':
    raise problems.Wrong(_LIST, f'only with response_format=verbose_json, not {response_format}')
  return frozenset(asked or ('segment',))
