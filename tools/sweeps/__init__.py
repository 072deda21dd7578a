"""Parts of tools/sweep.py: the space that is searched, a trial's process, and the study with its trials."""
