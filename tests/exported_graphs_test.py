"""Exported graphs: TensorFlow Lite, ONNX and a search in NumPy recognise what the run does."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from unittest import mock

import numpy as np
import pytest
from absl.testing import absltest
from absl.testing import parameterized

from fm_lingvo import errors
from fm_lingvo.inference import graph_mode
from fm_lingvo.inference import load_run
from fm_lingvo.inference import outside
from fm_lingvo.inference import plain_einsum
from fm_lingvo.inference import recognizer
from fm_lingvo.inference import step_graphs
from fm_lingvo.layers import frontend
from tests import graph_case
from tests import run_case
from tests import tiny_data
from tools import export
from tools.exporting import convert
from tools.exporting import measure
from tools.exporting import utterances

tf = graph_case.tf
_SECONDS = (1.5, 3.0, 0.9)
_EXPORTERS = {'tflite': convert.ToTflite, 'onnx': convert.ToOnnx}


def setUpModule():
  global _folder
  _folder = tempfile.mkdtemp()
  graph_mode.Start()
  run_case.WriteData(_folder + '/data')
  bindings = (
    'transducer.max_labels_per_frame = 2.0',
    'task.encoder.num_layers = 2',  # Two are traced as one.
    "task.encoder.subsampling.kind = 'conv'",  # That of all sizes but tiny; Lingvo's layer checks shapes.
    'task.encoder.subsampling.channels = 4',
    'AdapterFinetune.dropout_prob = 0.5',  # An export has none.
    'AdapterFinetune.prediction_dropout_prob = 0.5',
  )
  run_case.MakeRun(_folder + '/run', 'asr.AdapterFinetune', _folder + '/data', *bindings)


def tearDownModule():
  shutil.rmtree(_folder)


def _Export(run, output, *flags, code=0):
  """Runs the tool; returns what it says."""
  out = io.StringIO()
  with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
    found = export.Main(['export', run, f'--output={output}', *flags])
  assert found == code, out.getvalue()
  return out.getvalue()


def _Waveforms():
  return [tiny_data.Waveform(seconds, i) for i, seconds in enumerate(_SECONDS)]


def _Texts(run):
  return [h.text for (h,) in recognizer.Recognizer(load_run.Load(run)).Recognize(_Waveforms())]


class FeaturesTest(graph_case.GraphCase):
  def test_features_in_numpy_are_the_front_end_s(self):
    run = load_run.Load(_folder + '/run')
    for normalization in frontend.NORMALIZATIONS[:2]:
      run.params.frontend.normalization = normalization
      with self.NewGraph():
        layer = self.Layer(run.params.frontend)
        for waveform in _Waveforms():
          padded = np.pad(waveform / 32768.0, [0, -len(waveform) % 160]).astype(np.float32)
          out = self.Eval(layer.FProp(layer.theta, tf.constant(padded[np.newaxis]), tf.constant([len(waveform)])))
          found = outside.Features(waveform, step_graphs.FeatureSettings(run))
          self.assertLen(found, int(np.sum(1 - out.paddings)))
          np.testing.assert_allclose(found, out.features[0, : len(found)], atol=2e-2)
          self.assertLess(np.abs(found - out.features[0, : len(found)]).mean(), 1e-4)
    self.assertEmpty(outside.Features(np.zeros(100, np.int16), step_graphs.FeatureSettings(run)))


class PlainEinsumTest(graph_case.GraphCase):
  def test_products_are_those_of_einsum_and_no_einsum_is_left(self):
    rng = np.random.RandomState(0)
    sizes = dict(zip('BTNHDLS', (2, 5, 3, 4, 12, 9, 6)))
    equations = 'BTNH,LNH->BNTL', 'BTD,DNH->BTNH', 'BTNH,DNH->BTD', 'BTNH,BSNH->BNTS', 'BNTS,BSNH->BTNH', 'BT,TD->BD'
    for equation in equations:
      a, b = (
        tf.placeholder_with_default(rng.randn(*[sizes[k] for k in term]), [None] * len(term))
        for term in equation.partition('->')[0].split(',')
      )
      before = len(tf.get_default_graph().get_operations())
      found = plain_einsum.Einsum(equation, a, b)
      self.assertNotIn('Einsum', [op.type for op in tf.get_default_graph().get_operations()[before:]])
      np.testing.assert_allclose(*self.Eval(found, tf.einsum(equation, a, b)), atol=1e-9)


class ExportedGraphsTest(parameterized.TestCase):
  @parameterized.parameters('tflite', 'onnx')
  @pytest.mark.slow  # Converts three graphs and decodes a data set, in each format.
  def test_texts_are_the_run_s_without_tensorflow_s_own_ops(self, kind):
    output = f'{_folder}/{kind}'
    said = _Export(_folder + '/run', output, f'--format={kind}', '--measure=TestTarget', '--utterances=2')
    model = outside.Model(output)
    self.assertEqual([model.Recognize(waveform)[0] for waveform in _Waveforms()], _Texts(_folder + '/run'))
    self.assertEqual(model.Recognize(np.zeros(10, np.int16)), ('', []))
    self.assertRegex(said, r'(?m)^exported: \d\.\d\d MB, WER .*, \+0.00% .*, 100.0% of the texts equal, real-time')
    with open(output + '/measured.json', encoding='utf-8') as f:
      measured = json.load(f)
    self.assertEqual(measured['systems']['exported']['wer'], measured['systems']['original']['wer'])
    self.assertEqual(measured['utterances'], 2)
    self._CheckEncoder(model)

  def _CheckEncoder(self, model):
    """Compares encoded frames with TensorFlow's: lengths that subsampling divides or not, padded or not."""
    rng = np.random.RandomState(0)
    encoder = next(step_graphs.Build(load_run.Load(_folder + '/run')))
    with tf.Graph().as_default() as graph, tf.Session(graph=graph) as sess:
      tf.import_graph_def(encoder.graph_def, name='')
      for time in range(21, 25):
        inputs = {'features': rng.randn(2, time, 80).astype(np.float32), 'lengths': np.array([time, 11], np.int32)}
        found = model._graphs['encoder'](inputs)
        feed = {encoder.inputs[key].name: value for key, value in inputs.items()}
        expected = sess.run({key: x.name for key, x in encoder.outputs.items()}, feed)
        self.assertEqual(found['encoded_lengths'].tolist(), expected['encoded_lengths'].tolist())
        self.assertEqual(found['encoded'].shape, expected['encoded'].shape)
        for row, length in enumerate(expected['encoded_lengths']):
          np.testing.assert_allclose(found['encoded'][row, :length], expected['encoded'][row, :length], atol=1e-4)

  def test_graphs_call_no_functions_which_converters_refuse(self):
    for graph in step_graphs.Build(load_run.Load(_folder + '/run')):
      self.assertEmpty([node.name for node in graph.graph_def.node if 'PartitionedCall' in node.op], graph.name)

  def test_a_failing_converter_is_told_in_one_line(self):
    with mock.patch.object(convert, 'ToOnnx', side_effect=KeyError('no such operation')):
      said = _Export(_folder + '/run', _folder + '/failed', '--format=onnx', code=1)
    self.assertRegex(
      said, r"(?m)^export: --format=onnx: the converter refuses the graph encoder \(KeyError: 'no such .*every model$"
    )

  def test_a_folder_that_is_none_is_refused(self):
    with self.assertRaisesRegex(
      errors.ConfigError, 'graphs.json: expected what fm-export --format=tflite or onnx wrote'
    ):
      outside.Model(_folder)
    calibrated = '--quantize=int8', '--calibrate=DevTarget'
    said = _Export(_folder + '/run', _folder + '/no', '--format=tflite', *calibrated, code=2)
    self.assertEqual(said, 'export: --calibrate: not with --format=tflite; expected onnx\n')
    said = _Export(_folder + '/run', _folder, '--format=tflite', code=2)
    self.assertRegex(said, '^export: .*: exists; expected a new or an empty folder\n$')

  @parameterized.parameters('tflite', 'onnx')
  @pytest.mark.slow  # Converts three more models a format.
  def test_smaller_numbers_are_smaller_files_and_near_the_run(self, kind):
    run = load_run.Load(_folder + '/run')
    settings = step_graphs.FeatureSettings(run)
    features = [outside.Features(waveform, settings)[np.newaxis] for waveform in _Waveforms()]
    inputs = [{'features': x, 'lengths': np.array(x.shape[1:2], np.int32)} for x in features]
    graph = next(step_graphs.Build(run))
    load = {'tflite': outside._Tflite, 'onnx': outside._Onnx}[kind]
    outputs, sizes = {}, {}
    conversions = [('float32',), ('float16',), ('int8',), *([('int8', inputs)] if kind == 'onnx' else [])]
    for i, conversion in enumerate(conversions):
      path = f'{_folder}/{i}_{conversion[0]}.{kind}'
      with open(path, 'wb') as f:
        f.write(_EXPORTERS[kind](graph, *conversion))
      outputs[path] = load(path)(inputs[0])['encoded']
      sizes[path] = os.path.getsize(path)
    expected, *others = outputs.values()
    for path, found in list(outputs.items())[1:]:
      with self.subTest(path):
        self.assertLess(np.linalg.norm(found - expected) / np.linalg.norm(expected), 0.3)
        self.assertFalse(np.array_equal(found, expected))
    self.assertLen(others, len(conversions) - 1)

  @pytest.mark.slow  # A process of its own: that nothing of TensorFlow is imported.
  def test_onnx_runs_without_tensorflow(self):
    _Export(_folder + '/run', _folder + '/alone', '--format=onnx', '--no-measure')
    script = (
      'import sys, numpy as np\nfrom fm_lingvo.inference import outside\n'
      'print(outside.Model(sys.argv[1]).Recognize(np.zeros(9000, np.int16))[1], "tensorflow" in sys.modules)'
    )
    done = subprocess.run(
      [sys.executable, '-c', script, _folder + '/alone'], capture_output=True, text=True, check=False
    )
    self.assertRegex(done.stdout, r'^\[.*\] False\n$', done.stderr)


