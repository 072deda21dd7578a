"""The audio format that every part of the library works with."""

SAMPLE_RATE = 16000  # Hz, mono.
FRAME_STEP_MS = 10.0  # Between two log-mel frames: spans, subsampled frames and pictures count on it.
