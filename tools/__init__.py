"""Command-line tools, `python -m tools.NAME`; the packages hold their parts, by subject."""
