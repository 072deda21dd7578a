"""All `asr.*` experiments; each states only how it differs from the others."""

from fm_lingvo import hydra
from fm_lingvo.config import registry
from fm_lingvo.heads import ctc_head

from . import base
from . import labeled


@registry.RegisterExperiment
class BestRqPretrain(base.BestRqKnobs, base.AsrExperiment):
  """Stage 1: pretrains the encoder with BEST-RQ on unlabeled audio.

  Data: `data_dir`/*/train-* of any domain, transcripts unused. Trained: encoder
  and best_rq head. Method: BEST-RQ, arXiv 2202.01855; several codebooks as in USM,
  arXiv 2303.01037. The defaults train a small encoder on the demo data;
  params/gin/paper.gin has the paper's sizes, best_rq_paper.gin its schedule.

  Measured: docs/results/pretrain.json, shown in docs/pretraining.md.
  """

  unlabeled: tuple = ('*',)  # Folders of speech to train on, under data_dir.
  domain_regex: str = ''  # Regular expression of the domains to train on; '' means all.
  human: str = 'human'  # Folder under data_dir whose held-out human speech is evaluated.
  synthetic: str = 'synthetic'  # The same for synthetic speech.

  def Task(self):
    """The hydra with one branch: unlabeled -> best_rq."""
    return self._PretrainTask(['DevHuman', 'DevSynthetic'])

  def Train(self):
    """Unlabeled speech of all domains, or of those that domain_regex selects."""
    return self._Input(unlabeled=self._UnlabeledTraining(self.unlabeled, domain_regex=self.domain_regex))

  def DevHuman(self):
    """A small held-out set of human speech, to watch a run."""
    return self._Input(unlabeled=self._UnlabeledStream(f'{self.human}/dev-*.tfrecord'))

  def TestHuman(self):
    """A held-out set of human speech that is large enough to report results on."""
    return self._Input(unlabeled=self._UnlabeledStream(f'{self.human}/test-*.tfrecord'))

  def DevSynthetic(self):
    """Held-out synthetic speech."""
    return self._Input(unlabeled=self._UnlabeledStream(f'{self.synthetic}/dev-*.tfrecord'))


@registry.RegisterExperiment
class Supervised(labeled.TransducerKnobs, labeled.LabeledExperiment):
  """Trains encoder and transducer on labeled source speech alone.

  Data: `data_dir`/`source`, transcripts used. Trained: all. If `init_from` is a
  BestRqPretrain run, the encoder starts from its weights: stage 2 without the unlabeled
  branch. If it has a decoder, `init_decoder` takes that, too. Method: Conformer
  transducer, arXiv 2005.08100 and 1211.3711.

  Measured: docs/results/recipe.json, shown in docs/recipe.md.
  """

  pseudo: str = 'pseudo'  # Folder under data_dir with speech and its transcripts by a model, tools.transcribe.
  pseudo_weight: float = 0.0  # > 0 adds a branch with this weight: that speech -> transducer.

  def Task(self):
    """The hydra with the branch labeled -> transducer and, with ctc_weight, labeled_ctc -> ctc; for pseudo, too."""
    p = hydra.HydraTask.Params()
    self._AddHeads(p)
    self._AddBranches(p, 'labeled')
    if self.pseudo_weight:
      self._AddBranches(p, 'pseudo', self.pseudo_weight)
    return self._TrainLabeled(p)

  def Train(self):
    """Labeled source speech and, with pseudo_weight, speech that a model has transcribed."""
    return self._Input(**self._Streams())

  def _Idle(self):
    idle = super()._Idle()
    if not self.pseudo_weight:
      idle.update(pseudo='without pseudo_weight > 0')
    return idle

  def _Labels(self):
    """Returns StreamParams of the labeled speech."""
    return self._LabeledStream(self.source, 'train')

  def _Streams(self):
    """Returns dict: stream -> its StreamParams."""
    streams = {'labeled': self._Labels()}
    if self.pseudo_weight:
      streams['pseudo'] = self._LabeledStream(self.pseudo, 'train')
    return streams


