"""A finished run, used: recordings -> texts with times, long recordings, SavedModel export."""
