"""A run's decoding in a session, with its weights: what recognition runs. Does not import Lingvo's layers.

B: utterances, S: samples (16 kHz), N: encoded frames, D: model width.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lingvo import compat as tf

from fm_lingvo.data import tokenizer

CLOSED = 'the model is closed; load it again'


@dataclasses.dataclass(frozen=True)
class SessionGraph:
  """A graph and its session; decoding_graph.Start builds one, kept_graphs.Find reads one."""

  session: tf.Session
  inputs: tuple[tf.Tensor, tf.Tensor]  # Placeholders: waveforms float32 [B, S] in [-1, 1], num_samples int32 [B].
  encoded: Mapping[str, tf.Tensor]  # `encoded` [B, N, D] and `paddings` [B, N].
  searched: Mapping[str, tf.Tensor]  # Placeholders for what is encoded.
  outputs: Mapping[str, tf.Tensor]  # Hypotheses, see BaseHead.Decode.
  tokenizer: tokenizer.Tokenizer
  frame_samples: int  # Samples of an encoded frame.
  why_no_stream: str  # Why the run cannot do streaming recognition, '' if it can.
  task: Any  # A HydraTask; None: of a kept graph, which cannot stream.
