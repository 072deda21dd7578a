"""Flags of the tools that read a trained run; this module does not import TensorFlow."""

import argparse

from fm_lingvo.utils import files
from fm_lingvo.utils import shipped


def RunFolder(text: str) -> str:
  """Returns the folder of a run or of a model that the project ships, as `type=` of an argument."""
  return shipped.Folder(files.ExpandUser(text))


def AddWeights(parser: argparse.ArgumentParser) -> None:
  """Adds --checkpoint, the argument of run_checkpoints.Find, and --averages, that of reader.Checkpoint."""
  parser.add_argument(
    '--checkpoint',
    type=files.ExpandUser,
    metavar='NAME',
    help='best (by task.train.best_metric), newest, a checkpoint of the run such as ckpt-00000500, or the prefix of '
    'another one (default: best if the run keeps best checkpoints, else newest)',
  )
  parser.add_argument(
    '--averages',
    action=argparse.BooleanOptionalAction,
    default=True,
    help='use the moving averages of the weights if the run has them (task.train.ema_decay), else the weights of the '
    'last step',
  )


def AddAdapter(parser: argparse.ArgumentParser) -> None:
  """Adds --adapter, the argument of fm_lingvo.load and load_run.Load."""
  parser.add_argument(
    '--adapter',
    type=files.ExpandUser,
    metavar='NAME',
    help="name of the adapters to apply, a folder with them, or none (default: the run's active set)",
  )


def AddLanguage(parser: argparse.ArgumentParser) -> None:
  """Adds --language, the argument of fm_lingvo.load."""
  parser.add_argument(
    '--language',
    metavar='CODE',
    help='language that the results name, such as en (default: that of the training data, if it is known)',
  )


def AddDataDir(parser: argparse.ArgumentParser) -> None:
  """Adds --data_dir, the argument of load_run.ModelParams."""
  parser.add_argument(
    '--data_dir',
    type=files.ExpandUser,
    metavar='FOLDER',
    help="folder whose sub-folders are the experiment's data sets (default: that of the run)",
  )
