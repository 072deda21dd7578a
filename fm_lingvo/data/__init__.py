"""Files on disk -> padded batches."""
