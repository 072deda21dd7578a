"""Text -> synthetic speech: engines, voices, and texts of general English to speak."""
