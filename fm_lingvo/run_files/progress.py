"""Reports the progress of a run: a progress bar on a terminal, else a line every N steps."""

import sys
import time
from collections.abc import Mapping
from typing import Any
from typing import TextIO

import tqdm


class Progress:
  """Reports steps on standard output; lines and progress bar do not overwrite each other."""

  def __init__(
    self,
    max_steps: int,
    first_step: int,
    every: int,
    max_seconds: float | None = None,
    stream: TextIO | None = None,
  ) -> None:
    """Starts reporting.

    Args:
      max_steps: Step at which the run ends.
      first_step: Step at which it starts or resumes.
      every: Steps between two lines if the output is not a terminal, >= 1.
      max_seconds: Seconds after which the run ends if it has not reached max_steps;
        None: no limit.
      stream: File to write to; None: standard output.
    """
    self._stream = stream or sys.stdout
    self._every = every
    self._max_steps = max_steps
    self._first_step = first_step
    self._start = time.time()
    self._max_seconds = float('inf') if max_seconds is None else max_seconds
    self._bar = None
    if self._stream.isatty():
      self._bar = tqdm.tqdm(
        total=max_steps,
        initial=first_step,
        unit='step',
        dynamic_ncols=True,
        file=self._stream,
        smoothing=0.05,
        bar_format='{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]',
      )

  def Step(self, step: int, values: Mapping[str, Any]) -> None:
    """Reports step number `step` with values, a dict name -> number or text."""
    text = Format(values)
    if self._bar is not None:
      self._bar.set_postfix_str(text, refresh=False)
      self._bar.update(step - self._bar.n)
    elif step % self._every == 0 or step == self._max_steps:
      done, elapsed = step - self._first_step, time.time() - self._start
      left = min(elapsed / max(1, done) * (self._max_steps - step), max(0.0, self._max_seconds - elapsed))
      self.Line(f'step {step}/{self._max_steps}: {text}, {_Duration(left)} left')

  def Line(self, text: str) -> None:
    """Prints one line, above the bar if there is one."""
    if self._bar is not None:
      self._bar.write(text, file=self._stream)
    else:
      print(text, file=self._stream, flush=True)

  def Close(self) -> None:
    """Closes the progress bar."""
    if self._bar is not None:
      self._bar.close()


def Format(values: Mapping[str, Any]) -> str:
  """Formats a dict name -> number or text as `NAME VALUE, ...`."""
  return ', '.join(f'{k} {v}' if isinstance(v, int | str) else f'{k} {v:.4g}' for k, v in values.items())


def _Duration(seconds: float) -> str:
  """Formats seconds as 1:02:03 or 2:03."""
  minutes, seconds = divmod(int(round(seconds)), 60)
  hours, minutes = divmod(minutes, 60)
  return f'{hours}:{minutes:02}:{seconds:02}' if hours else f'{minutes}:{seconds:02}'
