"""Options for decoding a finished run with another beam, language model or hotwords than its own."""

import dataclasses
import numbers
from collections.abc import Iterator
from collections.abc import Sequence
from collections.abc import Set

from fm_lingvo import errors
from fm_lingvo.utils import arguments
from fm_lingvo.utils import files as file_system
from fm_lingvo.utils import text_lines

HOTWORD_BOOST = 5.0  # Nats.


@dataclasses.dataclass(frozen=True)
class Search:
  """Values that override the run's own params; None: not overridden."""

  beam_size: int | None = None  # Number of hypotheses, >= 1.
  lm: str | None = None  # File of a language model, .npz, .arpa or .arpa.gz; '': none.
  lm_weight: float | None = None
  lm_label_bonus: float | None = None
  ilm_weight: float | None = None  # Of the internal language model, which is subtracted.
  # Phrases that are preferred, and pairs (phrase, boost in nats); see fm_lingvo/decoding/hotwords.py.
  hotwords: Sequence[str | tuple[str, float]] | None = None
  hotword_boost: float | None = None  # In nats, of phrases without a boost.

  def ApplyTo(self, head, name):
    """Sets the options in the Params `head` of the head named `name`.

    Raises:
      errors.ConfigError: The head does not support an option, beam_size is out of range, or a value is of a wrong type.
    """
    self._Check()
    values = dict(
      beam_size=self.beam_size,
      lm_file=self.lm,
      lm_weight=self.lm_weight,
      lm_label_bonus=self.lm_label_bonus,
      ilm_weight=self.ilm_weight,
      hotwords=None if self.hotwords is None else list(self.hotwords),
      hotword_boost=self.hotword_boost,
    )
    given = {key: value for key, value in values.items() if value is not None}
    if 'beam_size' in head:
      head.Set(**given)
    elif given.pop('beam_size', 1) > 1 or given:
      option, value = next(iter(given.items()), ('beam_size', self.beam_size))
      raise errors.ConfigError(
        f'{option} = {value}: the head {name} takes the best label of each frame and has neither a beam nor a language '
        'model nor hotwords; expected beam_size = 1 only'
      )
    if 'lm_file' in head and not head.lm_file and (given.keys() & {'lm_weight', 'lm_label_bonus'}):
      raise errors.ConfigError('lm_weight and lm_label_bonus: the run has no language model; set lm, too')
    if 'hotwords' in head and not head.hotwords and 'hotword_boost' in given:
      raise errors.ConfigError('hotword_boost: there are no hotwords; set hotwords, too')

  def _Check(self):
    """Raises errors.ConfigError if a value is of a wrong type or out of range."""
    if isinstance(self.hotwords, str):  # A list of its letters otherwise.
      raise errors.ConfigError(f'hotwords = {self.hotwords!r}: expected a list of phrases, such as [{self.hotwords!r}]')
    number = numbers.Real, 'a number'
    expected = {
      'beam_size': (numbers.Integral, 'an integer'),
      'lm': (str, "the path of a file as str, or '' for none"),
      **dict.fromkeys(('lm_weight', 'lm_label_bonus', 'ilm_weight', 'hotword_boost'), number),
      'hotwords': ((Sequence, Set, Iterator), 'a list of phrases and pairs (phrase, boost)'),
    }
    for name, of_kind in expected.items():
      if getattr(self, name) is not None:
        arguments.Check(name, getattr(self, name), *of_kind)
    if self.beam_size is not None and self.beam_size < 1:
      raise errors.ConfigError(f'beam_size = {self.beam_size}: expected >= 1')


def ReadHotwords(path: str) -> list[str | tuple[str, float]]:
  """Reads hotwords from a file with lines `PHRASE` or `PHRASE<tab>BOOST`; empty lines are left out.

  Raises:
    errors.ConfigError: There is no such file, a boost is no number, or there are no phrases.
    OSError: The file cannot be read.
  """
  if not file_system.Exists(path):
    raise errors.ConfigError(f'{path}: no such file; expected one with a phrase a line{file_system.HintBeside(path)}')
  phrases: list[str | tuple[str, float]] = []
  for number, line in text_lines.Lines(path):
    text, tab, boost = line.partition('\t')
    if not text.strip():
      continue
    try:
      phrases.append((text.strip(), float(boost)) if tab else text.strip())
    except ValueError as e:
      raise errors.ConfigError(f'{path}:{number}: boost {boost!r}: expected PHRASE<tab>NATS, such as 5.0') from e
  if not phrases:
    raise errors.ConfigError(f'{path}: no phrases; expected one a line')
  return phrases


def AddFlags(parser):
  """Adds the flags of a Search to an argparse parser."""
  parser.add_argument('--beam_size', type=int, help="hypotheses kept while decoding (default: the run's)")
  parser.add_argument(
    '--lm',
    type=file_system.ExpandUser,
    metavar='FILE',
    help='language model for shallow fusion, such as params/lm/graphemes_en.npz, or n-grams in ARPA format, .arpa or '
    ".arpa.gz; '': none (default: the run's)",
  )
  parser.add_argument('--lm_weight', type=float, help="weight of its log-probabilities (default: the run's)")
  parser.add_argument(
    '--lm_label_bonus',
    type=float,
    help="nats added for each label, or word of an ARPA model of words (default: the run's)",
  )
  parser.add_argument(
    '--ilm_weight',
    type=float,
    help="weight of the transducer's internal language model, which is subtracted in fusion (default: the run's)",
  )
  parser.add_argument(
    '--hotwords',
    type=file_system.ExpandUser,
    metavar='FILE',
    help='phrases to prefer, lines PHRASE or PHRASE<tab>BOOST, spelled as the transcripts that the run was trained on',
  )
  parser.add_argument(
    '--hotword_boost',
    type=float,
    help=f"nats added for each occurrence of a phrase without a boost (default: the run's, {HOTWORD_BOOST:g})",
  )


def FromArgs(args):
  """Returns the Search of parsed flags."""
  phrases = None if args.hotwords is None else ReadHotwords(args.hotwords)
  return Search(
    args.beam_size, args.lm, args.lm_weight, args.lm_label_bonus, args.ilm_weight, phrases, args.hotword_boost
  )