@registry.RegisterExperiment
class StreamingSupervised(Supervised):
  """As Supervised, with a causal model for streaming recognition, fm-transcribe --stream.

  Data, trained and method: as Supervised; the other experiments have the knob `streaming`, too. A stage that starts
  from a streaming run must stream as well. See docs/streaming.md.
  """

  streaming: bool = True
  init_full_context: bool = False  # Set it if init_from is a run that does not stream: all but its front end is taken.

  def _Fresh(self):
    # A streaming front end normalises by statistics of the training data, which a full-context run does not have.
    return super()._Fresh() + (('/frontend/',) if self.init_full_context else ())

  def _Idle(self):
    idle = super()._Idle()
    if not self.init_from:
      idle.update(init_full_context='without init_from')
    return idle


@registry.RegisterExperiment
class JustHydra(labeled.BestRqBranchKnobs, Supervised):
  """Stage 2: labeled source speech and unlabeled target speech, jointly.

  Data: `data_dir`/`source` with transcripts, the folders `unlabeled` without.
  Trained: encoder and all heads. Source speech is masked for BEST-RQ only with
  `source_best_rq_weight`, in a separate branch. If `init_from` has no BEST-RQ head, as a
  Supervised run or the model of the project, `init_best_rq = False` makes a new one.
  Method: JUST, arXiv 2111.08137, on two streams (arXiv 2302.01496).

  Measured: docs/results/recipe.json, shown in docs/recipe.md.
  """

  def Task(self):
    """As Supervised, plus the branch unlabeled -> best_rq and, if weighted, labeled -> best_rq."""
    p = super().Task()
    self._AddBestRq(p)
    return p

  def Train(self):
    """Labeled source speech and unlabeled target speech."""
    return super().Train()

  def _Streams(self):
    unlabeled = self._UnlabeledTraining(self.unlabeled, batch_seconds_knob='unlabeled_batch_seconds')
    return {**super()._Streams(), 'unlabeled': unlabeled}


@registry.RegisterExperiment
class FullFinetune(labeled.LabelShareKnobs, Supervised):
  """Finetunes all weights on labeled target speech: the costly way to adapt.

  Data: a share of `data_dir`/`target` and, with `source_weight`, all of
  `data_dir`/`source`, transcripts used. Trained: all, starting from `init_from`, a
  Supervised or JustHydra run.

  Measured: docs/results/recipe.json, shown in docs/recipe.md.
  """

  _NEEDS_INIT_FROM = True

  init_decoder: bool = True
  learning_rate: float = 5e-4
  warmup_steps: int = 50
  max_steps: int = 500
  source_weight: float = 0.0  # > 0 adds a branch with this weight: source speech -> transducer.

  def Task(self):
    """As Supervised; with source_weight, also source speech in a branch of its own."""
    p = super().Task()
    if self.source_weight:
      self._AddBranches(p, 'source', self.source_weight)
    return p

  def Train(self):
    """Labeled target speech and, with source_weight, labeled source speech."""
    return self._Input(**self._Streams())

  def _Streams(self):
    streams = super()._Streams()
    if self.source_weight:
      streams['source'] = self._LabeledStream(self.source, 'train')
    return streams


