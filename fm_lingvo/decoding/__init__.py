"""Encoded frames -> labels: greedy and beam search, language model fusion."""
