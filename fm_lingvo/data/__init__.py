"""Data sets on disk -> padded batches of several streams, resumable, with every dropped example counted."""
