"""Groups of variables with learning rates of their own: multiples of the learner's."""

import re

from fm_lingvo import errors
from fm_lingvo.utils import suggest


def Split(groups, variables):
  """Divides variables into groups.

  Args:
    groups: List of (name, regular expression, searched for in names of variables, factor).
    variables: List of the trained variables.

  Returns:
    List of (name, factor, set of the names of its variables). Variables in no group, if any, come first, with the name
    '' and the factor 1.

  Raises:
    errors.ConfigError: A group has no variable, or a variable is in two groups.
  """
  found = [
    (name, factor, {v.name for v in variables if re.search(pattern, v.name)}) for name, pattern, factor in groups
  ]
  rest = {v.name for v in variables}
  for name, _, members in found:
    if not members:
      raise errors.ConfigError(
        f"task.train.learner.rate_groups: {name}: its regular expression matches no trained variable's name"
      )
    if not members <= rest:
      twice = suggest.Some(sorted(members - rest), 3)
      raise errors.ConfigError(f'task.train.learner.rate_groups: {name}: {twice} is in another group, too')
    rest -= members
  return [('', 1.0, rest)] * bool(rest) + found
