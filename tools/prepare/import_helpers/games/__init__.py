"""The formats of the adventure games that importers/games.py reads, one module each."""
