"""Weights on disk: a run's checkpoints, warm starts from another run, and what they were made with."""
