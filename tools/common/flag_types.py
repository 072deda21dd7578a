"""Types of flags that argparse does not have."""

import argparse
import math
from collections.abc import Callable


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