@registry.RegisterExperiment
class AdapterFinetune(FullFinetune):
  """Stage 3: trains only adapters and decoder on a little labeled target speech.

  Data: as FullFinetune. Trained: the set of adapters `adapter`, transducer and CTC; the
  encoder of `init_from`, a JustHydra run, stays bit-equal, but for scales and biases of
  its norms with `train_layer_norms`. Method: residual adapters
  (arXiv 2302.01496); LoRA and bias-only tuning for comparison, see fm_lingvo/layers/lora.py.

  Measured: docs/results/recipe.json, shown in docs/recipe.md.
  """

  _TRAINED = 'encoder/adapters/{adapter}/|/transducer/|/ctc/'
  _LAYER_NORMS = r'/encoder/(?!adapters/).*(ln|norm_layer)/(scale|bias|gamma|beta)/var'

  learning_rate: float = 1e-3
  adapter: str = 'target'  # Name of the set of adapters; each domain has its own.
  adapter_kind: str = 'residual'  # residual, lora: low-rank changes of projections, or bias: changes of biases.
  adapter_dim: int | None = None  # Width of residual ones (None: 32, 128 at size `paper`), or rank of lora (None: 8).
  adapter_position: str = 'after_block'  # With residual: after_block, parallel or after_ff.
  lora_alpha: float = 16.0  # With lora: the changes are scaled by lora_alpha / rank.
  lora_projections: tuple = ('query', 'value', 'feed_forward')  # With lora: see fm_lingvo/layers/lora.py.
  adapter_lr_scale: float = 1.0  # Learning rate of the adapters, as a multiple of learning_rate.
  decoder_lr_scale: float = 1.0  # The same of transducer and CTC.
  train_layer_norms: bool = False  # Trains the encoder's norms, too; the encoder without adapters then changes.

  def Task(self):
    """As FullFinetune, with adapters."""
    p = super().Task()
    scales = (
      ('adapters', f'encoder/adapters/{self.adapter}/', self.adapter_lr_scale),
      ('decoder', '/transducer/|/ctc/', self.decoder_lr_scale),
    )
    p.train.learner.rate_groups = [group for group in scales if group[2] != 1.0]
    if self.train_layer_norms:
      p.train.learner.bprop_variable_filter += f'|{self._LAYER_NORMS}'
    width = self._BySize('adapter_dim', 32)
    is_lora = self.adapter_kind == 'lora'
    if is_lora:
      width, p.encoder.lora_tpl.alpha = 8 if self.adapter_dim is None else self.adapter_dim, self.lora_alpha
    p.encoder.cls.UseAdapter(
      p.encoder,
      self.adapter,
      self.adapter_position,
      width,
      kind=self.adapter_kind,
      projections=self.lora_projections if is_lora else None,
    )
    return p

  def _Fresh(self):
    return super()._Fresh() + ('encoder/adapters/{adapter}/',)

  def _Idle(self):
    idle = super()._Idle()
    if self.adapter_kind != 'residual':
      idle.update(adapter_position="without adapter_kind = 'residual'")
    if self.adapter_kind != 'lora':
      idle.update(dict.fromkeys(('lora_alpha', 'lora_projections'), "without adapter_kind = 'lora'"))
    if self.adapter_kind == 'bias':
      idle.update(adapter_dim="with adapter_kind = 'bias'")
    return idle


@registry.RegisterExperiment
class FromScratch(FullFinetune):
  """Baseline: the same model from random weights on labeled target speech.

  Data: all of `data_dir`/`target` and, with `source_weight`, of `data_dir`/`source`,
  transcripts used. Trained: all.

  Measured: docs/results/recipe.json, shown in docs/recipe.md.
  """

  _NEEDS_INIT_FROM = False

  learning_rate: float = 1.5e-3
  warmup_steps: int = 300
  max_steps: int = 3000
  label_share: float = 1.0


@registry.RegisterExperiment
class CtcProbe(labeled.LabelShareKnobs, labeled.LabeledExperiment):
  """Probe: what a CTC projection can read from a frozen encoder.

  Data: all of `data_dir`/`target`, transcripts used. Trained: only the projection. The
  encoder stays bit-equal: that of `init_from`, a run of any stage, or a random one.

  Measured: docs/results/recipe.json, shown in docs/recipe.md.
  """

  _TRAINED = '/ctc/'

  learning_rate: float = 3e-3
  warmup_steps: int = 50
  max_steps: int = 1000
  label_share: float = 1.0

  def Task(self):
    """The hydra with one branch: labeled -> ctc."""
    p = hydra.HydraTask.Params()
    hydra.HydraTask.AddHead(p, 'ctc', self._LabeledHead(ctc_head.CtcHead.Params()))
    hydra.HydraTask.AddBranch(p, 'labeled', stream='labeled', head='ctc')
    return self._TrainLabeled(p)

  def _Fresh(self):
    return ('/ctc/',)
