"""Transducer and CTC losses: exact sums over all alignments, in plain TensorFlow with static shapes."""
