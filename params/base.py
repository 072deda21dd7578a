"""Base classes of the experiments: knobs for size, data and schedule, streams of speech, and the best_rq head.

params/labeled.py has those of experiments on transcribed speech.
"""

import dataclasses
import math
import os

from lingvo.core import optimizer
from lingvo.core import schedule

from fm_lingvo import errors
from fm_lingvo import hydra
from fm_lingvo.config import registry
from fm_lingvo.data import hydra_input
from fm_lingvo.data import waveform_augment
from fm_lingvo.heads import best_rq_head
from fm_lingvo.layers import mixed_precision
from fm_lingvo.training import nonfinite_steps
from fm_lingvo.utils import audio

GRAPHEMES_EN = 'params/tokenizers/graphemes_en.model'
WORDPIECES_EN = 'params/tokenizers/wordpieces_en_1024.model'

# Values of knobs that are None, by size, in addition to the Gin files of the size; see AsrExperiment._BySize.
_SIZES = {'paper': {'tokenizer': WORDPIECES_EN, 'adapter_dim': 128}}

# A streaming encoder attends to so much speech before a frame, in every block.
_STREAMING_LEFT_MS = 5120.0

# The shortest bucket's bound is max_seconds / 2 ** this, about an eleventh.
_SHORTEST_BUCKET_OCTAVES = 3.5

GIN_DIR = os.path.join(os.path.dirname(__file__), 'gin')


@dataclasses.dataclass(eq=False)
class SpeechKnobs:
  """Knobs for size and data."""

  size: str = 'tiny'  # Selects params/gin/SIZE.gin and params/gin/transducer/SIZE.gin.
  frame_ms: int = 40  # Length of an encoded frame, 40 or 80; 80 halves the work and suits pieces of words as labels.
  data_dir: str = 'data/demo'  # Folder whose sub-folders are data sets.
  dropout_prob: float = 0.0  # Dropout in the encoder.
  batch_seconds: float = 32.0  # Audio in a batch of a stream, padding included.
  num_buckets: int = 8  # Lengths to which utterances are padded; more of them pad less, each is a shape for XLA.
  max_seconds: float = 16.0  # Longer speech is cut, or dropped from training if it has transcripts; both are counted.
  streaming: bool = False  # Makes the model causal, for streaming recognition, see docs/streaming.md.
  streaming_chunk_ms: int = 0  # > 0: attention sees the later frames of a chunk of this length, too; 0: none.
  compute_dtype: str = 'float32'  # float32 or bfloat16, see fm_lingvo/layers/mixed_precision.py.


@dataclasses.dataclass(eq=False)
class AugmentKnobs:
  """Knobs of the augmentation of training speech."""

  effects_prob: float = 0.5  # Share of utterances with synthetic room, noise or channel effects, in [0, 1].
  noise_dir: str = ''  # Folder with recordings of noise, such as MUSAN; '': none.
  noise_prob: float = 0.5  # With noise_dir: share of utterances with recorded noise, in [0, 1].
  noise_snr_db: tuple[float, ...] = (5.0, 30.0)  # With noise_dir: least and greatest signal-to-noise ratio.
  rir_dir: str = ''  # Folder with room impulse responses, such as RIRS_NOISES; '': none.
  rir_prob: float = 0.3  # With rir_dir: share of utterances in a recorded room, in [0, 1].

  def _Augment(self):
    """Returns Params of the augmentation."""
    p = waveform_augment.Params().Set(effects_prob=self.effects_prob)
    p.recorded.Set(
      noise_dir=self.noise_dir,
      noise_prob=self.noise_prob,
      noise_snr_db_range=list(self.noise_snr_db),
      rir_dir=self.rir_dir,
      rir_prob=self.rir_prob,
    )
    return p

  def _IdleAugmentation(self):
    """The part of _Idle with these knobs."""
    idle = {}
    if not self.noise_dir:
      idle.update(dict.fromkeys(('noise_prob', 'noise_snr_db'), 'without noise_dir'))
    if not self.rir_dir:
      idle.update(rir_prob='without rir_dir')
    switches = [knob for knob in ('augment', 'augment_unlabeled') if hasattr(self, knob)]
    if switches and not any(getattr(self, knob) for knob in switches):
      knobs = [field.name for field in dataclasses.fields(AugmentKnobs)]
      idle.update(dict.fromkeys(knobs, f'without {" or ".join(switches)} = True'))
    return idle


