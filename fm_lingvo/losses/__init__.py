"""Losses over alignment lattices: transducer and CTC, computed on antidiagonals with static shapes."""
