"""How this process computes: graphs and sessions that are made from now on follow it. Does not import TensorFlow."""

import dataclasses


@dataclasses.dataclass
class Settings:
  """The settings; batch_split.py and session.py set them."""

  parts: int = 1  # Parts of a batch that are computed in parallel.
  operation_threads: int = 0  # Intra-op threads; 0: TensorFlow's default.
  deterministic: bool = False  # Whether results are bit-identical on the CPU.
  on_cpu: bool = False  # Whether graphs, and the passes of the graph optimiser, are those that suit a CPU.


SETTINGS = Settings()
