"""The folder that faults are injected in, and the Case that says what each of them did."""

import pathlib
import random
import typing


class Case(typing.NamedTuple):
  """One injected fault."""

  name: str
  survived: bool  # Whether all that must hold did.
  seen: str  # A message, or what was wrong.


def Ended(name, done, code, message, holds=True):
  """Case of a process that must end with an exit code, without a traceback, and say something.

  Args:
    name: Of the fault.
    done: processes.Done.
    code: The exit code, or a tuple of those allowed.
    message: Text that must be in a line of its output.
    holds: Whether everything else that must hold does.
  """
  codes = code if isinstance(code, tuple) else (code,)
  seen = next((line for line in (done.out + done.err).splitlines() if message in line), '')
  survived = bool(done.is_clean and done.code in codes and seen and holds)
  if not survived:
    wrong = [f'exit code {done.code}', *(['hung'] if done.hung else []), *([] if holds else ['state wrong'])]
    seen = f'{", ".join(wrong)}: {seen or done.last_error}'
  return Case(name, survived, ' '.join(seen.split())[:300])


class Suite:
  """Where the faults of a kind are injected, and how many of them."""

  def __init__(self, folder, full=False, seed=1, count=2000, minutes=120.0):
    """Creates it.

    Args:
      folder: For runs and data; absolute.
      full: All of the kind, as for docs/results/faults.json, or the part that tests run.
      seed: Of random moments and mutations.
      count: Malformed files or mutated inputs of the full suite, at most 30 kills.
      minutes: Of the soak.
    """
    self.folder, self.path = folder, pathlib.Path(folder)
    self.path.mkdir(parents=True, exist_ok=True)
    self.full, self.seed, self.count, self.minutes = full, seed, count, minutes

  def Random(self, kind):
    """random.Random for one kind of fault."""
    return random.Random(f'{self.seed}/{kind}')

  def Pick(self, full, fast):
    """One of two values."""
    return full if self.full else fast

  def Faults(self, faults, *fast):
    """(name, value) of all faults of a dict, or of those that tests run, too."""
    return [(name, faults[name]) for name in self.Pick(faults, fast)]
