"""The base of all tasks, and the task that trains a language model; fm_lingvo/hydra.py is the task for speech."""
