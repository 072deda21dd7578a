"""Data preparation, from recordings and transcripts to a data set: pipeline, shards, progress and importers."""
