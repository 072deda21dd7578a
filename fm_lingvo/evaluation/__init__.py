"""Held-out data -> losses, hypotheses and error rates with confidence intervals."""
