"""Numbers of labels and their scores that data, losses and decoding share; does not import TensorFlow."""

BLANK_ID = 0  # Blank, in every vocabulary. It never occurs in a transcript, so that it is padding and the start, too.
NEVER = -1e30  # Log-probability of what is impossible; finite, so that gradients do not become NaN.
