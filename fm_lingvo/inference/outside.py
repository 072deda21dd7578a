"""Recognises speech with exported graphs, without TensorFlow: a reference for programs that use them.

Only NumPy, and tf.lite or onnxruntime for the graphs that inference/step_graphs.py describes. The features are those of
layers/frontend.py; the search is that of decoding/greedy.py, one utterance at a time.
"""

import json
import os
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import numpy as np

from fm_lingvo import errors

GRAPHS = 'graphs.json'  # What the folder holds: format, graphs, search, surfaces of the labels.
Graph = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]


class Model:
  """Exported graphs and a greedy search."""

  def __init__(self, folder: str):
    """Loads a folder that fm-export --format=tflite or onnx wrote.

    Raises:
      errors.ConfigError: It is none.
    """
    path = os.path.join(folder, GRAPHS)
    try:
      with open(path, encoding='utf-8') as f:
        self.about: dict[str, Any] = json.load(f)
      load = {'tflite': _Tflite, 'onnx': _Onnx}[self.about['format']]
      self._graphs = {name: load(os.path.join(folder, file)) for name, file in self.about['graphs'].items()}
    except (OSError, KeyError, ValueError) as e:
      raise errors.ConfigError(f'{path}: expected what fm-export --format=tflite or onnx wrote ({e})') from e
    self._surfaces = [bytes.fromhex(surface) for surface in self.about['surfaces']]

  def Recognize(self, waveform: np.ndarray) -> tuple[str, list[int]]:
    """Recognises an utterance, int16 or float32 in [-1, 1], [S] at 16 kHz; returns (text, labels)."""
    features = Features(waveform, self.about['features'])[np.newaxis]  # [1, T, F]
    if not features.shape[1]:
      return '', []
    lengths = np.array([features.shape[1]], np.int32)
    found = self._graphs['encoder']({'features': features, 'lengths': lengths})
    encoded = found['encoded'][:, : int(found['encoded_lengths'][0])]  # [1, N, D]
    labels = self._Ctc(encoded) if 'ctc' in self._graphs else self._Transducer(encoded[0])
    text = b''.join(self._surfaces[label] for label in labels).decode(errors='replace')
    return text.strip(' '), labels

  def _Ctc(self, encoded):
    """The best label of each frame, repeats merged, without blanks."""
    if not encoded.shape[1]:
      return []
    best = self._graphs['ctc']({'encoded': encoded})['log_probs'][0].argmax(-1)
    before = np.concatenate([[0], best[:-1]])
    return best[(best > 0) & (best != before)].tolist()

  def _Transducer(self, encoded):
    """At each step the best label, or blank, 0, which moves on to the next of the frames [N, D]."""
    search = self.about['search']
    most = int(np.ceil(np.float32(search['max_labels_per_frame']) * np.float32(len(encoded))))
    state = {name: np.zeros([1, *shape], np.float32) for name, shape in self.about['state'].items()}
    predicted, state = self._Predict(0, state)
    labels: list[int] = []
    t = symbols = 0
    while t < len(encoded):
      best = 0
      if symbols < search['max_symbols_per_frame'] and len(labels) < most:
        nodes = {'encoded': encoded[t : t + 1], 'predicted': predicted}
        best = int(self._graphs['joint'](nodes)['log_probs'][0].argmax())
      if best == 0:
        t, symbols = t + 1, 0
        continue
      labels.append(best)
      symbols += 1
      predicted, state = self._Predict(best, state)
    return labels

  def _Predict(self, label, state):
    found = self._graphs['prediction']({'label': np.array([label], np.int32), **state})
    return found['predicted'], {name: found[f'next_{name}'] for name in state}


def Features(waveform: np.ndarray, about: Mapping[str, Any]) -> np.ndarray:
  """Computes log-mel features float32 [T, F] of an utterance; T = 0 if it is shorter than a window.

  Args:
    waveform: int16, or float32 in [-1, 1], [S].
    about: `features` of graphs.json.
  """
  samples = waveform.astype(np.float32) * (1.0 if waveform.dtype == np.int16 else 32768.0)
  size, step = about['frame_samples'], about['step_samples']
  count = max(0, (len(samples) - size) // step + 1)
  if not count:
    return np.zeros([0, about['mel_bins']], np.float32)
  frames = np.lib.stride_tricks.sliding_window_view(samples, size)[::step][:count]
  frames = frames[:, 1:] - np.float32(about['preemphasis']) * frames[:, :-1]
  window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size - 1) / (size - 1))
  spectrum = np.abs(np.fft.rfft(frames * window, about['fft_size']))
  mel = np.log(np.maximum(spectrum @ _MelWeights(about), about['floor']))
  if about['normalization'] == 'per_utterance':
    mel = (mel - mel.mean(0)) / np.sqrt(mel.var(0) + about['variance_floor'])
  elif about['normalization'] == 'global':
    mel = (mel - np.array(about['mean'])) / np.array(about['stddev'])
  return mel.astype(np.float32)


def _MelWeights(about):
  """Triangles of equal width on the mel scale, [fft_size / 2 + 1, F], as tf.signal.linear_to_mel_weight_matrix."""

  def _Mel(hertz):
    return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)

  bins = _Mel(np.linspace(0.0, about['sample_rate'] / 2, about['fft_size'] // 2 + 1))[:, np.newaxis]
  edges = np.linspace(_Mel(about['lower_hertz']), _Mel(about['upper_hertz']), about['mel_bins'] + 2)
  lower, center, upper = edges[:-2], edges[1:-1], edges[2:]
  weights = np.maximum(0.0, np.minimum((bins - lower) / (center - lower), (upper - bins) / (upper - center)))
  weights[0] = 0.0  # The constant part.
  return weights


def _Tflite(path: str) -> Graph:
  """Loads a TensorFlow Lite graph."""
  import tensorflow as tf

  runner = tf.lite.Interpreter(path, num_threads=_Threads()).get_signature_runner()

  def Run(inputs):
    return runner(**inputs)

  return Run


def _Onnx(path: str) -> Graph:
  """Loads an ONNX graph."""
  import onnxruntime

  options = onnxruntime.SessionOptions()
  options.intra_op_num_threads = _Threads()
  session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
  names = [output.name for output in session.get_outputs()]

  def Run(inputs):
    return dict(zip(names, session.run(names, dict(inputs))))

  return Run


def _Threads():
  return len(os.sched_getaffinity(0))
