"""The benchmark's rows: for each group its comparisons, that is what is timed, and the rows that they give.

A new row is one entry: a Row in a comparison, or a Comparison in a group's function, which yields them for a Setting. GROUPS lists
the groups in the order of the table.
"""

import functools
import os
import tempfile
from typing import Callable, Iterator

import numpy as np

from fm_lingvo import dataset

from . import corpus
from . import curves
from . import inputs
from . import timing
from . import transducer_truth
from . import workloads
from .comparison import CheckAgree
from .comparison import CheckInside
from .comparison import Comparison
from .comparison import Row
from .comparison import Setting
from .ours import products
from .timing import Worker

_PEAK = {'unit': 'GB', 'figure': lambda worker: worker.peak_gb, 'ratio': 'ours / peer'}


def _Ours(module: str, sizes: dict) -> list[Worker]:
  """Ours, compiled by XLA and in graph mode."""
  return [Worker(f'ours, {name}', module, {**sizes, 'xla': name == 'XLA'}) for name in ('XLA', 'graph')]


# The BEST-RQ training step: features in, update out.

def _Steps(setting, size, sizes, bar):
  """Comparisons in float32 and bfloat16."""
  what = f'{sizes["layers"]} x {sizes["width"]}, V {sizes["codes"]}, B {sizes["batch"]} x {sizes["seconds"]} s'

  def _Check(workers):
    CheckAgree(workers, 'weights', 0.05)  # Else it is another model.
    CheckInside(workers, 'first', 1e-9, 100.0)

  for dtype in ('float32', 'bfloat16'):
    sizes = {**sizes, 'dtype': dtype}
    peers = [setting.peers.Worker(name, '.peers.step', {**sizes, 'package': package}, package)
             for name, package in (('SpeechBrain', 'speechbrain'), ('plain PyTorch', 'torch'))]
    yield Comparison([Worker('ours, graph', '.ours.step', sizes), *peers],
                     [Row(f'BEST-RQ training step, {size} ({what}), {dtype}', bar)], _Check)


def _StepTiny(setting):
  yield from _Steps(setting, 'tiny', workloads.QUICK if setting.quick else workloads.TINY, '>= 1.5')


def _StepBase(setting):
  sizes = workloads.QUICK if setting.quick else workloads.BASE
  yield from _Steps(setting, 'base', sizes, '>= 1.2')

  def _ProductsShare(workers, rows):
    sgemm = workers['sgemm']
    if sgemm.failed:
      return {'ours': rows[0]['ours'], 'note': sgemm.failed}
    gflop = sgemm.facts['gflop']
    return {'ours': rows[0]['ours'], 'peer': sgemm.seconds, 'note': (
        f'{gflop:.0f} GFLOP at {gflop / sgemm.seconds:.0f} GFLOP/s: those of blocks and head, forward and backward, in NumPy')}

  yield Comparison([Worker('sgemm', '.ours.products', sizes)], [
      Row('bfloat16 step beside our float32 step, base', '>= 2',
          values=lambda workers, rows: {'ours': rows[1]['ours'], 'peer': rows[0]['ours']},
          note='where the processor has no bfloat16 products, they are computed in float32 and rounded'),
      Row("share of the step's time that its matrix products take by themselves, base, float32", '>= 0.7', values=_ProductsShare)])


def _Quantizer(setting):
  for codebooks in (1, 16):
    sizes = {**({'batch': 2, 'seconds': 1, 'codes': 64} if setting.quick else {'batch': 8, 'seconds': 2, 'codes': 8192}),
             'codebooks': codebooks}
    what = f'G {codebooks}, V {sizes["codes"]}, {sizes["batch"]} x {sizes["seconds"]} s'
    yield Comparison(
        [*_Ours('.ours.quantizer', sizes),
         setting.peers.Worker('SpeechBrain', '.peers.quantizer', {**sizes, 'package': 'speechbrain'}, 'speechbrain'),
         Worker('NumPy', '.peers.quantizer', {**sizes, 'package': 'numpy'}, is_peer=True)],
        [Row(f'quantizer, {what}, beside SpeechBrain', '>= 5', peers=('SpeechBrain',)),
         Row(f'its peak memory, {what}', '<= 0.1', peers=('SpeechBrain',), **_PEAK),
         Row(f'quantizer, {what}, beside argmax in NumPy', peers=('NumPy',))],
        lambda workers: CheckInside(workers, 'codes', 2, float('inf')))


# The transducer loss: loss and gradient by the logits. W1 has graphemes, W2 and W3 word pieces.

