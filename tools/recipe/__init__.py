"""The whole method from one command: its plan (plan.py), data sets, trainings, results and report; `python -m tools.recipe`."""
