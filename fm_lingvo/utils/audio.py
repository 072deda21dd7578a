"""The audio format that the whole library uses."""

SAMPLE_RATE = 16000  # Hz, mono.
MOST_SECONDS = 1e9  # A place in a recording beyond 32 years is a mistake; as samples it could overflow.
FRAME_STEP_MS = 10.0  # Hop between log-mel frames, fixed: masks, subsampling and plots depend on it.
FRAME_STEP_SAMPLES = int(SAMPLE_RATE * FRAME_STEP_MS / 1000)  # 160.