_TRANSDUCER = {
    'W1': ({'batch': 4, 'frames': 150, 'labels': 40, 'vocab': 28}, '>= 1.5'),
    'W2': ({'batch': 4, 'frames': 200, 'labels': 50, 'vocab': 512}, '>= 4'),
}
_TRANSDUCER_LARGE = 'W3', {'batch': 8, 'frames': 200, 'labels': 50, 'vocab': 4096, 'calls': 1}
_TRANSDUCER_QUICK = 'W0', {'batch': 2, 'frames': 20, 'labels': 5, 'vocab': 11}
_JOINT_DIM = 128  # Of params/gin/transducer/small.gin.


def _TransducerPeers(setting, sizes):
  packages = [('fast_rnnt', 'fast-rnnt', 'torch'), ('optimized_transducer', 'optimized-transducer', 'torch'),
              ('torchaudio', 'torchaudio', 'torch'), ('torch', 'torch')]
  if sizes['vocab'] < 4096:  # rnnt keeps one-hot labels [B, T, U, V] too.
    packages.append(('rnnt', 'rnnt'))
  return [setting.peers.Worker('a torch loop' if package == 'torch' else package, '.peers.transducer',
                               {**sizes, 'package': package}, *needs) for package, *needs in packages]


def _TransducerShape(name, sizes):
  return f'{name}: B {sizes["batch"]}, T {sizes["frames"]}, U {sizes["labels"]}, V {sizes["vocab"]}'


def _Transducer(setting):
  for name, (sizes, bar) in ({_TRANSDUCER_QUICK[0]: (_TRANSDUCER_QUICK[1], '')} if setting.quick else _TRANSDUCER).items():
    shape = _TransducerShape(name, sizes)
    loss, gradient = transducer_truth.LossAndGradient(*inputs.Transducer(sizes))
    with tempfile.TemporaryDirectory() as folder:
      yield Comparison(
          _Ours('.ours.transducer', {**sizes, 'gradient_folder': folder}) + _TransducerPeers(setting, sizes),
          [Row(f'transducer loss + gradient, {shape}', bar),
           Row(f'error of its gradient, {shape}', '<= 1e-05', unit='', ratio='ours',
               values=functools.partial(_GradientError, gradient),
               note='largest absolute difference from the gradient in float64; the ratio is the error itself')],
          functools.partial(CheckAgree, fact='loss', tolerance=1e-3, expected=loss))


def _GradientError(truth, workers, rows):
  """The largest error of our gradients."""
  del rows
  files = [worker.facts['gradient'] for worker in workers.values() if 'gradient' in worker.facts]
  return {'ours': max((float(np.abs(np.load(file) - truth).max()) for file in files), default=None)}


def _TransducerLarge(setting):
  name, sizes = _TRANSDUCER_QUICK if setting.quick else _TRANSDUCER_LARGE
  shape, check = _TransducerShape(name, sizes), functools.partial(CheckAgree, fact='loss', tolerance=1e-3)
  memory = {'note': 'the gradient by the logits, which every loss returns, is in it', **_PEAK}
  yield Comparison(
      _Ours('.ours.transducer', sizes) + _TransducerPeers(setting, sizes),
      [Row(f'transducer loss + gradient, {shape}'),
       Row(f'its peak memory beside the logits, {shape}, beside a loss that keeps the softmax', '<= 0.5', peers=('a torch loop',),
           **memory),
       Row(f'its peak memory beside the logits, {shape}, beside the least', **memory)], check)
  sizes = {**sizes, 'depth': _JOINT_DIM}
  yield Comparison(
      [*_Ours('.ours.transducer', sizes),
       setting.peers.Worker('a torch joint and loop', '.peers.transducer', {**sizes, 'package': 'torch'}, 'torch')],
      [Row(f'peak memory of joint, loss and gradient, {shape}, J {_JOINT_DIM}', '<= 0.5', **_PEAK)], check)


# Greedy decoding. Sizes of params/gin/transducer/small.gin and base.gin, their tokenizers and the width of their encoders.

_DECODERS = {
    'small': {'width': 192, 'embedded': 64, 'predicted': 128, 'joint': 128, 'vocab': 30, 'tokenizer': 'graphemes_en'},
    'base': {'width': 256, 'embedded': 320, 'predicted': 640, 'joint': 640, 'vocab': 1024, 'tokenizer': 'wordpieces_en_1024'},
}
_DECODERS_QUICK = {'small': {**_DECODERS['small'], 'predicted': 16, 'joint': 16}}
_FRAME_SECONDS = 0.04
_DECODING_NOTE = (
    "seconds for a second of audio, the encoder's not counted; random weights, the same on both sides, that give a label in about "
    'three frames, at most one at a frame; ours looks at the frame again after a label, SpeechBrain, so limited, does not')


