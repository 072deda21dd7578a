"""Uses a trained run: recordings -> transcripts with times, long recordings; exports it as graphs or weights."""
