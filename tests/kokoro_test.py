"""Kokoro: its rewritten model computes what the quantised one does, its voices differ, its alphabet covers English."""

import os
import tempfile
import time
import unicodedata
from concurrent import futures
from unittest import mock

import numpy as np
import onnx
import onnxruntime
from absl.testing import absltest
from onnx import helper
from onnx import numpy_helper
from onnxruntime import quantization

from tools.speech_synthesis import kokoro
from tools.speech_synthesis import synth


class DequantiseTest(absltest.TestCase):
  def _Path(self):
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    return os.path.join(folder.name, 'model.onnx')

  def _Model(self, biases):
    """Path of a float32 model of a convolution for each of `biases`, [1, 4, N] -> [1, 4, N]."""
    random = np.random.default_rng(1)
    nodes, constants, last = [], [], 'x'
    for i, bias in enumerate(biases):
      constants.append(numpy_helper.from_array(random.standard_normal((4, 4, 3)).astype(np.float32), f'w{i}'))
      inputs = [last, f'w{i}']
      if bias:
        constants.append(numpy_helper.from_array(random.standard_normal(4).astype(np.float32), f'b{i}'))
        inputs.append(f'b{i}')
      last = f'y{i}'
      nodes.append(helper.make_node('Conv', inputs, [last], name=f'conv{i}', pads=[2, 2], dilations=[2]))
    graph = helper.make_graph(
      nodes,
      'g',
      [helper.make_tensor_value_info('x', onnx.TensorProto.FLOAT, [1, 4, 'n'])],
      [helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, [1, 4, 'n'])],
      constants,
    )
    path = self._Path()
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), path)
    return path

  def _Run(self, path, x):
    return onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider']).run(None, {'x': x})[0]

  def test_the_quantised_convolutions_become_those_they_were_made_from(self):
    x = np.random.default_rng(2).standard_normal((1, 4, 50)).astype(np.float32)
    for biases in ([True], [False], [True, False, True]):
      plain = self._Model(biases)
      quantization.quantize_dynamic(
        plain, f'{plain}.int8', op_types_to_quantize=['Conv'], weight_type=quantization.QuantType.QUInt8
      )
      model = onnx.load(f'{plain}.int8')
      self.assertIn('ConvInteger', [node.op_type for node in model.graph.node])
      kokoro._Dequantise(model.graph)
      onnx.save(model, f'{plain}.f32')
      left = [node.op_type for node in model.graph.node]
      self.assertEqual(left.count('Conv'), len(biases))
      self.assertNoCommonElements(left, ['ConvInteger', 'DynamicQuantizeLinear'])
      expected, quantised = self._Run(plain, x), self._Run(f'{plain}.int8', x)
      error = np.abs(self._Run(f'{plain}.f32', x) - expected).max()
      self.assertLess(error, 0.02 * np.abs(expected).max())  # The weights have 8 bits.
      self.assertLess(error, 1.5 * np.abs(quantised - expected).max())

  def test_a_bias_that_is_added_before_the_scale_as_in_kokoro(self):
    random = np.random.default_rng(1)
    make = helper.make_node
    constants = {
      'w': random.integers(0, 255, (4, 4, 3)).astype(np.uint8),
      'wz': np.array(120, np.uint8),
      'ws': np.array(0.02, np.float32),
      'b': random.standard_normal(4).astype(np.float32),
      'shape': np.array([1, 4, 1]),
    }
    nodes = [
      make('DynamicQuantizeLinear', ['x'], ['q', 'qs', 'qz']),
      make('ConvInteger', ['q', 'w', 'qz', 'wz'], ['c'], name='conv', pads=[1, 1]),
      make('Mul', ['qs', 'ws'], ['bs']),
      make('Div', ['b', 'bs'], ['b1']),
      make('Floor', ['b1'], ['b2']),
      make('Cast', ['b2'], ['b3'], to=onnx.TensorProto.INT32),
      make('Reshape', ['b3', 'shape'], ['b4']),
      make('Add', ['c', 'b4'], ['c1']),
      make('Cast', ['c1'], ['c2'], to=onnx.TensorProto.FLOAT),
      make('Mul', ['qs', 'ws'], ['s']),
      make('Mul', ['c2', 's'], ['y']),
    ]
    graph = helper.make_graph(
      nodes,
      'g',
      [helper.make_tensor_value_info('x', onnx.TensorProto.FLOAT, [1, 4, 'n'])],
      [helper.make_tensor_value_info('y', onnx.TensorProto.FLOAT, [1, 4, 'n'])],
      [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    path = self._Path()
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    onnx.save(model, f'{path}.int8')
    kokoro._Dequantise(model.graph)
    onnx.save(model, f'{path}.f32')
    self.assertEqual([(node.op_type, node.input[-1]) for node in model.graph.node], [('Conv', 'b')])
    x = random.standard_normal((1, 4, 50)).astype(np.float32)
    expected = self._Run(f'{path}.int8', x)
    np.testing.assert_allclose(self._Run(f'{path}.f32', x), expected, atol=0.02 * np.abs(expected).max())

  def test_another_graph_is_refused_by_name(self):
    plain = self._Model([False])
    quantization.quantize_dynamic(
      plain, f'{plain}.int8', op_types_to_quantize=['Conv'], weight_type=quantization.QuantType.QUInt8
    )
    model = onnx.load(f'{plain}.int8')
    cast = next(node for node in model.graph.node if node.op_type == 'Cast')
    cast.op_type = 'Identity'
    with self.assertRaisesRegex(ValueError, 'conv0.*: followed by Identity, expected Cast'):
      kokoro._Dequantise(model.graph)


class FastModelTest(absltest.TestCase):
  def test_threads_that_ask_at_once_make_one_whole_model(self):
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    made = []

    def Make(scratch, path):
      made.append(path)
      time.sleep(0.2)  # In which the other threads ask.
      with open(os.path.join(scratch, 'model'), 'w', encoding='utf-8') as f:
        f.write('whole')
      os.replace(os.path.join(scratch, 'model'), path)

    with mock.patch.object(kokoro, '_BuildFastModel', side_effect=Make):
      with futures.ThreadPoolExecutor(4) as pool:
        (path,) = set(pool.map(kokoro.FastModel, [folder.name] * 4))
    self.assertEqual(made, [path])
    self.assertEqual(os.listdir(folder.name), [os.path.basename(path)])  # Nothing of the making is left.


class VoicesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.data_dir = kokoro.DataDir()

  def test_voices_differ_from_each_other_and_not_from_themselves(self):
    voices = kokoro.Voices(self.data_dir)
    styles = np.stack([voices.Style(i, 30)[0] for i in range(kokoro.NUM_VOICES)])
    np.testing.assert_array_equal(kokoro.Voices(self.data_dir).Style(7, 30)[0], styles[7])
    distances = np.linalg.norm(styles[:, None] - styles, axis=-1) + 1e9 * np.eye(len(styles))
    own = np.linalg.norm(voices.Style(3, 30) - voices.Style(3, 31))  # A voice at the next length of text.
    self.assertGreater(distances.min(), 3 * own)

  def test_a_text_longer_than_the_styles_has_the_last(self):
    voices = kokoro.Voices(self.data_dir)
    np.testing.assert_array_equal(voices.Style(0, 10000), voices.Style(0, 510))

  def test_every_sound_of_english_is_in_the_alphabet(self):
    phonemizer = kokoro.Phonemizer(self.data_dir)
    for text in synth.ReadText(synth.DEFAULT_TEXT):
      for unknown in phonemizer.Unknown(text):
        # The dot below a syllabic consonant and the like; letters would be lost sounds.
        self.assertTrue(unicodedata.combining(unknown), f'{text}: {unknown!r}')

  def test_sounds_that_the_alphabets_write_differently(self):
    phonemizer = kokoro.Phonemizer(self.data_dir)
    self.assertEqual(phonemizer.Phonemes('church judge'), 'ʧˈɜɹʧ ʤˈʌʤ')
    self.assertEqual(phonemizer.Phonemes('my day'), 'mI dˈA')
    self.assertLen(phonemizer.Tokens('church judge'), len('ʧˈɜɹʧ ʤˈʌʤ'))


if __name__ == '__main__':
  absltest.main()
