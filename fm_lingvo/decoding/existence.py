"""Which hypotheses of a beam exist; does not import TensorFlow."""

from fm_lingvo.utils import labels

NEVER = labels.NEVER  # The smallest score, that of hypotheses that do not exist.


def AreFound(scores):
  """Returns whether hypotheses exist, given scores of search.BeamSearch as NumPy arrays or tensors."""
  return scores > 0.1 * NEVER