@dataclasses.dataclass(eq=False)
class TrainedExperiment(registry.Experiment):
  """Knobs for the schedule.

  A subclass sets the class attribute _TRAINED; {KNOB} in it is replaced by the knob's value.
  """

  _TRAINED = None  # Regular expression, searched for in variable names: the variables to train; None: all.

  learning_rate: float = 1.5e-3  # Peak, reached after warmup_steps; slightly lower with cosine, see docs/params.md.
  warmup_steps: int = 300  # Steps of the linear warm-up, >= 1.
  gradient_accumulation_steps: int = 1  # Number of steps whose clipped gradients are averaged for one update.
  max_steps: int = 2000  # Step at which training ends.
  eval_interval_steps: int = 500  # Steps between two evaluations.
  save_interval_steps: int = 500  # Steps between two checkpoints.
  summary_interval_steps: int = 50  # Steps between two entries in TensorBoard and metrics.jsonl.
  seed: int = 1  # Of initialisation, masks and the order of the data.

  def _SetTraining(self, p, schedule_params, eval_datasets, final_eval_datasets=()):
    """Sets p.train and the seed of task Params `p`; returns `p`."""
    p.random_seed = self.seed
    adam = optimizer.Adam.ParamsB()
    if self.gradient_accumulation_steps != 1:
      adam = optimizer.Accumulator.Params().Set(
        optimizer_tpl=adam, accum_steps=self.gradient_accumulation_steps, dtype=adam.dtype
      )
    p.train.Set(
      learner=nonfinite_steps.Learner.Params().Set(
        name='loss',
        learning_rate=self.learning_rate,
        lr_schedule=schedule_params,
        optimizer=adam,
        clip_gradient_norm_to_value=1.0,
        bprop_variable_filter=self._Filled(self._TRAINED),
      ),
      max_steps=self.max_steps,
      eval_interval_steps=self.eval_interval_steps,
      eval_datasets=list(eval_datasets),
      final_eval_datasets=list(final_eval_datasets),
      save_interval_steps=self.save_interval_steps,
      summary_interval_steps=self.summary_interval_steps,
    )
    return p

  def _Filled(self, pattern):
    """Returns a class attribute's pattern with {KNOB} replaced by the knobs' values."""
    return pattern and pattern.format(**{f.name: getattr(self, f.name) for f in dataclasses.fields(self)})

  def _Cosine(self):
    """Returns Params of a schedule: linear warm-up, then a cosine to 0 at max_steps."""
    return schedule.LinearRampupCosineSchedule.Params().Set(
      warmup_steps=self.warmup_steps, total_steps=self.max_steps, num_splits=1
    )

  def _Require(self, ok, knob, expected):
    """Raises a one-line ConfigError with the knob and its value unless `ok`."""
    if not ok:
      raise errors.ConfigError(f'{type(self).__name__}.{knob} = {getattr(self, knob)!r}: expected {expected}')


