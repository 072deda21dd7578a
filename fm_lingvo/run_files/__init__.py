"""What a run's folder holds: TensorBoard summaries, metrics.jsonl, the parameter table, a lock."""
