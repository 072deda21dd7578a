"""Files in a run's folder: TensorBoard summaries, metrics.jsonl, the parameter table, the lock."""
