"""Lingvo's checks at run time, of shapes and of NaN, which are part of the graph."""

from absl import flags

_FLAGS = ('enable_asserts', 'enable_check_numerics')


def TurnOff() -> dict[str, bool]:
  """Builds graphs without the checks from now on, except those whose flags the command line has.

  The checks of shapes are half of an encoder's operations, those of NaN some 6 % of the time of greedy recognition. In
  training, a NaN would end the run, where fm_lingvo/training/nonfinite_steps.py skips the step; in recognition,
  checkpoints and audio are checked as they are read.

  Returns:
    The values of the flags before.
  """
  before = {}
  for name in _FLAGS:
    if not flags.FLAGS[name].present:
      before[name] = flags.FLAGS[name].value
      flags.FLAGS[name].value = False
  return before


def Restore(before: dict[str, bool]) -> None:
  """Undoes TurnOff, which returned `before`."""
  for name, value in before.items():
    flags.FLAGS[name].value = value
