"""LibriSpeech experiments: 960 h unlabeled, 100 h labeled; from `clean` speech to `other` speech.

`data_dir`/source is train-clean-100 with dev-clean and test-clean, `data_dir`/target is
train-clean-360 and train-other-500 with dev-other and test-other; docs/scale.md has the
commands. Numbers of steps and batch sizes are our choice, for one accelerator with 16 GB.
"""

import dataclasses

from fm_lingvo.config import registry

from . import asr
from . import base


@dataclasses.dataclass(eq=False)
class _Knobs:
  """Knobs in which all experiments of this module differ from asr.*."""

  size: str = 'base'
  data_dir: str = 'data/librispeech'
  dropout_prob: float = 0.1
  batch_seconds: float = 320.0
  max_seconds: float = 24.0
  eval_interval_steps: int = 2000
  save_interval_steps: int = 2000


@dataclasses.dataclass(eq=False)
class _BestRqKnobs:
  """Quantizer and masking of BEST-RQ, arXiv 2202.01855."""

  codebook_size: int = 8192
  mask_start_prob: float = 0.01
  mask_span_ms: float = 400.0


@dataclasses.dataclass(eq=False)
class _SupervisedKnobs(_Knobs):
  """Knobs of experiments with a transducer."""

  tokenizer: str | None = base.WORDPIECES_EN
  learning_rate: float = 1e-3
  warmup_steps: int = 5000
  max_steps: int = 80000


@registry.RegisterExperiment
class BestRqPretrain960(_Knobs, _BestRqKnobs, base.BestRqKnobs, base.AsrExperiment):
  """Stage 1 on all 960 h of LibriSpeech, transcripts unused.

  Trained: encoder and best_rq head.
  """

  learning_rate: float = 2e-3
  warmup_steps: int = 25000
  max_steps: int = 400000
  eval_interval_steps: int = 5000
  save_interval_steps: int = 5000

  def Task(self):
    """As asr.BestRqPretrain."""
    return self._PretrainTask(['DevClean', 'DevOther'])

  def Train(self):
    """All training subsets."""
    return self._Input(unlabeled=self._UnlabeledTraining(('source', 'target')))

  def DevClean(self):
    """dev-clean."""
    return self._Input(unlabeled=self._UnlabeledStream('source/dev-*.tfrecord'))

  def DevOther(self):
    """dev-other."""
    return self._Input(unlabeled=self._UnlabeledStream('target/dev-*.tfrecord'))


@registry.RegisterExperiment
class Supervised100(_SupervisedKnobs, asr.Supervised):
  """Encoder and transducer on the 100 labeled hours of train-clean-100.

  DevSource and TestSource are dev-clean and test-clean, DevTarget and TestTarget
  dev-other and test-other. With a BestRqPretrain960 run as `init_from` this is the usual
  benchmark of BEST-RQ.
  """


@registry.RegisterExperiment
class JustHydra100(_SupervisedKnobs, _BestRqKnobs, asr.JustHydra):
  """Stage 2: the 100 labeled hours, and the other 860 h unlabeled, jointly.

  Data sets as in Supervised100. Trained: encoder, transducer and best_rq head.
  """

  batch_seconds: float = 160.0
  unlabeled_batch_seconds: float = 160.0


@registry.RegisterExperiment
class AdapterFinetuneOther(_SupervisedKnobs, asr.AdapterFinetune):
  """Stage 3: adapters and transducer on a share of the 860 h' labels.

  Data sets as in Supervised100. The encoder of `init_from`, a JustHydra100 run, is frozen.
  """

  dropout_prob: float = 0.0
  warmup_steps: int = 500
  max_steps: int = 20000
