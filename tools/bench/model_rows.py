"""Rows of models: the training step, the quantizer, the transducer loss, decoding, and the stages of training.

A group's function takes a Setting and yields its comparisons. A new row is a Row in a comparison, or a Comparison.
"""

import functools
import tempfile

import numpy as np

from . import inputs
from . import transducer_truth
from .comparison import CheckAgree
from .comparison import CheckInside
from .comparison import Comparison
from .comparison import Row
from .timing import Worker
from .workloads import BASE
from .workloads import PEAK
from .workloads import QUICK
from .workloads import TINY
from .workloads import Experiment
from .workloads import Ours
from .workloads import Sizes

# The BEST-RQ training step: features in, update out.


def _CheckSteps(workers):
  CheckAgree(workers, 'weights', 0.05)  # Else it is another model.
  CheckInside(workers, 'first', 1e-9, 100.0)


def _Steps(setting, size, sizes, bar, max_turns=None):
  """Comparisons in float32 and bfloat16."""
  what = f'{sizes["layers"]} x {sizes["width"]}, V {sizes["codes"]}, B {sizes["batch"]} x {sizes["seconds"]} s'
  for dtype in ('float32', 'bfloat16'):
    workers = [Worker('ours, graph', '.ours.step', {**sizes, 'dtype': dtype})]
    for name, package in (('SpeechBrain', 'speechbrain'), ('plain PyTorch', 'torch')):
      options = {'dtype': dtype, 'package': package}
      workers.append(setting.peers.Worker(name, '.peers.step', {**sizes, **options}, package))
    for worker in workers:
      worker.max_turns = max_turns
    yield Comparison(workers, [Row(f'BEST-RQ training step, {size} ({what}), {dtype}', bar)], _CheckSteps)


def _StepTiny(setting):
  yield from _Steps(setting, 'tiny', QUICK if setting.quick else TINY, '>= 1.5')


_BASE_TURNS = 4  # Seconds each.


def _StepBase(setting):
  sizes = QUICK if setting.quick else BASE
  yield from _Steps(setting, 'base', sizes, '>= 1.2', _BASE_TURNS)
  note = 'where the processor has no bfloat16 products, they are computed in float32 and rounded'
  share = "share of the step's time that its matrix products take by themselves, base, float32"
  rows = [
    Row('bfloat16 step beside our float32 step, base', '>= 2', note=note, values=_Bfloat16BesideFloat32),
    Row(share, '>= 0.7', values=_ProductsShare),
  ]
  yield Comparison([Worker('sgemm', '.ours.products', sizes)], rows)


def _Bfloat16BesideFloat32(workers, rows):
  del workers
  return {'ours': rows[1]['ours'], 'peer': rows[0]['ours']}


def _ProductsShare(workers, rows):
  sgemm, step = workers['sgemm'], rows[0]['ours']
  if sgemm.failed:
    return {'ours': step, 'note': sgemm.failed}
  gflop, seconds = sgemm.facts['gflop'], sgemm.seconds
  rate = f'{gflop:.0f} GFLOP at {gflop / seconds:.0f} GFLOP/s'
  return {'ours': step, 'peer': seconds, 'note': f'{rate}, those of blocks and head, forward and backward, in NumPy'}


# The front end.


def _LogMel(setting):
  sizes = Sizes('batch=2 seconds=1' if setting.quick else 'batch=8 seconds=8')
  workers = [
    Worker('ours', '.ours.log_mel', {**sizes, 'lingvo': False}),
    Worker("Lingvo's layer", '.ours.log_mel', {**sizes, 'lingvo': True}, is_peer=True),
    setting.peers.Worker('SpeechBrain', '.peers.log_mel', sizes, 'speechbrain'),
  ]
  what = f'log-mel frames, {sizes["batch"]} x {sizes["seconds"]} s'
  rows = [
    Row(f"{what}, beside Lingvo's layer", '>= 1.5', peers=("Lingvo's layer",)),
    Row(f'{what}, beside SpeechBrain', peers=('SpeechBrain',)),
  ]
  yield Comparison(workers, rows, lambda workers: CheckAgree(_Without(workers, 'SpeechBrain'), 'mean', 1e-4))


def _Without(workers, name):
  return {key: worker for key, worker in workers.items() if key != name}


# The quantizer.


