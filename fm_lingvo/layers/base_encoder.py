"""The interface of encoders: log-mel frames -> fewer encoded frames, for whole utterances or step by step.

B: utterances, T: log-mel frames (10 ms), N: encoded frames = T / downsample_factor, F: mel bins, D: width of encoded
frames.
"""

from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np
from lingvo import compat as tf
from lingvo.core import base_layer
from lingvo.core import hyperparams
from lingvo.core import py_utils

from fm_lingvo import errors


class BaseEncoder(base_layer.BaseLayer):
  """Base class of encoders. A new encoder is a subclass, set as `task.encoder` in an experiment's Task().

  A subclass implements DownsampleFactor, output_dim and FProp. Streaming encoders also implement zero_state and
  StreamStep, and encoders with adapters (fm_lingvo/layers/adapter.py) UseAdapter and ActiveAdapter. The encoding of an
  utterance must depend neither on its padding nor on the other utterances of the batch.
  """

  set_by_owner = {'num_bins': 'since the hydra sets it to task.frontend.mel.num_bins'}

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('num_bins', None, 'Mel bins F of a frame, > 0; the hydra sets it to that of its front end.')
    p.Define('dropout_prob', 0.1, 'Probability of residual and inner dropout, in [0, 1).')
    return p

  @classmethod
  def DownsampleFactor(cls, p: hyperparams.Params) -> int:
    """Returns the log-mel frames per encoded frame, T / N >= 1, of an encoder with Params `p`.

    The input generator needs it before any layer is built, since batches are padded to whole encoded frames.
    """
    raise NotImplementedError('Abstract method')

  @property
  def downsample_factor(self) -> int:
    """Log-mel frames per encoded frame, T / N."""
    return self.DownsampleFactor(self.params)

  @property
  def output_dim(self) -> int:
    """Width D of encoded frames."""
    raise NotImplementedError('Abstract method')

  def FProp(self, theta, features, paddings) -> tuple[tf.Tensor, tf.Tensor]:
    """Encodes a batch.

    Args:
      theta: This layer's variables.
      features: float32 [B, T, F] log-mel, T a multiple of downsample_factor.
      paddings: float32 [B, T], 1 on padding.

    Returns:
      (encoded float32 [B, N, D], paddings float32 [B, N]): an encoded frame is padding where any of its frames is.
    """
    raise NotImplementedError('Abstract method')

  @property
  def stream_frames(self) -> int:
    """StreamStep takes a multiple of this number of encoded frames, which depend on one another, such as a chunk."""
    return 1

  def zero_state(self, batch_size) -> py_utils.NestedMap:
    """Returns the state before the first frame of `batch_size` utterances.

    The size of the state does not depend on how many frames have been encoded.

    Raises:
      errors.ConfigError: The encoder cannot stream, or not with these params.
    """
    raise errors.ConfigError(f'{self.params.name}: {type(self).__name__} does not stream')

  def StreamStep(self, theta, features, paddings, state0) -> tuple[tf.Tensor, tf.Tensor, py_utils.NestedMap]:
    """Encodes the next frames; the concatenated outputs of all steps equal those of FProp for the whole utterance.

    Args:
      theta: This layer's variables.
      features: float32 [B, T, F], the next log-mel frames, T a multiple of downsample_factor * stream_frames.
      paddings: float32 [B, T], 1 on padding, which may only follow an utterance.
      state0: State from the previous step or from zero_state.

    Returns:
      (encoded float32 [B, N, D], paddings float32 [B, N], the new state).

    Raises:
      errors.ConfigError: The encoder cannot stream.
    """
    raise errors.ConfigError(f'{self.params.name}: {type(self).__name__} does not stream')

  @classmethod
  def ActiveAdapter(cls, p: hyperparams.Params) -> str | None:
    """Returns the name of the set of adapters that an encoder with Params `p` applies; None: none."""
    del p
    return None

  @classmethod
  def ChangesWeights(cls, p: hyperparams.Params) -> bool:
    """Whether the adapters of an encoder with Params `p` change its weights, so that they can be Merged."""
    del p
    return False

  @classmethod
  def UseAdapter(
    cls,
    p: hyperparams.Params,
    name: str | None,
    position: str | None = None,
    bottleneck_dim: int | None = None,
    kind: str | None = None,
    projections: Sequence[str] | None = None,
  ) -> None:
    """Gives an encoder with Params `p` a single set of adapters, and applies it.

    Args:
      p: Params of the encoder, changed in place.
      name: Name of the set; None: the encoder has no adapters.
      position: Position of the adapters, one of adapter.POSITIONS; None: that of `p`.
      bottleneck_dim: Width of the bottleneck, or rank of the changes, >= 1; None: that of `p`.
      kind: One of adapter.KINDS; None: that of `p`.
      projections: What adapters of the kind `lora` change, of lora.PROJECTIONS; None: as in `p`.

    Raises:
      errors.ConfigError: This kind of encoder has no adapters.
    """
    del p, position, bottleneck_dim, kind, projections
    if name is not None:
      raise errors.ConfigError(
        f'adapters {name}: {cls.__name__} has no adapters; expected an encoder with adapters, such as ConformerEncoder'
      )

  def Merged(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Merges the active adapters into the other weights.

    Args:
      values: dict: name of each variable -> value.

    Returns:
      The same, with weights with which an encoder without these adapters computes the same.

    Raises:
      errors.ConfigError: No adapters are active, or they are not of a kind that can be merged.
    """
    del values
    raise errors.ConfigError(
      f'{self.params.name}: adapters {self.ActiveAdapter(self.params) or "none"} cannot be merged; expected active '
      'adapters of the kind lora or bias'
    )


def EncodeAll(
  encoder: BaseEncoder, theta: py_utils.NestedMap, batches: list[tuple], together: bool | None
) -> list[tuple]:
  """Encodes several batches, in one pass or one after another.

  Args:
    encoder: The encoder.
    theta: The encoder's variables.
    batches: List of (features [B_i, T_i, F], paddings [B_i, T_i]).
    together: Whether to encode all batches in one pass, padded to the longest; None: only if all have the same static
      length, so that no padding is added.

  Returns:
    List of (encoded [B_i, N_i, D], paddings [B_i, N_i]).
  """
  if together is None:
    lengths = {features.shape[1] for features, _ in batches}  # None: not static.
    together = len(lengths) == 1 and None not in lengths
  if len(batches) == 1 or not together:
    return [encoder.FProp(theta, *batch) for batch in batches]
  sizes = [py_utils.GetShape(features, 2) for features, _ in batches]
  longest = sizes[0][1]
  for _, time in sizes[1:]:
    is_static = isinstance(longest, int) and isinstance(time, int)
    longest = max(longest, time) if is_static else tf.maximum(longest, time)
  features = tf.concat(  # [sum B_i, max T_i, F]
    [tf.pad(f, [[0, 0], [0, longest - time], [0, 0]]) for (f, _), (_, time) in zip(batches, sizes)], axis=0
  )
  paddings = tf.concat(
    [tf.pad(p, [[0, 0], [0, longest - time]], constant_values=1.0) for (_, p), (_, time) in zip(batches, sizes)], axis=0
  )
  encoded, paddings = encoder.FProp(theta, features, paddings)
  outputs, start = [], 0
  for batch, time in sizes:
    frames = time // encoder.downsample_factor
    outputs.append((encoded[start : start + batch, :frames], paddings[start : start + batch, :frames]))
    start += batch
  return outputs
