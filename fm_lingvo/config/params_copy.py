"""Copies Lingvo's Params without copy.deepcopy of each number: a model has hundreds of layers that copy their own.

The copies are equal to Lingvo's, which calls copy.deepcopy for each name and number.
"""

import copy

from lingvo.core import hyperparams

_ATOMIC = frozenset((type(None), bool, int, float, str, bytes, type))


def Install() -> None:
  """Makes Lingvo copy Params with this module; may be called again."""
  hyperparams.Params._CopyTo = _CopyTo


def _CopyTo(self, result):
  """See hyperparams.Params._CopyTo."""
  memo: dict = {}  # Values that occur twice in these Params are one value in the copy, too.
  params = {}
  for name, param in self._params.items():
    value = param._value
    if type(value) not in _ATOMIC:
      params[name] = copy.deepcopy(param, memo)
      continue
    found = params[name] = _New(type(param))
    found._name, found._value, found._default_value = param._name, value, value
    found._description = param._description
  result._params = params
  result._immutable = self._immutable
  return result


_New = object.__new__
