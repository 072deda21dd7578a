"""Committed results: their forms, files and tables, and the flags with which tools keep what they measured."""
