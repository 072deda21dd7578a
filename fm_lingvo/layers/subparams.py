"""Iterates over all nested Params, to modify Lingvo's layers where they have no param for it."""

from lingvo.core import hyperparams


def All(p):
  """Yields (owner, name, Params) for all Params nested in `p`, innermost first, without `p` itself.

  The caller may replace the yielded Params with `owner.Set(**{name: other})`; `other` is not visited.
  """
  for name, value in list(p.IterParams()):
    if isinstance(value, hyperparams.Params):
      yield from All(value)
      yield p, name, value


def Class(p):
  """Returns the class of the layer that `p` instantiates; `object` if `p` is not instantiable."""
  return p.cls if isinstance(p, hyperparams.InstantiableParams) else object
