"""How a finished run is to be decoded: its own search, or another beam and another language model."""

import dataclasses

from fm_lingvo import errors


@dataclasses.dataclass(frozen=True)
class Search:
  """What differs from the run's own params; None: nothing."""

  beam_size: int | None = None  # Hypotheses kept, >= 1.
  lm: str | None = None  # Language model of fm_lingvo/decoding/language_model.py; '': none.
  lm_weight: float | None = None
  lm_label_bonus: float | None = None

  def ApplyTo(self, head, name):
    """Sets the Params `head` of the head called `name`.

    Raises:
      errors.ConfigError: The head has no such search.
    """
    if self.beam_size is not None and self.beam_size < 1:
      raise errors.ConfigError(f'beam_size = {self.beam_size}: expected >= 1')
    values = dict(
      beam_size=self.beam_size, lm_file=self.lm, lm_weight=self.lm_weight, lm_label_bonus=self.lm_label_bonus
    )
    given = {key: value for key, value in values.items() if value is not None}
    if 'beam_size' in head:
      head.Set(**given)
    elif given.pop('beam_size', 1) > 1 or given:
      asked, value = next(iter(given.items()), ('beam_size', self.beam_size))
      raise errors.ConfigError(
        f'{asked} = {value}: the head {name} takes the best label of each frame and has neither a beam nor a language '
        'model; expected beam_size = 1 alone'
      )
    if 'lm_file' in head and not head.lm_file and (given.keys() & {'lm_weight', 'lm_label_bonus'}):
      raise errors.ConfigError('lm_weight and lm_label_bonus: the run has no language model; expected lm, too')


def AddFlags(parser):
  """Adds the flags of a Search to an argparse parser."""
  parser.add_argument('--beam_size', type=int, help="hypotheses kept while decoding (default: the run's)")
  parser.add_argument(
    '--lm',
    metavar='FILE',
    help="language model for shallow fusion, such as params/lm/graphemes_en.npz; '': none (default: the run's)",
  )
  parser.add_argument('--lm_weight', type=float, help="weight of its log-probabilities (default: the run's)")
  parser.add_argument('--lm_label_bonus', type=float, help="nats added for each label in fusion (default: the run's)")


def FromArgs(args):
  """The Search of parsed flags."""
  return Search(args.beam_size, args.lm, args.lm_weight, args.lm_label_bonus)
