"""Rows of the data and of commands: the input pipeline, the data preparation, starting the trainer.

Speeds of data are seconds of audio in a second of the processor.
"""

import os
import tempfile

from fm_lingvo.data import dataset

from . import corpus
from . import timing
from .comparison import CheckAgree
from .comparison import Comparison
from .comparison import Row
from .ours import products
from .timing import Worker
from .workloads import BASE
from .workloads import Command
from .workloads import Sizes

# Assumed: at most 312 TFLOP/s in bfloat16 products, by the data sheet of an A100, of which a step reaches 40 %.
_A100_TFLOPS, _A100_SHARE = 312, 0.4


def AudioForGpu(sizes: dict) -> tuple[float, float]:
  """(GFLOP of a training step for a second of audio, seconds of audio that an A100 trains on in a second)."""
  gflop = products.GigaFlop(sizes) / (sizes['batch'] * sizes['seconds'])
  return gflop, 1000 * _A100_TFLOPS * _A100_SHARE / gflop


def _Pipeline(setting):
  gflop, needed = AudioForGpu(BASE)
  speed_note = 'no peer; the bar is on the seconds of audio in a second of the processor, of all threads'
  cores_note = (
    f'by arithmetic: {gflop:.1f} GFLOP for a second of audio (products of blocks and head, forward and backward), '
    f'assumed {_A100_TFLOPS} TFLOP/s in bfloat16, {_A100_SHARE:.0%} of it in use: {needed:,.0f} times real time'
  )

  def _Speed(worker):
    return worker.Median('audio_seconds') / worker.Median('cpu_seconds')

  def _Cores(workers, rows):
    del workers
    return {'ours': rows[0]['ours'] and needed / rows[0]['ours']}

  title = 'input pipeline, shards to log-mel batches, on a core'
  rows = [
    Row(title, '>= 400', 'x real time', _Speed, 'ours', note=speed_note),
    Row('cores of it that feed a step of size base on an A100', unit='', values=_Cores, note=cores_note),
  ]
  sizes = Sizes('utterances=24 batches=4' if setting.quick else 'utterances=256 batches=64')
  with tempfile.TemporaryDirectory() as folder:
    yield Comparison([Worker('input pipeline', '.ours.pipeline', {**sizes, 'folder': folder})], rows)


def _Prepare(setting):
  sizes = Sizes('recordings=2 times=2 seconds=2' if setting.quick else 'recordings=10 times=30 seconds=12')
  note = (
    'start-up included; seconds of audio in a second of the processor, of all threads and processes, and the bar is '
    'on ours; FFmpeg decodes to WAV of 16 kHz, checks nothing and writes no data set'
  )
  with tempfile.TemporaryDirectory() as folder:
    files = corpus.Write(folder, **sizes)
    audio = len(files) * sizes['seconds']
    ffmpeg = {'files': files, 'folder': folder, 'calls': 1}
    peer = setting.peers.Worker('an FFmpeg for each file', '.peers.ffmpeg', ffmpeg, 'imageio-ffmpeg')
    title = f'prepare_data, {audio / 60:.3g} min of FLAC and WAV in files of {sizes["seconds"]} s, on a core'
    yield _Preparation(folder, audio, title, '>= 300', note, [peer])


def _PrepareSegments(setting):
  """The same of long files, each of which is decoded once for all of its segments."""
  sizes = Sizes('recordings=1 minutes=1 seconds=10' if setting.quick else 'recordings=4 minutes=60 seconds=12')
  note = 'no peer; start-up included; seconds of audio in a second of the processor, of all threads and processes'
  with tempfile.TemporaryDirectory() as folder:
    audio = corpus.WriteSegments(folder, **sizes) * sizes['seconds']
    title = f'prepare_data, {audio / 60:.3g} min in segments of {sizes["seconds"]} s of long FLAC, on a core'
    yield _Preparation(folder, audio, title, '>= 600', note, max_turns=2)


def _Preparation(folder, audio, title, bar, note, peers=(), **options):
  """The Comparison of preparing folder/manifest.jsonl, of `audio` seconds; options: of the Command."""
  output = os.path.join(folder, 'prepared')
  flags = ['--importer=manifest', f'--input={folder}/manifest.jsonl', f'--output={output}', '--overwrite']
  ours = Command('prepare_data', ['-m', 'tools.prepare_data', *flags], {'calls': 1}, **options)

  def _Speed(worker):
    return audio / worker.Median('cpu_seconds')

  def _Memory(workers, rows):
    del workers, rows
    return {'ours': None if ours.failed else ours.peak_gb}

  def _Check(workers):
    if not ours.failed:
      ours.facts['audio_seconds'] = 3600 * sum(dataset.ReadDataset(output).hours.values())
    CheckAgree(workers, 'audio_seconds', 0.01, audio)

  rows = [
    Row(title, bar, 'x real time', _Speed, 'ours', note=note),
    Row(
      f'its peak memory, {title.removeprefix("prepare_data, ")}',
      unit='GB',
      ratio='ours',
      values=_Memory,
      note='no peer',
    ),
  ]
  return Comparison([ours, *peers], rows, _Check)


