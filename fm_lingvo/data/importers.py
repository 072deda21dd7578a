"""What an importer of speech is: a function that lists the utterances of a source, for tools/prepare_data.py.

An importer of one's own is a module outside the checkout:

  from fm_lingvo.data import importers

  @importers.Register('radio', options=('input',))
  def Import(options):
    listing = importers.Listing()
    for path in sorted(glob.glob(options.input + '/*.wav')):
      name = os.path.basename(path)
      listing.utterances.append(importers.Utterance(name, '', speaker='', domain='radio', source=path))
    return listing

  python -m tools.prepare_data --import_module=my_importer.py --importer=radio --input=recordings --output=data/radio

It reads transcripts and file names only: the audio is decoded and checked later, on whatever worker the pipeline chose.
"""

import dataclasses
import types
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Utterance:
  """One utterance before its audio is loaded."""

  utt_id: str  # Two utterances with the same are a reject.
  text: str  # '' for an unlabeled utterance.
  speaker: str
  domain: str
  source: str  # Where it comes from, for the report.
  # load(max_seconds) -> int16 [N] at 16 kHz, picklable; None decodes the audio file `source`, of any format and rate.
  load: Callable[[float], Any] | None = None
  declared_duration: float | None = None  # Seconds, where the source says it.
  split: str | None = None  # One of dataset.SPLITS, where the source says it; else a hash of the id decides.
  language: str | None = None  # The text is normalised as of this language, such as en; None: it is normalised already.


@dataclasses.dataclass(frozen=True)
class Reject:
  """One utterance that is left out; reason is one of REASONS in tools/common/audio.py."""

  utt_id: str
  source: str
  reason: str
  detail: str


@dataclasses.dataclass
class Options:
  """What an importer may be told, by the flags of these names."""

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

  utterances: list[Utterance] = dataclasses.field(default_factory=list)
  rejects: list[Reject] = dataclasses.field(default_factory=list)
  notes: dict = dataclasses.field(default_factory=dict)  # Facts for the report, e.g. the synthesisers used.

  def Reject(self, utt_id: str, source: str, reason: str, detail: str) -> None:
    """Leaves an utterance out and says why."""
    self.rejects.append(Reject(utt_id, source, reason, detail))


@dataclasses.dataclass(frozen=True)
class Importer:
  """A function Options -> Listing, and the names of the fields of Options that it uses."""

  function: Callable[[Options], Listing]
  options: tuple[str, ...]


_registered: dict[str, Importer] = {}


def Register(
  name: str,
  importer: Callable[[Options], Listing] | types.ModuleType | None = None,
  *,
  options: Sequence[str] = ('input',),
):
  """Makes an importer known by name.

  Args:
    name: What --importer calls it.
    importer: A function Options -> Listing, or a module with Import and, optionally, OPTIONS; None: Register is a
      decorator of the function.
    options: Fields of Options that it uses; the flags of the others are refused.

  Returns:
    The importer, or the decorator.

  Raises:
    ValueError: The name is taken, or an option is no field of Options.
  """
  if importer is None:
    return lambda function: Register(name, function, options=options)
  if name in _registered:
    raise ValueError(f'importer {name}: registered already')
  options = tuple(getattr(importer, 'OPTIONS', options))
  fields = [field.name for field in dataclasses.fields(Options)]
  unknown = [option for option in options if option not in fields]
  if unknown:
    raise ValueError(f'importer {name}: option {unknown[0]}: expected some of {", ".join(fields)}')
  _registered[name] = Importer(importer.Import if isinstance(importer, types.ModuleType) else importer, options)
  return importer


def Registered() -> dict[str, Importer]:
  """dict name -> Importer, of what Register has made known."""
  return dict(_registered)
