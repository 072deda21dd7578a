"""One training objective a file: what it does to features before the encoder, and its loss after it."""
