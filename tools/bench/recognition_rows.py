"""Rows of recognition: a loaded model, a beam with a language model, long recordings, starting fm-transcribe.

Weights are random, of size small (3.9 million). RTF: seconds of the processor, of all threads, for a second of audio.
"""

import os
import tempfile

import soundfile

from . import inputs
from .comparison import CheckInside
from .comparison import Comparison
from .comparison import Row
from .timing import Worker
from .workloads import Command
from .workloads import Sizes

_BINDINGS = ["Supervised.size = 'small'", 'Supervised.max_seconds = 20.0']
_QUICK = ["Supervised.size = 'tiny'", 'Supervised.max_seconds = 4.0']
_BLANK_BIAS = 6.0
_LABELS = 2.0, 25.0  # A second of audio: else the search has too little to do, or too much.
_GREEDY = 'greedy'
_NOTE = 'no peer; random weights; seconds of the processor, of all threads, for a second of audio'


def _Rtf(worker):
  return worker.Median('cpu_seconds') / worker.facts['audio_seconds']


def _CheckLabels(workers):
  audio = max((w.facts['audio_seconds'] for w in workers.values() if not w.failed), default=1.0)
  CheckInside(workers, 'labels', _LABELS[0] * audio, _LABELS[1] * audio)


def _Recognition(setting):
  with tempfile.TemporaryDirectory() as folder:
    bindings = _QUICK if setting.quick else _BINDINGS
    made = {'folder': folder, 'bindings': bindings, 'blank_bias': _BLANK_BIAS, 'calls': 1}
    yield from _Searches(setting, made)
    yield from _Long(setting, {**made, 'warm_up': 0})
    yield from _Start(os.path.join(folder, _GREEDY))


def _Model(name, sizes, **options):
  """A worker with a run of its own, since they are set up at the same time."""
  return Worker(name, '.ours.recognition', {**sizes, 'folder': os.path.join(sizes['folder'], name)}, **options)


def _Searches(setting, made):
  sizes = Sizes('utterances=4 seconds=2' if setting.quick else 'utterances=48 seconds=8')

  def _Worker(name, beam_size, together, **options):
    return _Model(name, {**made, **sizes, 'beam_size': beam_size, 'together': together}, **options)

  def _BesideOneByOne(workers, rows):
    del rows
    pair = {'ours': workers['together'], 'peer': workers['one by one']}
    return {key: None if worker.failed else _Rtf(worker) for key, worker in pair.items()}

  workers = [
    _Worker(_GREEDY, 1, sizes['utterances']),
    _Worker('together', 8, sizes['utterances'], max_turns=3),
    _Worker('one by one', 8, 1, max_turns=2),
  ]
  what = f'{sizes["utterances"]} x {sizes["seconds"]} s'
  beam = f'model.transcribe with a beam of 8 and an LSTM, {what}'
  figure = {'unit': 'RTF', 'figure': _Rtf, 'ratio': 'ours', 'note': _NOTE}
  rows = [
    Row(f'model.transcribe, greedy, {what}', '<= 0.01', ours=(_GREEDY,), **figure),
    Row(f'{beam} together', '<= 0.01', ours=('together',), **figure),
    Row(f'{beam}, beside one by one', unit='RTF', ratio='ours / peer', values=_BesideOneByOne, note=_NOTE),
  ]
  yield Comparison(workers, rows, _CheckLabels)


def _Long(setting, made):
  minutes = (0.1, 0.2) if setting.quick else (10, 40)
  long = {**made, 'beam_size': 1, 'together': 1, 'utterances': 1}
  short, whole = (_Model(f'{m:g} min', {**long, 'seconds': 60 * m}, max_turns=1) for m in minutes)
  name = f'model.transcribe of one recording of {minutes[1]:g} min'
  memory = {'unit': 'GB', 'figure': lambda worker: worker.peak_gb, 'ours': (whole.name,), 'ratio': 'ours'}

  def _BesideShort(workers, rows):
    del workers, rows
    return {key: None if w.failed else _Rtf(w) for key, w in (('ours', whole), ('peer', short))}

  beside = {'unit': 'RTF', 'ratio': 'ours / peer', 'values': _BesideShort}
  rows = [
    Row(f'{name}: its peak memory beside the model and the samples', '<= 0.5', note='no peer', **memory),
    Row(f'{name}, beside one of {minutes[0]:g} min', '<= 1.1', note='no peer; of a second of audio', **beside),
  ]
  yield Comparison([short, whole], rows)


def _Start(run):
  """The command, with the run that the other workers have written."""
  path = os.path.join(run, 'short.wav')
  soundfile.write(path, inputs.Syllables(5.0, 0), 16000)
  row = Row('fm-transcribe, from the command to the text of 5 s', '<= 4', ratio='ours', note='no peer; random weights')
  yield Comparison([Command('transcribe', ['-m', 'tools.transcribe', run, path], {'calls': 1}, max_turns=3)], [row])


GROUPS = {'recognition': _Recognition}
