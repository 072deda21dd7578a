"""A function of tensors as a step of a session, in graph mode or compiled by XLA, as the trainer runs them."""

import lingvo.trainer  # noqa: F401 Defines its flags.
from absl import flags
from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo.runtime import batch_split
from fm_lingvo.runtime import session

py_utils.SetEagerMode(False)
_session = None


def ParseFlags():
  """Gives Lingvo's flags, which it reads when it builds a model, the trainer's values, but no summaries."""
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(['benchmark', '--add_summary=false', '--enable_asserts=false', '--enable_check_numerics=false'])


def ComputeInParts(sizes):
  """Splits batches over the threads, as the trainer does in long runs; every worker has the size `threads`."""
  session.ComputeInParts(batch_split.Suitable(sizes['threads']), sizes['threads'])


def Variable(array):
  """A variable with an array's values, so that inputs are not fed in every call."""
  holder = tf.placeholder(array.dtype, array.shape)
  variable = tf.get_variable(
    f'input_{len(tf.global_variables())}', initializer=holder, trainable=False, use_resource=True
  )
  Session().run(variable.initializer, {holder: array})
  return variable


def Session():
  """The process' session; its threads are those of the environment."""
  global _session
  if _session is None:
    _session = tf.Session(config=session.Config())
  return _session


def Step(function, variables, sizes):
  """Builds a step.

  Args:
    function: Of tensors, returns a list of tensors.
    variables: Whose values it is given.
    sizes: dict; `xla`: whether XLA compiles it.

  Returns:
    (run, fetch): run() computes all that the function returns and copies none of it; fetch(i) computes number i and
    returns it as an array.
  """
  step = tf.function(function, jit_compile=bool(sizes.get('xla')), autograph=False) if sizes.get('xla') else function
  outputs = step(*[v.read_value() for v in variables])
  every = [x.op for x in outputs]
  sess = Session()
  return lambda: sess.run(every), lambda i: sess.run(outputs[i])
