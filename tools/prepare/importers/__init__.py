"""Importers list the utterances of a source; tools/prepare_data.py decodes, checks and writes them.

An importer is a function `Import(options) -> Listing` in tools/prepare/importers/NAME.py, where OPTIONS names the
fields of Options that it goes by. It reads transcripts and file names only: the audio is loaded later, by
`Utterance.load`, on whatever worker the pipeline chose.
"""

import dataclasses
import hashlib
import importlib
import typing

from fm_lingvo.utils import suggest

from ...common import exit_codes
from ...common import normalize

# Name -> module, relative to this package.
IMPORTERS = {
  'prompts': '.prompts',
  'librispeech': '.librispeech',
  'manifest': '.manifest',
  'synth': '...speech_synthesis.synth',
  'general_speech': '...speech_synthesis.general_speech',
}


@dataclasses.dataclass(frozen=True)
class Utterance:
  """One utterance before its audio is loaded."""

  utt_id: str
  text: str  # Normalised; '' for an unlabeled utterance.
  speaker: str
  domain: str
  source: str  # Where it comes from, for the report.
  load: typing.Callable  # load(max_seconds) -> int16 [N] at 16 kHz, or raises audio.Rejected; picklable.
  declared_duration: float | None = None  # Seconds, where the source says it.
  split: str | None = None  # One of dataset.SPLITS, where the source says it; else a hash of the id decides.


@dataclasses.dataclass(frozen=True)
class Reject:
  """One utterance that is left out; reason is one of audio.REASONS."""

  utt_id: str
  source: str
  reason: str
  detail: str


@dataclasses.dataclass
class Options:
  """What an importer may be told."""

  input: str | None = None
  languages: tuple = ()
  engines: tuple = ()
  voices_per_line: int = 1
  max_utterances: int | None = None
  official_splits: bool = False  # librispeech: whether the subset's name decides the split.
  audio_roots: tuple = ()  # manifest: folders, beside its own, in which its audio may be.
  exclude: tuple = ()  # Normalised texts that general_speech must not speak.


@dataclasses.dataclass
class Listing:
  """What an importer found."""

  utterances: list = dataclasses.field(default_factory=list)
  rejects: list = dataclasses.field(default_factory=list)
  notes: dict = dataclasses.field(default_factory=dict)  # Facts for the report, e.g. the synthesisers used.

  def Reject(self, utt_id, source, reason, detail):
    self.rejects.append(Reject(utt_id, source, reason, detail))


def Uniform(*key):
  """A number in [0, 1) that depends on the key only: choices that are the same on every machine."""
  digest = hashlib.blake2b('\0'.join(map(str, key)).encode('utf-8'), digest_size=8).digest()
  return int.from_bytes(digest, 'big') / 2**64


def CheckLanguages(languages):
  """Raises UsageError for a language that normalize has no rules for."""
  for language in languages:
    if language not in normalize.LANGUAGES:
      raise exit_codes.UsageError(
        f'--languages={language}: expected some of {",".join(normalize.LANGUAGES)}'
        f'{suggest.Hint(language, normalize.LANGUAGES)}'
      )


def OptionsOf(name):
  """Names of the fields of Options that an importer goes by; raises UsageError as GetImporter."""
  return _Module(name).OPTIONS


def GetImporter(name):
  """The Import function of an importer.

  Raises:
    UsageError: no such importer.
  """
  return _Module(name).Import


def _Module(name):
  if name not in IMPORTERS:
    raise exit_codes.UsageError(
      f'--importer={name}: expected one of {", ".join(sorted(IMPORTERS))}{suggest.Hint(name, IMPORTERS)}'
    )
  return importlib.import_module(IMPORTERS[name], __package__)
