"""Which hypotheses of a beam exist; does not import TensorFlow."""

NEVER = -1e30  # The smallest score, that of hypotheses that do not exist.


def AreFound(scores):
  """Returns whether hypotheses exist, given scores of search.BeamSearch as NumPy arrays or tensors."""
  return scores > 0.1 * NEVER
