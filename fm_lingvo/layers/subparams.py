"""All Params below some Params, to change Lingvo's layers where they have no param for it."""

from lingvo.core import hyperparams


def All(p):
  """Yields (owner, name, Params) of every Params in `p`, innermost first, itself left out.

  A param of `p` may be replaced by `owner.Set(**{name: other})` meanwhile: what is in `other` is not looked at.
  """
  for name, value in list(p.IterParams()):
    if isinstance(value, hyperparams.Params):
      yield from All(value)
      yield p, name, value


def Class(p):
  """Returns the class of the layer that `p` makes; object, which no layer is, where it makes none."""
  return p.cls if isinstance(p, hyperparams.InstantiableParams) else object
