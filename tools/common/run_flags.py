"""Flags of the tools that read a trained run; this module does not import TensorFlow."""

import argparse

from fm_lingvo.utils import files


def AddCheckpoint(parser: argparse.ArgumentParser) -> None:
  """Adds --checkpoint, the argument of load_run.FindCheckpoint."""
  parser.add_argument(
    '--checkpoint',
    type=files.ExpandUser,
    metavar='NAME',
    help='best (by task.train.best_metric), newest, a checkpoint of the run such as ckpt-00000500, or the prefix of '
    'another one (default: best if the run keeps best checkpoints, else newest)',
  )
