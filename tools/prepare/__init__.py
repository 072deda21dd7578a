"""Recordings and transcripts -> a data set: the pipeline, its shards, its progress and its importers."""
