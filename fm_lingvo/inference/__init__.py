"""Uses a trained run: recordings -> transcripts with times, long recordings, SavedModel export."""