class FiguresTest(absltest.TestCase):
  def test_an_export_s_figures(self):
    sounds = [utterances.Utterance(np.zeros([16000], np.int16), text) for text in ('a b', 'c d')]
    answers = {'original': 'a b', 'exported': 'a x'}
    systems = {name: lambda _, text=text: text for name, text in answers.items()}
    result = measure.Compare(systems, {'original': 4e6, 'exported': 1e6}, sounds, scored=True)
    original, exported = map(dict, [[f[:2] for f in figures] for figures in measure.Figures(result).values()])
    self.assertEqual((original['size'], exported['size']), (4, 1))
    self.assertEqual((original['WER'], exported['WER']), (50, 75))
    self.assertEqual(exported['WER above that of the original'], 25)
    self.assertNotIn('WER above that of the original', original)
    self.assertEqual(exported['texts equal to those of the original'], 0)

  def test_nothing_is_said_of_the_texts_of_noise(self):
    result = measure.Compare({'original': lambda _: ''}, {'original': 4e6}, measure.Noise(1), scored=False)
    self.assertNotIn('texts', ' '.join(measure.Lines(result)))
    self.assertEqual([name for name, *_ in measure.Figures(result)['original']][0], 'size')
    self.assertNotIn('equal_texts', result['systems']['original'])

  def test_a_data_set_without_usable_utterances_is_refused(self):
    with (
      mock.patch.object(utterances, '_Read', return_value=iter(())),
      self.assertRaisesRegex(errors.ConfigError, '^--measure=TestTarget: no utterance that can be used'),
    ):
      utterances.Read(load_run.Load(_folder + '/run'), '--measure', 'TestTarget', _folder + '/data')


if __name__ == '__main__':
  absltest.main()
