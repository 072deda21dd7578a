"""Options for decoding a finished run with a different beam or language model than its own."""

import dataclasses

from fm_lingvo import errors
from fm_lingvo.utils import files as file_system


@dataclasses.dataclass(frozen=True)
class Search:
  """Values that override the run's own params; None: not overridden."""

  beam_size: int | None = None  # Number of hypotheses, >= 1.
  lm: str | None = None  # File of fm_lingvo/decoding/language_model.py; '': no language model.
  lm_weight: float | None = None
  lm_label_bonus: float | None = None
  ilm_weight: float | None = None  # Of the internal language model, which is subtracted.

  def ApplyTo(self, head, name):
    """Sets the options in the Params `head` of the head named `name`.

    Raises:
      errors.ConfigError: The head does not support an option, or beam_size is out of range.
    """
    if self.beam_size is not None and self.beam_size < 1:
      raise errors.ConfigError(f'beam_size = {self.beam_size}: expected >= 1')
    values = dict(
      beam_size=self.beam_size,
      lm_file=self.lm,
      lm_weight=self.lm_weight,
      lm_label_bonus=self.lm_label_bonus,
      ilm_weight=self.ilm_weight,
    )
    given = {key: value for key, value in values.items() if value is not None}
    if 'beam_size' in head:
      head.Set(**given)
    elif given.pop('beam_size', 1) > 1 or given:
      option, value = next(iter(given.items()), ('beam_size', self.beam_size))
      raise errors.ConfigError(
        f'{option} = {value}: the head {name} takes the best label of each frame and has neither a beam nor a language '
        'model; expected beam_size = 1 only'
      )
    if 'lm_file' in head and not head.lm_file and (given.keys() & {'lm_weight', 'lm_label_bonus'}):
      raise errors.ConfigError('lm_weight and lm_label_bonus: the run has no language model; set lm, too')


def AddFlags(parser):
  """Adds the flags of a Search to an argparse parser."""
  parser.add_argument('--beam_size', type=int, help="hypotheses kept while decoding (default: the run's)")
  parser.add_argument(
    '--lm',
    type=file_system.ExpandUser,
    metavar='FILE',
    help="language model for shallow fusion, such as params/lm/graphemes_en.npz; '': none (default: the run's)",
  )
  parser.add_argument('--lm_weight', type=float, help="weight of its log-probabilities (default: the run's)")
  parser.add_argument('--lm_label_bonus', type=float, help="nats added for each label in fusion (default: the run's)")
  parser.add_argument(
    '--ilm_weight',
    type=float,
    help="weight of the transducer's internal language model, which is subtracted in fusion (default: the run's)",
  )


def FromArgs(args):
  """Returns the Search of parsed flags."""
  return Search(args.beam_size, args.lm, args.lm_weight, args.lm_label_bonus, args.ilm_weight)