def _Quantizer(setting):
  for codebooks in (1, 16):
    sizes = Sizes('batch=2 seconds=1 codes=64' if setting.quick else 'batch=8 seconds=2 codes=8192')
    sizes['codebooks'] = codebooks
    what = f'G {codebooks}, V {sizes["codes"]}, {sizes["batch"]} x {sizes["seconds"]} s'
    speechbrain, numpy = ({**sizes, 'package': package} for package in ('speechbrain', 'numpy'))
    workers = [
      *Ours('.ours.quantizer', sizes),
      setting.peers.Worker('SpeechBrain', '.peers.quantizer', speechbrain, 'speechbrain'),
      Worker('NumPy', '.peers.quantizer', numpy, is_peer=True),
    ]
    rows = [
      Row(f'quantizer, {what}, beside SpeechBrain', '>= 5', peers=('SpeechBrain',)),
      Row(f'its peak memory, {what}', '<= 0.1', peers=('SpeechBrain',), **PEAK),
      Row(f'quantizer, {what}, beside argmax in NumPy', peers=('NumPy',)),
    ]
    yield Comparison(workers, rows, lambda workers: CheckInside(workers, 'codes', 2, float('inf')))


# The transducer loss: loss and gradient by the logits. W1 has graphemes, W2 and W3 word pieces.

_TRANSDUCER = {
  'W1': ('>= 1.5', Sizes('batch=4 frames=150 labels=40 vocab=28')),
  'W2': ('>= 4', Sizes('batch=4 frames=200 labels=50 vocab=512')),
}
_TRANSDUCER_LARGE = 'W3', Sizes('batch=8 frames=200 labels=50 vocab=4096 calls=1')
_TRANSDUCER_QUICK = 'W0', Sizes('batch=2 frames=20 labels=5 vocab=11')
_JOINT_DIM = 128  # Of params/gin/transducer/small.gin.
# Name of a peer -> (function of peers/transducer.py, packages).
_TRANSDUCER_PEERS = {
  'fast_rnnt': ('fast_rnnt', 'fast-rnnt', 'torch'),
  'optimized_transducer': ('optimized_transducer', 'optimized-transducer', 'torch'),
  'torchaudio': ('torchaudio', 'torchaudio', 'torch'),
  'a torch loop': ('torch', 'torch'),
  'rnnt': ('rnnt', 'rnnt'),
}


def _TransducerWorkers(setting, sizes):
  """Ours and the peers; a vocabulary of 4096 is too much for rnnt, which keeps one-hot labels [B, T, U, V] too."""
  workers = Ours('.ours.transducer', sizes)
  for name, (package, *needs) in _TRANSDUCER_PEERS.items():
    if name != 'rnnt' or sizes['vocab'] < 4096:
      workers.append(setting.peers.Worker(name, '.peers.transducer', {**sizes, 'package': package}, *needs))
  return workers


def _TransducerShape(name, sizes):
  return f'{name}: B {sizes["batch"]}, T {sizes["frames"]}, U {sizes["labels"]}, V {sizes["vocab"]}'


def _Transducer(setting):
  quick = {_TRANSDUCER_QUICK[0]: ('', _TRANSDUCER_QUICK[1])}
  note = 'largest absolute difference from the gradient in float64; the ratio is the error itself'
  for name, (bar, sizes) in (quick if setting.quick else _TRANSDUCER).items():
    shape = _TransducerShape(name, sizes)
    loss, gradient = transducer_truth.LossAndGradient(*inputs.Transducer(sizes))
    error = {'unit': '', 'ratio': 'ours', 'values': functools.partial(_GradientError, gradient), 'note': note}
    rows = [
      Row(f'transducer loss + gradient, {shape}', bar),
      Row(f'error of its gradient, {shape}', '<= 1e-05', **error),
    ]
    check = functools.partial(CheckAgree, fact='loss', tolerance=1e-3, expected=loss)
    with tempfile.TemporaryDirectory() as folder:
      yield Comparison(_TransducerWorkers(setting, {**sizes, 'gradient_folder': folder}), rows, check)


def _GradientError(truth, workers, rows):
  """The largest error of our gradients."""
  del rows
  files = [worker.facts['gradient'] for worker in workers.values() if 'gradient' in worker.facts]
  return {'ours': max((float(np.abs(np.load(file) - truth).max()) for file in files), default=None)}


