"""Base classes of experiments on transcribed speech: data sets, warm starts, transducer and CTC heads."""

import dataclasses
import os

from fm_lingvo import hydra
from fm_lingvo.checkpoints import warm_start
from fm_lingvo.heads import ctc_head
from fm_lingvo.heads import transducer_head

from . import base

# Evaluation keeps utterances up to at least this length: LibriSpeech has some of 35 s.
_LONGEST_SECONDS = 40.0


@dataclasses.dataclass(eq=False)
class LabeledExperiment(base.AsrExperiment):
  """An experiment on labeled speech: its streams and the data sets that it evaluates.

  A subclass sets the class attributes below; {KNOB} in them is replaced by the knob's value.
  """

  _NEEDS_INIT_FROM = False  # Whether a run without init_from is refused.

  data_dir: str = 'data/recipe'  # Folder whose sub-folders are data sets.
  source: str = 'source'  # Folder under data_dir with the source domain's data set.
  target: str = 'target'  # The same for the target domain.
  tokenizer: str | None = None  # SentencePiece model; None: graphemes, or 1024 word pieces at size `paper`.
  init_from: str = ''  # Run or checkpoint for a warm start; '' trains from random weights.
  augment: bool = True  # Augments labeled training speech: speed, room, noise and channel.
  spec_augment: bool = True  # Masks bands and spans of labeled training speech.
  spec_augment_start_step: int = 0  # First training step with SpecAugment's masks.

  def DevSource(self):
    """A small held-out set of source speech, to watch a run."""
    return self._Input(labeled=self._LabeledStream(self.source, 'dev'))

  def DevTarget(self):
    """A small held-out set of target speech, to watch a run."""
    return self._Input(labeled=self._LabeledStream(self.target, 'dev'))

  def TestSource(self):
    """A held-out set of source speech to report results on."""
    return self._Input(labeled=self._LabeledStream(self.source, 'test'))

  def TestTarget(self):
    """A held-out set of target speech to report results on."""
    return self._Input(labeled=self._LabeledStream(self.target, 'test'))

  def _Idle(self):
    idle = super()._Idle()
    if not self.spec_augment:
      idle.update(spec_augment_start_step='without spec_augment = True')
    return idle

  def _Fresh(self):
    """Returns regular expressions, searched for in variable names: new variables, not loaded from init_from."""
    return ()

  def _TokenizerFile(self):
    return self._BySize('tokenizer', base.GRAPHEMES_EN)

  def _LabeledHead(self, head):
    """Sets the knobs that all heads with labels share in the Params `head`; returns `head`."""
    head.tokenizer_file = self._TokenizerFile()
    if self.spec_augment:
      head.spec_augment.start_step = self.spec_augment_start_step
    else:
      head.spec_augment = None
    return head

  def _TrainLabeled(self, p):
    """As _Train, with a cosine schedule and a warm start from init_from."""
    p.train.Set(
      init_from_checkpoint_rules=warm_start.InitRules(self.init_from, map(self._Filled, self._Fresh())),
      needs_init_from=self._NEEDS_INIT_FROM,
    )
    return self._Train(p, self._Cosine(), ['DevTarget', 'DevSource'], ['TestTarget', 'TestSource'])

  def _LabeledStream(self, name, split, **fields):
    """Returns StreamParams for a data set under data_dir with transcripts."""
    stream = self._Stream(f'{name}/{split}-*.tfrecord', labeled=True, tokenizer_file=self._TokenizerFile(), **fields)
    if split != 'train':
      # An error rate without the longest utterances could not be compared with others.
      stream.bucket_upper_bound_seconds.append(max(_LONGEST_SECONDS, self.max_seconds + 1))
      stream.bucket_batch_size.append(1)
    elif self.augment:
      stream.augment = self._Augment()
    return stream


@dataclasses.dataclass(eq=False)
class LabelShareKnobs:
  """Knobs of experiments that train on a share of the target's labels."""

  label_share: float = 0.067  # Share of the target's labeled utterances to use.
  label_seed: int = 0  # Selects which utterances are in the share.

  def Train(self):
    """A share of the labeled target speech."""
    return self._Input(labeled=self._Labels())

  def _Idle(self):
    idle = super()._Idle()
    if self.label_share == 1:
      idle.update(label_seed='without label_share < 1')
    return idle

  def _Labels(self):
    """Returns StreamParams of the share."""
    return self._LabeledStream(self.target, 'train', share=self.label_share, share_seed=self.label_seed)


