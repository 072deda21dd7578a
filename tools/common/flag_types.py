"""Types of flags that argparse does not have."""

import argparse
import math
from collections.abc import Callable

from fm_lingvo.utils import files


def LocalPath(text: str) -> str:
  """The `type=` of a flag with a path to write where only a local one can be: ExpandUser, and remote ones refused."""
  if files.IsRemote(text):
    raise argparse.ArgumentTypeError(f'{text}: a remote path; expected a local one')
  return files.ExpandUser(text)


def Numbers(kind: type[int] | type[float]) -> Callable[[str], list]:
  """Returns the `type=` of a flag with numbers > 0, with commas between them."""

  def _Parse(text: str) -> list:
    try:
      numbers = [kind(part) for part in text.split(',')]
    except ValueError:
      numbers = []
    if not numbers or not all(0 < number < math.inf for number in numbers):
      what = 'whole numbers' if kind is int else 'numbers'
      raise argparse.ArgumentTypeError(f'{text!r}: expected {what} > 0 with commas between them, such as 1,8')
    return numbers

  return _Parse
