"""The whole method from one command, `python -m tools.recipe`: its plan as data, data sets, trainings and results."""
