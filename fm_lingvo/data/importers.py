"""Importers of speech corpora: functions that list the utterances of a source for tools/prepare_data.py.

A custom importer is a module outside the checkout:

  from fm_lingvo.data import importers

  @importers.Register('radio', options=('input',))
  def Import(options):
    listing = importers.Listing()
    for path in sorted(glob.glob(options.input + '/*.wav')):
      name = os.path.basename(path)
      listing.utterances.append(importers.Utterance(name, '', speaker='', domain='radio', source=path))
    return listing

  python -m tools.prepare_data --import_module=my_importer.py --importer=radio --input=recordings --output=data/radio

An importer reads only transcripts and file names. The audio is decoded and checked later, on the pipeline's workers.
"""

import dataclasses
import types
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Utterance:
  """One utterance before its audio is loaded."""

  utt_id: str  # Unique; a second utterance with the same id is rejected.
  text: str  # '' for an unlabeled utterance.
  speaker: str
  domain: str
  source: str  # Path or origin, for the report.
  # load(max_seconds) -> int16 [samples] at 16 kHz; picklable. None: decode the audio file `source`, in any format.
  load: Callable[[float], Any] | None = None
  declared_duration: float | None = None  # Seconds, if the source has it.
  split: str | None = None  # One of dataset.SPLITS, if the source has it; None: by a hash of the id.
  language: str | None = None  # Language for text normalisation, such as en; None: already normalised.


@dataclasses.dataclass(frozen=True)
class Reject:
  """An utterance that is rejected; `reason` is one of REASONS in tools/common/audio.py."""

  utt_id: str
  source: str
  reason: str
  detail: str


@dataclasses.dataclass
class Options:
  """The options of importers, set by the flags of the same names."""

  input: str | None = None
  languages: tuple = ()
  engines: tuple = ()
  voices_per_line: int = 1
  max_utterances: int | None = None
  official_splits: bool = False  # librispeech: take the split from the subset's name.
  audio_roots: tuple = ()  # manifest: folders with audio, besides the manifest's own.
  exclude: tuple = ()  # general_speech: normalised texts that must not be synthesised.


@dataclasses.dataclass
class Listing:
  """The result of an importer."""

  utterances: list[Utterance] = dataclasses.field(default_factory=list)
  rejects: list[Reject] = dataclasses.field(default_factory=list)
  notes: dict = dataclasses.field(default_factory=dict)  # Facts for the report, e.g. the synthesisers used.

  def Reject(self, utt_id: str, source: str, reason: str, detail: str) -> None:
    """Rejects an utterance with a reason."""
    self.rejects.append(Reject(utt_id, source, reason, detail))


@dataclasses.dataclass(frozen=True)
class Importer:
  """An importer's function Options -> Listing, and the names of the fields of Options that it uses."""

  function: Callable[[Options], Listing]
  options: tuple[str, ...]


_registered: dict[str, Importer] = {}


def Register(
  name: str,
  importer: Callable[[Options], Listing] | types.ModuleType | None = None,
  *,
  options: Sequence[str] = ('input',),
):
  """Registers an importer.

  Args:
    name: Name for --importer.
    importer: A function Options -> Listing, or a module with Import and, optionally, OPTIONS; None: Register returns a
      decorator for the function.
    options: Fields of Options that it uses; the flags of all others are rejected.

  Returns:
    The importer, or the decorator.

  Raises:
    ValueError: The name is already registered, or an option is not a field of Options.
  """
  if importer is None:
    return lambda function: Register(name, function, options=options)
  if name in _registered:
    raise ValueError(f'importer {name}: already registered')
  options = tuple(getattr(importer, 'OPTIONS', options))
  fields = [field.name for field in dataclasses.fields(Options)]
  unknown = [option for option in options if option not in fields]
  if unknown:
    raise ValueError(f'importer {name}: option {unknown[0]}: expected some of {", ".join(fields)}')
  _registered[name] = Importer(importer.Import if isinstance(importer, types.ModuleType) else importer, options)
  return importer


def Registered() -> dict[str, Importer]:
  """Returns dict name -> Importer of all registered importers."""
  return dict(_registered)
