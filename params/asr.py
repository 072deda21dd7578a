"""Every `asr.*` experiment; each states only its differences from the others."""

import os

from fm_lingvo import heads
from fm_lingvo import hydra
from fm_lingvo import input as hydra_input
from fm_lingvo import registry
from lingvo.core import learner
from lingvo.core import optimizer
from lingvo.core import schedule

_GIN_DIR = os.path.join(os.path.dirname(__file__), 'gin')


@registry.RegisterExperiment
class BestRqPretrain(registry.Experiment):
  """Stage 1: pretrains the encoder with BEST-RQ on unlabeled audio.

  Data: `data_dir`/*/train-* of any domain, transcripts unused. Trained: encoder
  and best_rq head. Method: BEST-RQ, arXiv 2202.01855; several codebooks as USM,
  arXiv 2303.01037. The defaults are a small encoder on the demo data;
  params/gin/paper.gin has the paper's sizes and schedule.

  Measured: docs/results/pretrain.json, shown in README.md.
  """

  size: str = 'tiny'  # Gin file of sizes, params/gin/SIZE.gin.
  data_dir: str = 'data/demo'  # Folder whose sub-folders are data sets.
  domain_regex: str = ''  # Domains to train on; '' means all.
  num_codebooks: int = 1
  codebook_size: int = 512
  projection: str = 'xavier'  # xavier or pca.
  mask_start_prob: float = 0.05  # The paper: 0.01 and 400 ms. At demo size the
  mask_span_ms: float = 100.0  # middle of long spans cannot be predicted yet.
  kl_weight: float = 0.0
  dropout_prob: float = 0.0  # Masks and shuffles regularise enough at this size.
  batch_seconds: float = 32.0  # Audio in a batch, padding included.
  max_seconds: float = 16.0  # Longer utterances are dropped, and counted.
  learning_rate: float = 1.5e-3  # Peak, reached after warmup_steps.
  warmup_steps: int = 300
  max_steps: int = 2000
  eval_interval_steps: int = 500
  save_interval_steps: int = 500
  summary_interval_steps: int = 50
  seed: int = 1

  def _GinFiles(self):
    return [os.path.join(_GIN_DIR, f'{self.size}.gin')]

  def Task(self):
    """The hydra with one branch: unlabeled -> best_rq."""
    p = hydra.HydraTask.Params()
    p.encoder.dropout_prob = self.dropout_prob
    head = heads.BestRqHead.Params().Set(kl_weight=self.kl_weight)
    head.masker.Set(mask_start_prob=self.mask_start_prob,
                    mask_span_ms=self.mask_span_ms)
    head.quantizer.Set(num_codebooks=self.num_codebooks,
                       codebook_size=self.codebook_size,
                       projection=self.projection)
    hydra.HydraTask.AddHead(p, 'best_rq', head)
    hydra.HydraTask.AddBranch(p, 'unlabeled', stream='unlabeled', head='best_rq')
    p.random_seed = self.seed
    p.train.Set(
        learner=learner.Learner.Params().Set(
            name='loss',
            learning_rate=self.learning_rate,
            lr_schedule=schedule.LinearRampupSqrtDecay.Params().Set(
                warmup_steps=self.warmup_steps),
            optimizer=optimizer.Adam.ParamsB(),
            clip_gradient_norm_to_value=1.0),
        max_steps=self.max_steps,
        eval_interval_steps=self.eval_interval_steps,
        eval_datasets=['DevHuman', 'DevSynthetic'],
        save_interval_steps=self.save_interval_steps,
        summary_interval_steps=self.summary_interval_steps)
    return p

  def _Input(self, pattern, domain_regex=''):
    """Input Params with the one stream of this experiment."""
    p = hydra_input.HydraInput.Params()
    # Eight buckets, each sqrt(2) longer than the one before.
    bounds = [round(self.max_seconds * 2 ** (-k / 2), 2) for k in range(7, -1, -1)]
    hydra_input.AddStream(p, 'unlabeled', hydra_input.StreamParams().Set(
        file_pattern=os.path.join(self.data_dir, pattern),
        domain_regex=domain_regex,
        bucket_upper_bound_seconds=bounds,
        bucket_batch_size=[max(1, int(self.batch_seconds / b)) for b in bounds]))
    p.random_seed = self.seed
    return p

  def Train(self):
    """All domains, or those that domain_regex selects."""
    return self._Input('*/train-*.tfrecord', self.domain_regex)

  def DevHuman(self):
    """Held-out human speech, a little, for watching a run."""
    return self._Input('human/dev-*.tfrecord')

  def TestHuman(self):
    """Held-out human speech, enough for a figure to report."""
    return self._Input('human/test-*.tfrecord')

  def DevSynthetic(self):
    """Held-out synthetic speech."""
    return self._Input('synthetic/dev-*.tfrecord')
