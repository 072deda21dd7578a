"""What the hydra asks of a head, with defaults for all that a head may leave out.

B: utterances, T: log-mel frames, N: encoded frames, F: mel bins, D: width of encoded frames, K: hypotheses,
L: labels of a hypothesis.
"""

import math
from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Iterable

from lingvo.core import base_layer
from lingvo.core import hyperparams
from lingvo.core import py_utils

from fm_lingvo.data import tokenizer as tokenizer_lib

# CorruptionKey of a head that leaves the features as they are.
CLEAN = 'clean'


class BaseHead(base_layer.BaseLayer):
  """One objective: Corrupt before the encoder, Loss after it.

  A head implements these two. A head that learns transcripts implements Decode, too, and has a tokenizer and the param
  `tokenizer_file`: labeled_head.LabeledHead is the base of such heads. All other methods have defaults. A head is one
  file: nothing else in the library asks for its class.
  """

  set_by_owner = {
    'input_dim': "since the hydra sets it to its encoder's output_dim",
    'num_bins': 'since the hydra sets it to task.frontend.mel.num_bins',
    'downsample_factor': "since the hydra sets it to its encoder's",
  }

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('input_dim', None, "Width D of encoded frames; the hydra sets it to its encoder's.")
    p.Define('num_bins', None, "Mel bins F of a frame; the hydra sets it to its front end's.")
    p.Define(
      'downsample_factor', None, "Log-mel frames of an encoded frame, T / N; the hydra sets it to its encoder's."
    )
    return p

  most_labels_per_frame = math.inf  # Labels that an encoded frame can have in an alignment of the loss.

  def Corrupt(self, theta, features, paddings) -> py_utils.NestedMap:
    """Prepares features for the encoder.

    Args:
      theta: This layer's variables.
      features: float32 [B, T, F] normalised log-mel.
      paddings: float32 [B, T], 1 on padding.

    Returns:
      NestedMap with `features` [B, T, F] for the encoder and whatever Loss needs.
    """
    raise NotImplementedError('Abstract method')

  def CorruptionKey(self) -> Hashable | None:
    """Identifies the corruption that Corrupt applies, so that heads with the same one share an encoder pass.

    Returns:
      None if no other head applies the same corruption. Otherwise a key: branches of one stream whose heads have equal
      keys all get the output of the first head's Corrupt, which is encoded once; the Corrupt of such heads must give
      equal outputs. CLEAN is the key of heads that leave the features unchanged.
    """
    return None

  def Loss(self, theta, encoded, paddings, corrupted, batch) -> tuple[dict, dict]:
    """Computes this head's loss.

    Args:
      theta: This layer's variables.
      encoded: float32 [B, N, D].
      paddings: float32 [B, N], 1 on padding.
      corrupted: What Corrupt returned.
      batch: The stream's batch: waveforms, num_samples, weights, of a labeled stream labels and label_lengths, and, on
        the host, utt_ids, texts.

    Returns:
      (metrics, tensors): metrics is a dict name -> (value, weight) of scalars that holds `loss`; tensors is a dict of
      tensors whose first dimension replicas are joined along.
    """
    raise NotImplementedError('Abstract method')

  @property
  def tokenizer(self) -> tokenizer_lib.Tokenizer | None:
    """The Tokenizer of this head's labels; None: it has no labels."""
    return None

  @classmethod
  def Decodes(cls) -> bool:
    """Whether heads of this class decode, that is, implement Decode."""
    return cls.Decode is not BaseHead.Decode

  @property
  def searches(self) -> bool:
    """Whether Decode is a search of many small operations, which costs little more for many utterances than for one."""
    return False

  def SearchesJointly(self, encoded) -> bool:
    """Whether an evaluation searches several batches together (evaluation/joint_search.py), not each with its loss.

    Args:
      encoded: float32 [B, N, D], a tensor of the graph: B must not be static, as it is on a TPU.
    """
    return self.searches and encoded.shape.as_list()[0] is None

  def Decode(self, theta, encoded, paddings) -> py_utils.NestedMap:
    """Finds transcripts; optional.

    Args:
      theta: This layer's variables.
      encoded: float32 [B, N, D].
      paddings: float32 [B, N], 1 on padding.

    Returns:
      NestedMap, best hypothesis first: labels int32 [B, K, L] without blanks, 0 past their lengths int32 [B, K]; scores
      float32 [B, K], log-probabilities; frames int32 [B, K, L], the encoded frame at which each label was emitted; and,
      optionally, label_scores float32 [B, K, L], the log-probability of each label, for confidences.
    """
    raise NotImplementedError(f'{type(self).__name__} does not decode')

  @classmethod
  def Streams(cls) -> bool:
    """Whether heads of this class implement streaming decoding: StreamState and StreamDecode."""
    return cls.StreamDecode is not BaseHead.StreamDecode

  def StreamState(self, theta, batch: int, beam_size: int | None = None) -> py_utils.NestedMap:
    """Returns the state before the first encoded frame, for StreamDecode; optional.

    Args:
      theta: This layer's variables.
      batch: Number of utterances.
      beam_size: Hypotheses to keep, >= 1; None: as Decode.

    Raises:
      errors.ConfigError: The head has no beam of this size.
      NotImplementedError: It does not decode streams, see Streams.
    """
    raise NotImplementedError(f'{type(self).__name__} does not decode streams')

  def StreamDecode(self, theta, encoded, lengths, state) -> tuple[py_utils.NestedMap, py_utils.NestedMap]:
    """Streaming decoding: decodes the next chunk of an utterance; optional.

    Args:
      theta: This layer's variables.
      encoded: float32 [B, C, D], the next encoded frames. Padding may have any value.
      lengths: int32 [B], number of encoded frames, 0 to C.
      state: State from the chunk before or from StreamState.

    Returns:
      (hypotheses, see fm_lingvo/decoding/streaming.py; the new state). All chunks together give what Decode gives for
      the whole utterance, but for its limit of labels.
    """
    raise NotImplementedError(f'{type(self).__name__} does not decode streams')

  @property
  def record(self):
    """The variable that keeps what a checkpoint was made with (checkpoints/provenance.py); None: there is none."""
    return None

  def CheckRecord(self, value, source: str) -> None:
    """Raises errors.ConfigError if a checkpoint's `record` contradicts these params.

    Args:
      value: float array, the checkpoint's value of `record`.
      source: Where it was read, for the message.
    """

  @classmethod
  def FitReason(cls, p: hyperparams.Params) -> str:
    """The param of `p`, with its value, for which Fit must see data before the first step; '': none."""
    del p
    return ''

  def Fit(self, sess, batches: Callable[[int], Iterable[tuple]], loaded: set[str]) -> str:
    """Fits variables to training data before the first step of a new run.

    Args:
      sess: Session that holds the initialised variables.
      batches: Function from a number n to n training batches of this head's first branch: pairs of features
        float32 [B, T, F], normalised and not corrupted, and paddings float32 [B, T], as NumPy arrays.
      loaded: Names of the variables that were loaded from another run's checkpoint and must not change.

    Returns:
      What was fitted, for the log; '' if nothing was.

    Raises:
      errors.ConfigError: There is too little data, or what was loaded contradicts the params.
    """
    return ''