@dataclasses.dataclass(eq=False)
class TransducerKnobs:
  """Knobs of experiments with a transducer."""

  init_decoder: bool = False  # Whether transducer and CTC start from init_from, too, instead of random weights.
  factorization: str = 'rnnt'  # rnnt or hat.
  ctc_weight: float = 0.3  # Share of the CTC loss in the sum of CTC and transducer loss, in [0, 1); 0: no CTC branch.
  label_smoothing: float = 0.0  # Of the transducer's labels, in [0, 1).
  prediction_dropout_prob: float = 0.0  # In the prediction network: of embedded labels and of predictions.
  beam_size: int = 1  # Beam size of decoding; 1 is greedy.
  lm: str = ''  # Language model for decoding, such as params/lm/graphemes_en.npz; '': none.

  def _Fresh(self):
    return super()._Fresh() + (() if self.init_decoder else ('transducer/', '/ctc/'))

  def _Idle(self):
    idle = super()._Idle()
    if not self.init_from:
      idle.update(init_decoder='without init_from')
    return idle

  def _GinFiles(self):
    return super()._GinFiles() + [os.path.join(base.GIN_DIR, 'transducer', f'{self.size}.gin')]

  def _AddHeads(self, p):
    """Adds the heads `transducer` and, with ctc_weight, `ctc` to task Params `p`."""
    self._Require(0 <= self.ctc_weight < 1, 'ctc_weight', 'a weight in [0, 1)')
    head = transducer_head.TransducerHead.Params().Set(beam_size=self.beam_size, lm_file=self.lm)
    head.max_labels_per_frame = self.frame_ms / base.AsrExperiment.frame_ms  # As many a second at any length.
    head.prediction.dropout_prob = self.prediction_dropout_prob
    head.joint.Set(factorization=self.factorization, label_smoothing=self.label_smoothing)
    hydra.HydraTask.AddHead(p, 'transducer', self._LabeledHead(head))
    if self.ctc_weight:
      hydra.HydraTask.AddHead(p, 'ctc', self._LabeledHead(ctc_head.CtcHead.Params()))

  def _AddBranches(self, p, stream, weight=1.0):
    """Adds the branch STREAM -> transducer and, with ctc_weight, STREAM_ctc -> ctc, which share `weight`.

    The CTC loss stabilises the encoder's first steps. It is not used in decoding.
    """
    hydra.HydraTask.AddBranch(p, stream, stream=stream, head='transducer', weight=weight * (1 - self.ctc_weight))
    if self.ctc_weight:
      hydra.HydraTask.AddBranch(
        p, f'{stream}_ctc', stream=stream, head='ctc', weight=weight * self.ctc_weight, decode=False
      )


@dataclasses.dataclass(eq=False)
class BestRqBranchKnobs(base.BestRqKnobs):
  """Knobs of experiments with a transducer and, in a branch beside it, BEST-RQ."""

  unlabeled: tuple = ('target',)  # Folders of unlabeled speech under data_dir.
  unlabeled_batch_seconds: float = 16.0  # As batch_seconds, for the unlabeled stream.
  best_rq_weight: float = 0.1  # Weight of the branch unlabeled -> best_rq.
  source_best_rq_weight: float = 0.0  # > 0 adds a branch with this weight: labeled -> best_rq.
  init_best_rq: bool = True  # Whether quantizer and BEST-RQ head start from init_from; False makes new ones.

  def _Fresh(self):
    return super()._Fresh() + (() if self.init_best_rq else ('/best_rq/',))

  def _Idle(self):
    idle = super()._Idle()
    if not self.init_from:
      idle.update(init_best_rq='without init_from')
    return idle

  def _AddBestRq(self, p):
    """Adds the head `best_rq` and its branches to task Params `p`."""
    hydra.HydraTask.AddHead(p, 'best_rq', self._BestRqHead())
    hydra.HydraTask.AddBranch(p, 'unlabeled', stream='unlabeled', head='best_rq', weight=self.best_rq_weight)
    if self.source_best_rq_weight:
      hydra.HydraTask.AddBranch(
        p, 'labeled_best_rq', stream='labeled', head='best_rq', weight=self.source_best_rq_weight
      )
