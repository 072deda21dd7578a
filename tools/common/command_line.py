"""The command line of a tool: help with its module's docstring, errors of one line with the nearest name."""

import argparse
from typing import Any
from typing import NoReturn

from fm_lingvo.utils import suggest

_UNKNOWN = 'unrecognized arguments: '
_MISSING = 'the following arguments are required: '


class Parser(argparse.ArgumentParser):
  """An argparse.ArgumentParser whose errors are a line, without the usage, which is longer than a screen."""

  def __init__(self, prog: str | None = None, description: str | None = None, **kwargs: Any) -> None:
    """See argparse.ArgumentParser; the description, a tool's docstring, is shown as it is."""
    kwargs.setdefault('formatter_class', argparse.RawDescriptionHelpFormatter)
    super().__init__(prog=prog, description=description, **kwargs)

  def error(self, message: str) -> NoReturn:
    """Prints a message and exits with 2."""
    hint = '; --help lists all' if message.startswith((_UNKNOWN, _MISSING)) else ''
    unknown = message.removeprefix(_UNKNOWN).split() if message.startswith(_UNKNOWN) else []
    names = [option.lstrip('-') for option in self._option_string_actions]
    for word in unknown:
      nearest = suggest.Nearest(word.partition('=')[0].lstrip('-'), names) if word.startswith('--') else None
      hint = suggest.DidYouMean(nearest and f'--{nearest}') or hint
    self.exit(2, f'{self.prog}: {message}{hint}\n')

  def _check_value(self, action: argparse.Action, value: Any) -> None:
    try:
      super()._check_value(action, value)
    except argparse.ArgumentError as e:
      raise argparse.ArgumentError(action, e.message + suggest.Hint(value, map(str, action.choices or ()))) from e
