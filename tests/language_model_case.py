"""A small language model's file for tests."""

import numpy as np
from lingvo import compat as tf

from fm_lingvo.decoding import language_model


def Write(path, tokenizer, likely=None, **network):
  """Writes a small language model of a tokenizer's labels.

  Args:
    path: Of the file.
    tokenizer: A tokenizer.Tokenizer.
    likely: The one label that is likely, whatever came before; None: random weights.
    **network: See language_model.Params.

  Returns:
    (Params of the layer, NestedMap of its weights as arrays).
  """
  params = language_model.Params(tokenizer.vocab_size, embedding_dim=4, hidden_dim=6, **network)
  with tf.Graph().as_default(), tf.Session() as sess:
    tf.random.set_seed(1)
    layer = params.Instantiate()
    sess.run(tf.global_variables_initializer())
    weights = sess.run(layer.theta)
  if likely is not None:
    weights.w = np.zeros_like(weights.w)
    weights.b = np.where(np.arange(tokenizer.vocab_size) == likely, 0.0, -50.0).astype(np.float32)
  language_model.Write(path, params, weights, tokenizer)
  return params, weights
