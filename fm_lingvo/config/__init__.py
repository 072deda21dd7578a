"""Gin bindings -> typed Lingvo Params: experiments, their knobs and paths, and the configuration that a run records."""