def _Decoding(setting):
  for name, widths in (_DECODERS_QUICK if setting.quick else _DECODERS).items():
    for batch in (2,) if setting.quick else (16, 1):
      sizes = {**widths, 'batch': batch, 'frames': 25 if setting.quick else 250,
               'tokenizer': f'params/tokenizers/{widths["tokenizer"]}.model'}
      frames, seconds = batch * sizes['frames'], sizes['frames'] * _FRAME_SECONDS
      what = f'P {sizes["predicted"]}, J {sizes["joint"]}, V {sizes["vocab"]}'

      def _Check(workers, frames=frames):
        CheckInside(workers, 'labels', frames / 6, frames / 2)
        CheckAgree(workers, 'labels', 0.02)

      yield Comparison(
          [*_Ours('.ours.decoding', sizes), setting.peers.Worker('SpeechBrain', '.peers.decoding', sizes, 'speechbrain')],
          [Row(f'greedy decoding, {name} ({what}), B {batch} x {seconds:g} s', '>= 1', unit='RTF', note=_DECODING_NOTE,
               figure=lambda worker, audio=batch * seconds: worker.seconds / audio)], _Check)


# Stages of training beside one another.

def _Stages(setting):
  names = ('JustHydra', 'Supervised', 'BestRqPretrain', 'AdapterFinetune', 'FullFinetune')
  finetuning = {'ours': ('AdapterFinetune',), 'peers': ('FullFinetune',)}

  def _Branches(workers, rows):
    del rows
    hydra, *parts = (workers[name] for name in names[:3])
    return {'ours': None if hydra.failed else hydra.seconds,
            'peer': None if any(part.failed for part in parts) else sum(part.seconds for part in parts)}

  yield Comparison([workloads.Experiment(setting.quick, name) for name in names], [
      Row('JustHydra step beside its two branches as steps of their own', '<= 0.9', ratio='ours / peer', values=_Branches),
      Row('AdapterFinetune step beside FullFinetune', '<= 0.65', ratio='ours / peer', **finetuning),
      Row('its peak memory, inputs and weights not counted', '<= 0.5', **finetuning, **_PEAK),
  ], lambda workers: CheckInside(workers, 'loss', 1e-9, 1e6))


# Data: the input pipeline, and the preparation. Speeds are seconds of audio in a second of the processor.

# Assumed: an A100 multiplies bfloat16 matrices at 312 TFLOP/s at most, by its data sheet, and a step keeps 40 % of that busy.
_A100_TFLOPS, _A100_SHARE = 312, 0.4


def AudioForGpu(sizes: dict) -> tuple[float, float]:
  """(GFLOP of a training step for a second of audio, seconds of audio that an A100 trains on in a second)."""
  gflop = products.GigaFlop(sizes) / (sizes['batch'] * sizes['seconds'])
  return gflop, 1000 * _A100_TFLOPS * _A100_SHARE / gflop


def _Pipeline(setting):
  gflop, speed = AudioForGpu(workloads.BASE)
  sizes = {'utterances': 24, 'batches': 4} if setting.quick else {'utterances': 256, 'batches': 64}
  with tempfile.TemporaryDirectory() as folder:
    yield Comparison([Worker('input pipeline', '.ours.pipeline', {**sizes, 'folder': folder})], [
        Row('input pipeline, shards to log-mel batches, on a core', '>= 400', unit='x real time', ratio='ours',
            figure=lambda worker: worker.Median('audio_seconds') / worker.Median('cpu_seconds'),
            note='no peer; the bar is on the seconds of audio in a second of the processor, of all threads'),
        Row('cores of it that feed a step of size base on an A100', unit='',
            values=lambda workers, rows: {'ours': rows[0]['ours'] and speed / rows[0]['ours']}, note=(
                f'by arithmetic: {gflop:.1f} GFLOP for a second of audio (products of blocks and head, forward and backward), '
                f'assumed {_A100_TFLOPS} TFLOP/s in bfloat16, {_A100_SHARE:.0%} of it in use: {speed:,.0f} times real time'))])


def _Prepare(setting):
  sizes = {'recordings': 2, 'times': 2, 'seconds': 2} if setting.quick else {'recordings': 10, 'times': 30, 'seconds': 12}
  with tempfile.TemporaryDirectory() as folder:
    files = corpus.Write(folder, **sizes)
    output, audio = os.path.join(folder, 'prepared'), len(files) * sizes['seconds']

    def _Check(workers):
      ours = workers['prepare_data']
      if not ours.failed:
        ours.facts['audio_seconds'] = 3600 * sum(dataset.ReadDataset(output).hours.values())
      CheckAgree(workers, 'audio_seconds', 0.01, audio)

    yield Comparison(
        [Worker('prepare_data', '.ours.command', {'calls': 1, 'argv': [
            '-m', 'tools.prepare_data', '--importer=manifest', f'--input={folder}/manifest.jsonl', f'--output={output}',
            '--overwrite']}),
         setting.peers.Worker('an FFmpeg for each file', '.peers.ffmpeg', {'files': files, 'folder': folder, 'calls': 1},
                              'imageio-ffmpeg')],
        [Row(f'prepare_data, {audio / 60:.3g} min of FLAC and WAV in files of {sizes["seconds"]} s, on a core', '>= 300',
             unit='x real time', figure=lambda worker: audio / worker.Median('cpu_seconds'), ratio='ours', note=(
                 'start-up included; seconds of audio in a second of the processor, of all threads and processes, and the bar is '
                 'on ours; FFmpeg decodes to WAV of 16 kHz, checks nothing and writes no data set'))], _Check)


