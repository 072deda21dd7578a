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

or, in an installed package, an entry point of the group `fm_lingvo.importers` that names such a module:

  [project.entry-points."fm_lingvo.importers"]
  radio = "my_package.radio_importer"

An importer reads only transcripts and file names. The audio is decoded and checked later, on the pipeline's workers.
An importer takes what the source says: `text` as published, `split` and `language` where they are known. The pipeline
normalises texts and decides about splits.
"""

import collections
import dataclasses
import types
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import Protocol

from fm_lingvo.utils import files

ENTRY_POINTS = 'fm_lingvo.importers'


class Container(Protocol):
  """A file with the audio of many utterances, such as a tar file; implementations can be pickled and hashed."""

  def Read(self, members: Sequence[Any]) -> Iterator[tuple[Any, bytes]]:
    """Yields (member, encoded audio file) for the given members, in the order of the file, in one pass.

    A member that the file lacks is left out; the pipeline rejects its utterance. One that cannot be used comes with a
    fm_lingvo.audio.Rejected in place of its audio, and the others are still read.

    Raises:
      OSError, EOFError, ValueError, zlib.error or tarfile.TarError: The file is damaged from here on.
    """
    ...


@dataclasses.dataclass(frozen=True)
class Utterance:
  """One utterance before its audio is loaded."""

  utt_id: str  # Unique; a second utterance with the same id is rejected.
  text: str  # The transcript as published; '' for an unlabeled utterance.
  speaker: str
  domain: str
  source: str  # Path of the audio file, in any format; with `load` or `container` the origin, for the report.
  # load(max_seconds) -> int16 [samples] at 16 kHz; picklable. None: decode `source`, or `member` of `container`.
  load: Callable[[float], Any] | None = None
  declared_duration: float | None = None  # Seconds of the whole recording, if the source has it; it is checked.
  split: str | None = None  # One of dataset.SPLITS, if the source has it; None: by a hash of the recording's ids.
  language: str | None = None  # Language of the text, such as en, for text normalisation; None: unknown.
  offset: float = 0.0  # Start of the utterance in the recording, in seconds.
  seconds: float | None = None  # Length of the utterance; None: up to the recording's end.
  channel: int | None = None  # Channel of the recording, from 0; None: the mean of all channels.
  container: Container | None = None  # The file with the recording, if it is not a file of its own.
  member: Any = None  # The recording in the container.

  @property
  def is_part(self) -> bool:
    """Whether the utterance is a part of its recording in time."""
    return self.offset > 0 or self.seconds is not None


@dataclasses.dataclass(frozen=True)
class Reject:
  """An utterance that is rejected; `reason` is one of REASONS in fm_lingvo/audio/rejection.py."""

  utt_id: str
  source: str
  reason: str
  detail: str


@dataclasses.dataclass(frozen=True)
class Option:
  """An importer's own option, set by --NAME; the type of the value is that of the default, str or None (a string)."""

  name: str
  default: str | None
  help: str


@dataclasses.dataclass
class Options:
  """The options of importers, set by the flags of the same names."""

  input: str | None = None
  languages: tuple = ()
  engines: tuple = ()
  voices_per_line: int = 1
  max_utterances: int | None = None
  audio_roots: tuple = ()  # Folders that paths may lead to, besides that of the file that has them.
  exclude: tuple = ()  # general_speech: normalised texts that must not be synthesised.
  own: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # Values of the importer's own options, by name.


@dataclasses.dataclass
class Listing:
  """The result of an importer."""

  utterances: list[Utterance] = dataclasses.field(default_factory=list)
  rejects: list[Reject] = dataclasses.field(default_factory=list)
  notes: dict = dataclasses.field(default_factory=dict)  # Facts for the report, e.g. the synthesisers used.
  ignored: collections.Counter = dataclasses.field(default_factory=collections.Counter)  # Unknown key -> entries.
  known: tuple = ()  # Names of the keys that are known, to suggest the nearest one.
  normalizer: str | None = None  # By which the source's texts are normalised already; the default of --normalizer.

  def Reject(self, utt_id: str, source: str, reason: str, detail: str) -> None:
    """Rejects an utterance with a reason."""
    self.rejects.append(Reject(*map(files.Printable, (utt_id, source, reason, detail))))


@dataclasses.dataclass(frozen=True)
class Importer:
  """An importer, and what it uses and prefers; a module sets the fields by constants of the same names in capitals."""

  function: Callable[[Options], Listing]
  # Names of the fields of Options that it uses, and its own options.
  options: tuple[str | Option, ...] = ('input',)
  normalizer: str | None = None  # Default of --normalizer; None: english if all texts are English, otherwise basic.
  require_text: bool = False  # Default of --require_text.
  test_percent: float = 5.0  # Default of --test_percent.
  official_splits: bool = True  # Default of --official_splits: whether to use the splits that the source has.

  @property
  def shared_options(self) -> tuple[str, ...]:
    """Names of the fields of Options that the importer uses."""
    return tuple(option for option in self.options if isinstance(option, str))

  @property
  def own_options(self) -> tuple[Option, ...]:
    """The importer's own options."""
    return tuple(option for option in self.options if isinstance(option, Option))


_PREFERENCES = ('options', 'normalizer', 'require_text', 'test_percent', 'official_splits')
_registered: dict[str, Importer] = {}


def FromModule(module: types.ModuleType) -> Importer:
  """Returns the importer of a module with a function Import and, optionally, OPTIONS, NORMALIZER, ... (Importer)."""
  found = {name: getattr(module, name.upper()) for name in _PREFERENCES if hasattr(module, name.upper())}
  return Importer(module.Import, **{**found, 'options': tuple(found.get('options', ('input',)))})


def Register(
  name: str,
  importer: Callable[[Options], Listing] | types.ModuleType | None = None,
  *,
  options: Sequence[str | Option] = ('input',),
  **preferences: Any,
):
  """Registers an importer.

  Args:
    name: Name for --importer.
    importer: A function Options -> Listing, or a module with Import and, optionally, OPTIONS and other fields of
      Importer in capitals; None: Register returns a decorator for the function.
    options: Fields of Options that it uses, and own options; the flags of all others are rejected.
    **preferences: Other fields of Importer.

  Returns:
    The importer, or the decorator.

  Raises:
    ValueError: The name is already registered, or an option is not a field of Options.
  """
  if importer is None:
    return lambda function: Register(name, function, options=options, **preferences)
  if name in _registered:
    raise ValueError(f'importer {name}: already registered')
  made = (
    FromModule(importer)
    if isinstance(importer, types.ModuleType)
    else Importer(importer, tuple(options), **preferences)
  )
  fields = [field.name for field in dataclasses.fields(Options) if field.name != 'own']
  unknown = [option for option in made.shared_options if option not in fields]
  if unknown:
    raise ValueError(f'importer {name}: option {unknown[0]}: expected some of {", ".join(fields)}')
  _registered[name] = made
  return importer


def Registered() -> dict[str, Importer]:
  """Returns dict name -> Importer of all registered importers."""
  return dict(_registered)
