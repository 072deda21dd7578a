"""Synthetic speech: engines, voices, and general English texts for them."""