def _TransducerLarge(setting):
  name, sizes = _TRANSDUCER_QUICK if setting.quick else _TRANSDUCER_LARGE
  shape, check = _TransducerShape(name, sizes), functools.partial(CheckAgree, fact='loss', tolerance=1e-3)
  memory = f'its peak memory beside the logits, {shape}'
  peak = {'note': 'the gradient by the logits, which every loss returns, is in it', **PEAK}
  rows = [
    Row(f'transducer loss + gradient, {shape}'),
    Row(f'{memory}, beside a loss that keeps the softmax', '<= 0.5', peers=('a torch loop',), **peak),
    Row(f'{memory}, beside the least', **peak),
  ]
  yield Comparison(_TransducerWorkers(setting, sizes), rows, check)
  sizes = {**sizes, 'depth': _JOINT_DIM}
  torch = {**sizes, 'package': 'torch'}
  workers = [
    *Ours('.ours.transducer', sizes),
    setting.peers.Worker('a torch joint and loop', '.peers.transducer', torch, 'torch'),
  ]
  joint = Row(f'peak memory of joint, loss and gradient, {shape}, J {_JOINT_DIM}', '<= 0.5', **PEAK)
  yield Comparison(workers, [joint], check)


# Greedy decoding. Sizes of params/gin/transducer/*.gin, with their tokenizers and the widths of their encoders.

_DECODERS = {
  'small': Sizes('width=192 embedded=64 predicted=128 joint=128 vocab=30 tokenizer=graphemes_en'),
  'base': Sizes('width=256 embedded=320 predicted=640 joint=640 vocab=1024 tokenizer=wordpieces_en_1024'),
}
_DECODERS_QUICK = {'small': {**_DECODERS['small'], 'predicted': 16, 'joint': 16}}
_FRAME_SECONDS = 0.04
_DECODING_NOTE = (
  "seconds for a second of audio, the encoder's not counted; random weights, the same on both sides, that give a label "
  'in about three frames, at most one at a frame; ours looks at the frame again after a label, SpeechBrain, so '
  'limited, does not'
)


def _Rtf(audio):
  return lambda worker: worker.seconds / audio


def _CheckLabels(workers, frames):
  CheckInside(workers, 'labels', frames / 6, frames / 2)
  CheckAgree(workers, 'labels', 0.02)


def _Decoding(setting):
  for name, widths in (_DECODERS_QUICK if setting.quick else _DECODERS).items():
    tokenizer = f'params/tokenizers/{widths["tokenizer"]}.model'
    what = f'P {widths["predicted"]}, J {widths["joint"]}, V {widths["vocab"]}'
    for batch in (2,) if setting.quick else (16, 1):
      sizes = {**widths, 'tokenizer': tokenizer, 'batch': batch, 'frames': 25 if setting.quick else 250}
      seconds = sizes['frames'] * _FRAME_SECONDS
      title = f'greedy decoding, {name} ({what}), B {batch} x {seconds:g} s'
      workers = Ours('.ours.decoding', sizes)
      workers.append(setting.peers.Worker('SpeechBrain', '.peers.decoding', sizes, 'speechbrain'))
      check = functools.partial(_CheckLabels, frames=batch * sizes['frames'])
      yield Comparison(workers, [Row(title, '>= 1', 'RTF', _Rtf(batch * seconds), note=_DECODING_NOTE)], check)


# Stages of training beside one another.


def _Stages(setting):
  names = ('JustHydra', 'Supervised', 'BestRqPretrain', 'AdapterFinetune', 'FullFinetune')
  hydra = 'JustHydra step beside its two branches as steps of their own'
  finetuning = {'ours': ('AdapterFinetune',), 'peers': ('FullFinetune',)}
  rows = [
    Row(hydra, '<= 0.8', ratio='ours / peer', values=_HydraBesideBranches),
    Row('AdapterFinetune step beside FullFinetune', '<= 0.67', ratio='ours / peer', **finetuning),
    Row('its peak memory, inputs and weights not counted', '<= 0.5', **finetuning, **PEAK),
  ]
  workers = [Experiment(setting.quick, name) for name in names]
  yield Comparison(workers, rows, lambda workers: CheckInside(workers, 'loss', 1e-9, 1e6))


def _HydraBesideBranches(workers, rows):
  del rows
  hydra, *branches = (workers[name] for name in ('JustHydra', 'Supervised', 'BestRqPretrain'))
  alone = None if any(worker.failed for worker in branches) else sum(worker.seconds for worker in branches)
  return {'ours': None if hydra.failed else hydra.seconds, 'peer': alone}


GROUPS = {
  'step_tiny': _StepTiny,
  'step_base': _StepBase,
  'log_mel': _LogMel,
  'quantizer': _Quantizer,
  'transducer': _Transducer,
  'transducer_large': _TransducerLarge,
  'decoding': _Decoding,
  'stages': _Stages,
}
