"""Fault injection: `python -m tests.faults` breaks something in real processes and checks what they do then."""
