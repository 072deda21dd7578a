"""LibriSpeech: 960 h unlabeled, 100 h labeled; from clean speech to other speech.

`data_dir`/source is train-clean-100 with dev-clean and test-clean, `data_dir`/target is
train-clean-360 and train-other-500 with dev-other and test-other; README.md has the
commands. Sizes of steps and batches are for one accelerator of 16 GB, and ours.
"""

from fm_lingvo import registry
from params import asr
from params import base

_DATA_DIR = 'data/librispeech'
_WORDPIECES = 'params/tokenizers/wordpieces_en_1024.model'


@registry.RegisterExperiment
class BestRqPretrain960(base.BestRqKnobs, base.AsrExperiment):
  """Stage 1 on all 960 h of LibriSpeech, transcripts unused.

  Trained: encoder and best_rq head. Quantizer and masks of BEST-RQ, arXiv 2202.01855.
  """

  size: str = 'base'
  data_dir: str = _DATA_DIR
  dropout_prob: float = 0.1
  batch_seconds: float = 320.0
  max_seconds: float = 24.0
  learning_rate: float = 2e-3
  warmup_steps: int = 25000
  max_steps: int = 400000
  eval_interval_steps: int = 5000
  save_interval_steps: int = 5000
  codebook_size: int = 8192
  mask_start_prob: float = 0.01
  mask_span_ms: float = 400.0

  def Task(self):
    """As asr.BestRqPretrain."""
    return self._PretrainTask(['DevClean', 'DevOther'])

  def Train(self):
    """All training subsets."""
    return self._Input(unlabeled=self._UnlabeledStream(('source', 'target')))

  def DevClean(self):
    """dev-clean."""
    return self._Input(unlabeled=self._Stream('source/dev-*.tfrecord'))

  def DevOther(self):
    """dev-other."""
    return self._Input(unlabeled=self._Stream('target/dev-*.tfrecord'))


@registry.RegisterExperiment
class Supervised100(asr.Supervised):
  """Encoder and transducer on the 100 labeled hours of train-clean-100.

  DevSource and TestSource are dev-clean and test-clean, DevTarget and TestTarget
  dev-other and test-other. `init_from` a BestRqPretrain960 run: BEST-RQ's usual test.
  """

  size: str = 'base'
  data_dir: str = _DATA_DIR
  tokenizer: str = _WORDPIECES
  dropout_prob: float = 0.1
  batch_seconds: float = 320.0
  max_seconds: float = 24.0
  learning_rate: float = 1e-3
  warmup_steps: int = 5000
  max_steps: int = 80000
  eval_interval_steps: int = 2000
  save_interval_steps: int = 2000


@registry.RegisterExperiment
class JustHydra100(asr.JustHydra):
  """Stage 2: the 100 labeled hours, and the other 860 h unlabeled, jointly.

  Data sets as Supervised100. Trained: encoder, transducer and best_rq head.
  """

  size: str = 'base'
  data_dir: str = _DATA_DIR
  tokenizer: str = _WORDPIECES
  dropout_prob: float = 0.1
  batch_seconds: float = 160.0
  unlabeled_batch_seconds: float = 160.0
  max_seconds: float = 24.0
  learning_rate: float = 1e-3
  warmup_steps: int = 5000
  max_steps: int = 80000
  eval_interval_steps: int = 2000
  save_interval_steps: int = 2000
  codebook_size: int = 8192
  mask_start_prob: float = 0.01
  mask_span_ms: float = 400.0


@registry.RegisterExperiment
class AdapterFinetuneOther(asr.AdapterFinetune):
  """Stage 3: adapters and transducer on a share of the 860 h' labels.

  Data sets as Supervised100. The encoder of `init_from`, a JustHydra100 run, stays.
  """

  size: str = 'base'
  data_dir: str = _DATA_DIR
  tokenizer: str = _WORDPIECES
  batch_seconds: float = 320.0
  max_seconds: float = 24.0
  warmup_steps: int = 500
  max_steps: int = 20000
  eval_interval_steps: int = 2000
  save_interval_steps: int = 2000
