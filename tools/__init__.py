"""Commands that people call, `python -m tools.NAME`; their parts are in packages by subject."""