@dataclasses.dataclass(eq=False)
class AsrExperiment(TrainedExperiment, AugmentKnobs, SpeechKnobs):
  """An experiment on speech."""

  def _GinFiles(self):
    return [os.path.join(GIN_DIR, f'{self.size}.gin')]

  def _Idle(self):
    return {**super()._Idle(), **self._IdleAugmentation()}

  def _Train(self, p, schedule_params, eval_datasets, final_eval_datasets=()):
    """Sets p.train, the dtypes and the seed of task Params `p`; returns `p`."""
    self._SetStreaming(p)
    p.encoder.dropout_prob = self.dropout_prob
    self._Require(self.frame_ms in (40, 80), 'frame_ms', '40 or 80')
    if 'subsampling' in p.encoder:
      p.encoder.subsampling.factor = int(self.frame_ms / audio.FRAME_STEP_MS)
    else:
      self._Require(
        self.frame_ms == AsrExperiment.frame_ms, 'frame_ms', 'the default: the encoder has frames of its own'
      )
    mixed_precision.SetComputeDtype(p, self.compute_dtype, f'{type(self).__name__}.compute_dtype')
    return self._SetTraining(p, schedule_params, eval_datasets, final_eval_datasets)

  def _SetStreaming(self, p):
    """Makes task Params `p` causal if the knobs say so."""
    chunk = self.streaming_chunk_ms
    self._Require(not self.streaming or 'causal' in p.encoder, 'streaming', 'False: the encoder has no param `causal`')
    self._Require(
      not chunk or self.streaming and chunk > 0 and chunk % self.frame_ms == 0,
      'streaming_chunk_ms',
      f'0, or with streaming = True a multiple of frame_ms = {self.frame_ms}',
    )
    if self.streaming:
      p.encoder.Set(causal=True, atten_left_context=int(_STREAMING_LEFT_MS / self.frame_ms), atten_right_context=0)
      p.encoder.atten_chunk_size = chunk // self.frame_ms if chunk else None
      p.frontend.normalization = 'global'  # That of an utterance needs all of it.

  def _BySize(self, knob, default):
    """Returns a knob's value; if it is None, that of the size in _SIZES, or `default` if the size has none."""
    value = getattr(self, knob)
    return _SIZES.get(self.size, {}).get(knob, default) if value is None else value

  def _Stream(self, *patterns, batch_seconds_knob='batch_seconds', **fields):
    """Returns StreamParams for shards under data_dir, with num_buckets buckets by length."""
    batch_seconds = getattr(self, batch_seconds_knob)
    self._Require(0 < batch_seconds < math.inf, batch_seconds_knob, 'seconds > 0')
    self._Require(0.3 <= self.max_seconds < math.inf, 'max_seconds', 'seconds >= 0.3')
    self._Require(self.num_buckets >= 2, 'num_buckets', 'an integer >= 2')
    # Each bound is the same multiple of the one before it: sqrt(2) for eight.
    step = _SHORTEST_BUCKET_OCTAVES / (self.num_buckets - 1)
    bounds = [round(self.max_seconds * 2 ** (-k * step), 2) for k in range(self.num_buckets - 1, -1, -1)]
    patterns = [os.path.join(self.data_dir, pattern) for pattern in patterns]
    return hydra_input.StreamParams().Set(
      file_pattern=patterns if len(patterns) > 1 else patterns[0],
      bucket_upper_bound_seconds=bounds,
      bucket_batch_size=[max(1, int(batch_seconds / b)) for b in bounds],
      **fields,
    )

  def _Input(self, **streams):
    """Returns input Params with the given streams."""
    p = hydra_input.HydraInput.Params()
    for name, stream in streams.items():
      hydra_input.AddStream(p, name, stream)
    p.random_seed = self.seed
    return p


@dataclasses.dataclass(eq=False)
class BestRqKnobs:
  """Knobs of the best_rq head."""

  num_codebooks: int = 1  # Independent codebooks, each with a softmax of its own.
  codebook_size: int = 512  # Codes in a codebook; the paper has 8192.
  projection: str = 'xavier'  # xavier or pca.
  mask_start_prob: float = 0.05  # The paper has 0.01 and spans of 400 ms.
  mask_span_ms: float = 100.0  # A model of demo size cannot predict the middle of longer spans.
  kl_weight: float = 0.0  # Weight of the regulariser that keeps predictions from collapsing to few codes.
  cut_too_long: bool = True  # Cuts unlabeled speech longer than max_seconds at quiet places; False drops it.
  augment_unlabeled: bool = False  # Augments unlabeled training speech; masked frames and labels both come from it.

  def _UnlabeledStream(self, *patterns, **fields):
    """Returns StreamParams for speech under data_dir whose transcripts are not used."""
    return self._Stream(*patterns, cut_too_long=self.cut_too_long, **fields)

  def _UnlabeledTraining(self, folders, **fields):
    """Returns StreamParams for the training speech in folders under data_dir."""
    self._Require(folders, 'unlabeled', 'at least one folder')
    augment = self._Augment() if self.augment_unlabeled else None
    return self._UnlabeledStream(*[f'{name}/train-*.tfrecord' for name in folders], augment=augment, **fields)

  def _PretrainTask(self, eval_datasets):
    """The hydra with one branch: unlabeled -> best_rq."""
    p = hydra.HydraTask.Params()
    hydra.HydraTask.AddHead(p, 'best_rq', self._BestRqHead())
    hydra.HydraTask.AddBranch(p, 'unlabeled', stream='unlabeled', head='best_rq')
    rampup = schedule.LinearRampupSqrtDecay.Params().Set(warmup_steps=self.warmup_steps)
    return self._Train(p, rampup, eval_datasets)

  def _BestRqHead(self):
    """Returns Params of the best_rq head."""
    head = best_rq_head.BestRqHead.Params().Set(kl_weight=self.kl_weight)
    head.masker.Set(mask_start_prob=self.mask_start_prob, mask_span_ms=self.mask_span_ms)
    head.quantizer.Set(num_codebooks=self.num_codebooks, codebook_size=self.codebook_size, projection=self.projection)
    return head
