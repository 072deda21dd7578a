"""A trained run, as recognition sees it; does not import Lingvo."""

import dataclasses
from typing import Any

from fm_lingvo.checkpoints import reader


@dataclasses.dataclass(frozen=True)
class Run:
  """A run with one checkpoint, one head and at most one set of adapters; see load_run.Load."""

  path: str  # Folder of the run, or one that fm-export --format=safetensors wrote.
  model_name: str  # Name of the experiment.
  checkpoint: str  # Prefix of the checkpoint's files, or a safetensors file.
  params: Any  # Task Params with only the branch that decodes; None: of a kept graph (kept_graphs.py).
  cluster: Any  # hyperparams.Params; None as `params`.
  head: str  # Name of the head that decodes.
  stream: str  # Name of the data whose transcripts the head was trained on.
  beam_size: int  # Hypotheses of the search.
  adapter: str  # Name of the active set of adapters, or adapter_lib.NO_ADAPTER.
  averages: bool  # Whether the moving averages of its weights are used, where it has any.
  max_seconds: float  # Longest utterance that the run was trained on.
  adapter_file: str | None = None  # With weights of the adapters that are not in the checkpoint.
  language: str | None = None  # Code of what it transcribes, such as en; None: not known.

  def Weights(self) -> reader.Checkpoint:
    """Opens the weights."""
    return reader.Checkpoint(self.checkpoint, self.averages, self.adapter_file)
