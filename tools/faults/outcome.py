"""What a fault did: one Case for each fault injected, one row of docs/results/faults.json for each kind."""

import random
import typing


class Case(typing.NamedTuple):
  """One fault."""

  name: str
  survived: bool  # Whether what must hold did.
  seen: str  # What was seen: a message, or what differed.


class Size(typing.NamedTuple):
  """How much of the suite to run: `full` as the results have it, else the part that tests run."""

  full: bool
  seed: int = 1
  count: int = 2000  # Malformed files, mutated inputs.

  def Pick(self, full, fast):
    """One of two numbers, or of two lists."""
    return full if self.full else fast

  def Random(self, name):
    """random.Random of its own for each kind of fault."""
    return random.Random(f'{self.seed}/{name}')


def Ended(name, done, code, pattern, more=True):
  """Case of a process that must end with an exit code, without a traceback, and say something.

  Args:
    name: Of the fault.
    done: processes.Done.
    code: The exit code, or several.
    pattern: Text that must be in its output.
    more: Whatever else must hold.
  """
  codes = code if isinstance(code, tuple) else (code,)
  said = next((line for line in (done.out + done.err).splitlines() if pattern in line), '')
  survived = bool(done.is_clean and done.code in codes and said and more)
  seen = (
    said
    if survived
    else (
      f'exit code {done.code}{", hung" if done.hung else ""}{"" if more else ", state wrong"}: {said or done.last_error}'
    )
  )
  return Case(name, survived, ' '.join(seen.split())[:300])