# Commands: what a user waits for.

_STOCK = ('lingvo.trainer', '--model=tools.bench.peers.stock_lingvo.Demo', '--run_locally=cpu', '--mode=sync')
_STOCK_NOTE = ("Lingvo's model, tools/bench/peers/stock_lingvo.py, is a Conformer of this size of its own layers, on random "
               'features: it reads no data, and has no front end and no quantizer')


def _Start(setting):
  del setting
  tensorflow = "import sys; import fm_lingvo.trainer; print([m for m in sys.modules if m.split('.')[0] == 'tensorflow'])"
  seconds = {'bar': '<= 2', 'ratio': 'ours', 'note': 'no peer; the bar is on the seconds'}

  def _Check(workers):
    if not workers['import'].failed and workers['import'].facts['output'].strip() != '[]':
      workers['import'].failed = 'it imports TensorFlow'

  yield Comparison(
      [Worker('help', '.ours.command', {'argv': ['-m', 'fm_lingvo.trainer', '--help']}),
       Worker('import', '.ours.command', {'argv': ['-c', tensorflow]})],
      [Row('trainer --help', ours=('help',), **seconds),
       Row('import of the trainer, without TensorFlow', ours=('import',), **seconds)], _Check)


def _FirstStep(setting):
  name, turns = 'command to the end of its first step, checkpoint included, demo size', 1 if setting.quick else 3
  with tempfile.TemporaryDirectory() as folder:

    def _Command(name, argv, **more):
      """A command that must leave the checkpoint of step 1 in a new folder: Lingvo exits with 0 anyway."""
      logdir = os.path.join(folder, name.replace(' ', '_'))
      script = (f'import glob, shutil, subprocess, sys; shutil.rmtree({logdir!r}, ignore_errors=True); '
                f'code = subprocess.call([sys.executable, "-m", *{argv!r}, "--logdir={logdir}"]); '
                f'sys.exit(code or (not glob.glob("{logdir}/train/ckpt-*1.index") and "Error: no checkpoint of step 1"))')
      return Worker(name, '.ours.command', {'argv': ['-c', script], 'calls': 1, 'warm_up': more.pop('warm_up', 1)}, **more)

    ours = _Command('ours', ['fm_lingvo.trainer', '--model=asr.BestRqPretrain', '--gin.BestRqPretrain.max_steps=1',
                             '--gin_bindings=task.train.eval_datasets = []'], max_turns=turns, failed=(
                                 '' if os.path.isdir(os.path.join(timing.ROOT, 'data', 'demo')) else
                                 'no data/demo, which make data prepares'))
    alone = _Command('lingvo.trainer, no controller', [*_STOCK, '--job=trainer_client', '--checkpoint_in_trainer_cpu'],
                     is_peer=True, max_turns=turns)
    # One turn is enough: most of it is a sleep. Lingvo's modules are in the page cache from the worker before.
    stock = _Command('lingvo.trainer', [*_STOCK], is_peer=True, max_turns=1, warm_up=0,
                     failed='it takes a minute' if setting.quick else '')
    yield Comparison([ours, alone, stock], [
        Row(f'{name}, beside lingvo.trainer', '<= 0.333', ratio='ours / peer', peers=(stock.name,), note=(
            'the ratio is ours / Lingvo; its trainer as its documentation starts it, which sleeps 30 s before the first step, no '
            f"processor's time; {_STOCK_NOTE}")),
        Row(f'{name}, beside lingvo.trainer without its controller', ratio='ours / peer', peers=(alone.name,),
            note=f'the ratio is ours / Lingvo; --job=trainer_client --checkpoint_in_trainer_cpu; {_STOCK_NOTE}')])


GROUPS: dict[str, Callable[[Setting], Iterator[Comparison]]] = {
    'step_tiny': _StepTiny, 'step_base': _StepBase, 'quantizer': _Quantizer, 'transducer': _Transducer,
    'transducer_large': _TransducerLarge, 'decoding': _Decoding, 'stages': _Stages, 'curves': curves.Curves, 'pipeline': _Pipeline,
    'prepare': _Prepare, 'start': _Start, 'first_step': _FirstStep,
}
