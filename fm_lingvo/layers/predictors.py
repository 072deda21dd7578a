"""Layers for prediction networks: embedded labels -> predictions.

B: utterances, U: labels, E: width of embedded labels, P: width of predictions, C: labels
of context, M: any number of hypotheses. Input 0 of the U + 1 inputs is the start.

Matrix products and predictions have the layer's fprop_dtype; gates and cells are float32.
"""

import numpy as np
from lingvo import compat as tf
from lingvo.core import base_layer
from lingvo.core import py_utils

from fm_lingvo.layers import lstm_recurrence
from fm_lingvo.layers import mixed_precision


class LstmPredictor(base_layer.BaseLayer):
  """A stack of LSTM layers without peepholes, which depends on all previous labels."""

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('input_dim', None, 'Width E of embedded labels, >= 1.')
    p.Define('output_dim', None, 'Width P of cells and predictions, >= 1.')
    p.Define('num_layers', 1, 'Number of LSTM layers, >= 1.')
    return p

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    if p.num_layers > 1:
      self.CreateChild('above', p.Copy().Set(input_dim=p.output_dim, num_layers=p.num_layers - 1))

  def _CreateLayerVariables(self):
    super()._CreateLayerVariables()
    p = self.params
    # Gates in the order input, forget, output, candidate.
    self.CreateVariable(
      'w_input', py_utils.WeightParams([p.input_dim, 4 * p.output_dim], init=p.params_init, dtype=tf.float32)
    )
    self.CreateVariable(
      'w_recurrent', py_utils.WeightParams([p.output_dim, 4 * p.output_dim], init=p.params_init, dtype=tf.float32)
    )
    self.CreateVariable(
      'b', py_utils.WeightParams([4 * p.output_dim], init=py_utils.WeightInit.Constant(0.0), dtype=tf.float32)
    )

  def FProp(self, theta, embedded):
    """Computes the predictions of whole transcripts. [B, U + 1, E] -> [B, U + 1, P]."""
    gates = tf.transpose(self._InputGates(theta, embedded), [1, 0, 2])  # [B, U + 1, 4 P] -> [U + 1, B, 4 P]
    outputs = lstm_recurrence.Predictions(gates, theta.w_recurrent)
    outputs = tf.transpose(outputs, [1, 0, 2])  # [U + 1, B, P] -> [B, U + 1, P]
    return self.above.FProp(theta.above, outputs) if self._has_above else outputs

  def ZeroState(self, batch):
    """Returns the state before the first label: m and c [B, P], c float32, and that of `above`."""
    state = self._ZeroCell(batch)
    if self._has_above:
      state.above = self.above.ZeroState(batch)
    return state

  def Step(self, theta, embedded, state):
    """Processes one more label. [M, E], state -> [M, P], state."""
    new_state = self._Cell(theta, self._InputGates(theta, embedded), state)
    output = new_state.m
    if self._has_above:
      output, new_state.above = self.above.Step(theta.above, output, state.above)
    return output, new_state

  @property
  def _has_above(self):
    return self.params.num_layers > 1

  def _ZeroCell(self, batch):
    shape = [batch, self.params.output_dim]
    return py_utils.NestedMap(m=tf.zeros(shape, py_utils.FPropDtype(self.params)), c=tf.zeros(shape))

  def _InputGates(self, theta, embedded):
    """Computes what inputs and biases add to the gates. [..., E] -> float32 [..., 4 P]."""
    # The bias of the forget gate is 1 + b, so that cells keep their content initially.
    size = self.params.output_dim
    bias = tf.cast(theta.b, tf.float32) + np.repeat([0.0, 1.0, 0.0, 0.0], size).astype(np.float32)
    return mixed_precision.Product(embedded, theta.w_input) + bias

  def _Cell(self, theta, gates, state):
    """Advances the cell, given the label's contribution to the gates, float32 [M, 4 P]."""
    m, c = lstm_recurrence.Advance(gates + mixed_precision.Product(state.m, theta.w_recurrent), state.c)
    return py_utils.NestedMap(m=tf.cast(m, state.m.dtype), c=c)


class StatelessPredictor(base_layer.BaseLayer):
  """A convolution over the last C labels only (arXiv 2003.07705)."""

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('input_dim', None, 'Width E of embedded labels, >= 1.')
    p.Define('output_dim', None, 'Width P of predictions, >= 1.')
    p.Define('context_size', None, 'Number of labels C that a prediction depends on, >= 1.')
    return p

  def _CreateLayerVariables(self):
    super()._CreateLayerVariables()
    p = self.params
    # The last rows are for the newest label.
    self.CreateVariable(
      'w', py_utils.WeightParams([p.context_size * p.input_dim, p.output_dim], init=p.params_init, dtype=tf.float32)
    )
    self.CreateVariable(
      'b', py_utils.WeightParams([p.output_dim], init=py_utils.WeightInit.Constant(0.0), dtype=tf.float32)
    )

  def FProp(self, theta, embedded):
    """Computes the predictions of whole transcripts. [B, U + 1, E] -> [B, U + 1, P]."""
    context = self.params.context_size
    steps = py_utils.GetShape(embedded, 2)[1]
    padded = tf.pad(embedded, [[0, 0], [context - 1, 0], [0, 0]])
    # C x [B, U + 1, E] -> [B, U + 1, C * E]
    windows = tf.concat([padded[:, i : i + steps] for i in range(context)], axis=-1)
    return self._Project(theta, windows)

  def ZeroState(self, batch):
    """Returns the state before the first label: zeros for the C - 1 previous labels, [B, (C - 1) * E]."""
    p = self.params
    return py_utils.NestedMap(before=tf.zeros([batch, (p.context_size - 1) * p.input_dim], py_utils.FPropDtype(p)))

  def Step(self, theta, embedded, state):
    """Processes one more label. [M, E], state -> [M, P], state."""
    window = tf.concat([state.before, embedded], axis=-1)  # [M, C * E]
    before = window[:, self.params.input_dim :]  # [M, (C - 1) * E]
    return self._Project(theta, window), py_utils.NestedMap(before=before)

  def _Project(self, theta, windows):
    """Projects C labels to a prediction. [..., C * E] -> [..., P]."""
    x = mixed_precision.Product(windows, theta.w) + tf.cast(theta.b, tf.float32)
    return tf.cast(tf.nn.relu(x), windows.dtype)