def _Start(setting):
  del setting
  modules = "[m for m in sys.modules if m.split('.')[0] == 'tensorflow']"
  workers = [
    Command('help', ['-m', 'fm_lingvo.trainer', '--help']),
    Command('import', ['-c', f'import sys; import fm_lingvo.trainer; print({modules})']),
  ]

  def _Check(workers):
    if not workers['import'].failed and workers['import'].facts['output'].strip() != '[]':
      workers['import'].failed = 'it imports TensorFlow'

  seconds = {'bar': '<= 2', 'ratio': 'ours', 'note': 'no peer; the bar is on the seconds'}
  rows = [
    Row('trainer --help', ours=('help',), **seconds),
    Row('import of the trainer, without TensorFlow', ours=('import',), **seconds),
  ]
  yield Comparison(workers, rows, _Check)


_STOCK = ('lingvo.trainer', '--model=tools.bench.peers.stock_lingvo.Demo', '--run_locally=cpu', '--mode=sync')
_STOCK_NOTE = (
  "Lingvo's model, tools/bench/peers/stock_lingvo.py, is a Conformer of this size of its own layers, on random "
  'features: it reads no data, and has no front end and no quantizer'
)
# Ends with an error unless the command leaves the checkpoint of step 1 in a new folder: Lingvo exits with 0 anyway.
_FIRST_STEP = """
import glob, shutil, subprocess, sys
logdir, *argv = sys.argv[1:]
shutil.rmtree(logdir, ignore_errors=True)
code = subprocess.call([sys.executable, '-m', *argv, f'--logdir={logdir}'])
sys.exit(code or (not glob.glob(f'{logdir}/train/ckpt-*1.index') and 'Error: no checkpoint of step 1'))
"""


def _FirstStep(setting):
  data = os.path.isdir(os.path.join(timing.ROOT, 'data', 'demo'))
  some = {'max_turns': 1 if setting.quick else 3}
  # One turn of Lingvo with its controller is enough: most of it is a sleep. Its modules are in the page cache by then.
  one = {'max_turns': 1, 'failed': 'it takes a minute' if setting.quick else ''}
  flags = ['--gin.BestRqPretrain.max_steps=1', '--gin_bindings=task.train.eval_datasets = []']
  alone = [*_STOCK, '--job=trainer_client', '--checkpoint_in_trainer_cpu']
  with tempfile.TemporaryDirectory() as folder:

    def _Command(name, argv, warm_up=1, **options):
      logdir = os.path.join(folder, name.replace(' ', '_'))
      return Command(name, ['-c', _FIRST_STEP, logdir, *argv], {'calls': 1, 'warm_up': warm_up}, **options)

    workers = [
      _Command('ours', ['fm_lingvo.trainer', '--model=asr.BestRqPretrain', *flags], **some),
      _Command('lingvo.trainer, no controller', alone, is_peer=True, **some),
      _Command('lingvo.trainer', _STOCK, 0, is_peer=True, **one),
    ]
    if not data:
      workers[0].failed = 'no data/demo, which make data prepares'
    name = 'command to the end of its first step, checkpoint included, demo size, beside lingvo.trainer'
    stock_note = (
      'the ratio is ours / Lingvo; its trainer as its documentation starts it, which sleeps 30 s before the first '
      f"step, no processor's time; {_STOCK_NOTE}"
    )
    alone_note = f'the ratio is ours / Lingvo; --job=trainer_client --checkpoint_in_trainer_cpu; {_STOCK_NOTE}'
    share, peers = {'ratio': 'ours / peer'}, [(worker.name,) for worker in workers[1:]]
    rows = [
      Row(name, '<= 0.333', peers=peers[1], note=stock_note, **share),
      Row(f'{name} without its controller', peers=peers[0], note=alone_note, **share),
    ]
    yield Comparison(workers, rows)


GROUPS = {
  'pipeline': _Pipeline,
  'prepare': _Prepare,
  'prepare_segments': _PrepareSegments,
  'start': _Start,
  'first_step': _FirstStep,
}
