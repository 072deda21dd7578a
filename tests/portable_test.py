"""Folders with weights that travel are the run, bit for bit, without its machine; damaged ones are refused."""

import contextlib
import io
import json
import os
import re
import shutil
import tempfile

import numpy as np
import yaml
from absl.testing import absltest

from fm_lingvo import errors
from fm_lingvo.checkpoints import fingerprint
from fm_lingvo.checkpoints import reader
from fm_lingvo.checkpoints import warm_start
from fm_lingvo.checkpoints import weights_file
from fm_lingvo.decoding import confidence
from fm_lingvo.inference import graph_mode
from fm_lingvo.inference import load_run
from fm_lingvo.inference import portable
from fm_lingvo.inference import recognizer
from fm_lingvo.run_files import metrics_log
from tests import graph_case
from tests import run_case
from tests import shared_graphs
from tests import tiny_data
from tools import adapters
from tools import evaluate
from tools import export

tf = graph_case.tf
_WAVEFORMS = [tiny_data.Waveform(seconds, i) for i, seconds in enumerate((1.5, 0.9))]


def setUpModule():
  global _folder
  _folder = tempfile.mkdtemp()
  run_case.WriteData(_folder + '/data')
  graph_mode.Start()
  one = 'transducer.max_labels_per_frame = 2.0'
  run_case.MakeRun(_folder + '/run', 'asr.AdapterFinetune', _folder + '/data', one)
  run_case.MakeRun(
    _folder + '/lora', 'asr.AdapterFinetune', _folder + '/data', one, "AdapterFinetune.adapter_kind = 'lora'"
  )
  confidence.Write(_folder + '/run', [confidence.Calibration('mean', 2.0, -1.0, fitted=True)], {})
  metrics_log.MetricsLog(_folder + '/run').Write('TestTarget', 3, {'labeled/wer': 0.25, 'labeled/cer': 0.1})


def tearDownModule():
  shutil.rmtree(_folder)


def _Main(tool, *args):
  """Runs a tool; returns (exit code, standard output and error)."""
  out = io.StringIO()
  with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), shared_graphs.Evaluators():
    code = tool.Main(['tool', *args])
  return code, out.getvalue()


def _Recognized(path, **how):
  with contextlib.closing(_Closing(recognizer.Recognizer(load_run.Load(path, **how)))) as model:
    found = [h for (h,) in model.model.Recognize(_WAVEFORMS)]
    return [(h.text, h.score, [word.probability for word in h.words]) for h in found]


class _Closing:
  def __init__(self, model):
    self.model, self.close = model, model.Close


class PortableTest(graph_case.GraphCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    for name, *flags in (
      ('whole',),
      ('half', '--quantize=float16'),
      ('small', '--adapter_only'),
    ):
      code, cls.said = _Main(
        export, _folder + '/run', '--format=safetensors', f'--output={_folder}/{name}', '--no-measure', *flags
      )
      assert code == 0, cls.said
    # The base that the adapters were trained on, without them and with another decoder.
    code, said = _Main(adapters, 'remove', _folder + '/run', '--adapter=target', f'--output={_folder}/base.ckpt')
    assert code == 0, said

  def test_a_folder_recognises_what_the_run_does_to_the_last_bit(self):
    expected = _Recognized(_folder + '/run')
    self.assertEqual(_Recognized(_folder + '/whole'), expected)
    with self.subTest('adapters of a file, on a base without them'):
      found = _Recognized(_folder + '/run', checkpoint=_folder + '/base.ckpt', adapter=_folder + '/small')
      self.assertEqual(found, expected)
    with self.subTest('exported again'):
      portable.Write(load_run.Load(_folder + '/whole'), _folder + '/again')
      for name in (weights_file.MODEL, 'config.gin', 'config.json', 'README.md'):
        with open(f'{_folder}/whole/{name}', 'rb') as a, open(f'{_folder}/again/{name}', 'rb') as b:
          self.assertEqual(a.read(), b.read(), name)

  def test_adapters_bring_their_calibration(self):
    base = _folder + '/not_calibrated'
    shutil.copytree(_folder + '/run', base)
    os.remove(f'{base}/{confidence.FILE}')
    found = _Recognized(base, checkpoint=_folder + '/base.ckpt', adapter=_folder + '/small')
    self.assertEqual(found, _Recognized(_folder + '/run'))
    self.assertNotEqual(found, _Recognized(base))

  def test_weights_are_those_of_the_run(self):
    run, whole, half = (reader.Checkpoint(f'{_folder}/{name}') for name in ('run', 'whole', 'half'))
    self.assertEqual((whole.weights, whole.step), (run.weights, 3))
    self.assertEqual(half.weights, run.weights)
    for name in run.weights:
      np.testing.assert_array_equal(whole.Read(name), run.Read(name), name)
      exact = re.search('record/var$|frontend', name)
      rounded = run.Read(name) if exact else run.Read(name).astype(np.float16).astype(np.float32)
      np.testing.assert_array_equal(half.Read(name), rounded, name)
    self.assertTrue(_Recognized(_folder + '/half'))
    ratio = os.path.getsize(f'{_folder}/half/{weights_file.MODEL}') / os.path.getsize(
      f'{_folder}/whole/{weights_file.MODEL}'
    )
    self.assertBetween(ratio, 0.4, 0.65)
    with open(_folder + '/half/config.json', encoding='utf-8') as f:
      self.assertBetween(json.load(f)['largest_difference'], 1e-8, 2**-11)

  def test_a_folder_names_no_place_of_this_machine(self):
    for folder in ('whole', 'small'):
      for name in os.listdir(f'{_folder}/{folder}'):
        with open(f'{_folder}/{folder}/{name}', 'rb') as f:
          content = f.read()
        for place in (_folder, os.getcwd(), os.path.expanduser('~')):
          self.assertNotIn(place.encode(), content, name)
    for line, expected in (
      ("X.data_dir = '/home/me/data/demo'  # <- /home/me/x.gin:3; was 'y'", "X.data_dir = 'demo'"),
      ("X.data_dir = 'data/demo'", "X.data_dir = 'data/demo'"),
      ("X.init_from = '~/runs/joint/'", "X.init_from = 'joint'"),
      ("X.noise_dir = 'gs://bucket/musan'", "X.noise_dir = 'musan'"),
      ("a.tokenizer_file = '/strange/t.model'", "a.tokenizer_file = 't.model'"),
      ("a.bprop_variable_filter = '/ctc/'", "a.bprop_variable_filter = '/ctc/'"),
      ("a.texts = ['/tmp/a', 'b # c']  # comment", "a.texts = ['a', 'b # c']"),
      ('# a comment', ''),
    ):
      self.assertEqual(portable.WithoutPaths(line), expected)

  def test_the_card_says_where_the_model_is_from(self):
    with open(_folder + '/whole/README.md', encoding='utf-8') as f:
      _, header, text = f.read().split('---\n', 2)
    (index,) = yaml.safe_load(header)['model-index']
    self.assertEqual(index['results'][1]['metrics'][0]['value'], 25.0)
    self.assertIn('TestTarget, labeled: WER 25.00%', text)
    self.assertIn('- target: hours not recorded, 6.7 % of its utterances used', text)
    self.assertIn('Adapters: `target`', text)

  def test_adapters_are_refused_on_another_encoder(self):
    with (
      self.NewGraph(),
      self.assertRaisesRegex(
        errors.ConfigError,
        r'small/adapter.safetensors: its adapters were trained on another encoder \(sha256 \w{12}\) than',
      ),
    ):
      load_run.Load(_folder + '/lora', adapter=_folder + '/small')
    self.assertLess(
      os.path.getsize(f'{_folder}/small/{weights_file.ADAPTER}'),
      os.path.getsize(f'{_folder}/whole/{weights_file.MODEL}'),
    )
    self.assertEqual(set(fingerprint.Adapters(reader.Checkpoint(_folder + '/small'))), {'target'})

  def test_a_model_in_float16_takes_adapters_trained_before_and_after_it_was_rounded(self):
    run, half = (reader.Checkpoint(f'{_folder}/{name}') for name in ('run', 'half'))
    before = fingerprint.EncoderDigest(run)
    after = fingerprint.Digest(fingerprint.Encoder(half), half.Read)
    self.assertFalse(np.array_equal(before, after))
    self.assertEqual([fingerprint.Fits(half, digest) for digest in (before, after)], [True, True])
    self.assertEqual([fingerprint.Fits(run, digest) for digest in (before, after)], [True, False])

  def test_low_rank_changes_are_merged_into_plain_weights(self):
    code, said = _Main(
      export, _folder + '/lora', '--format=safetensors', '--merge', f'--output={_folder}/merged', '--no-measure'
    )
    self.assertEqual(code, 0, said)
    self.assertFalse(fingerprint.Adapters(reader.Checkpoint(_folder + '/merged')))
    for (text, score, _), (expected, other, _) in zip(_Recognized(_folder + '/merged'), _Recognized(_folder + '/lora')):
      self.assertEqual(text, expected)
      self.assertAlmostEqual(score, other, delta=1e-3 * abs(other))
    self.assertNotEqual(_Recognized(_folder + '/lora', adapter='none'), _Recognized(_folder + '/lora'))
    code, said = _Main(export, _folder + '/run', '--format=safetensors', '--merge', f'--output={_folder}/no')
    self.assertEqual(code, 2)
    self.assertRegex(said, 'adapters target cannot be merged; expected active adapters of the kind lora or bias')
    self.assertFalse(os.path.exists(_folder + '/no'))

  def test_a_new_run_starts_from_a_folder_and_evaluations_take_it(self):
    params = load_run.Load(_folder + '/run').params
    params.train.init_from_checkpoint_rules = warm_start.InitRules(_folder + '/whole')
    task = params.Instantiate()
    self.Eval(tf.constant(0))
    _, loaded = warm_start.Restore(task, self._session)
    self.assertEqual(loaded, {v.op.name for v in task.vars.Flatten()})
    lines = []
    for path in ('run', 'whole'):
      code, said = _Main(evaluate, f'{_folder}/{path}', '--datasets=TestTarget', f'--data_dir={_folder}/data')
      self.assertEqual(code, 0, said)
      lines.append(said)
    self.assertEqual(*lines)

  def test_files_of_others_and_damaged_ones_are_refused_in_one_line(self):
    import safetensors.numpy

    folder = self.create_tempdir().full_path
    path = os.path.join(folder, weights_file.MODEL)
    with open(f'{_folder}/whole/{weights_file.MODEL}', 'rb') as f:
      good = f.read()
    big = (2**40).to_bytes(8, 'little')
    other = safetensors.numpy.save({'a': np.zeros(2, np.float32)})
    double = safetensors.numpy.save({'a': np.zeros(2)}, {'format': weights_file.FORMAT})
    for content, expected in (
      (good[:-1], 'not a readable safetensors file'),
      (good + b'0', 'not a readable safetensors file'),
      (big + good[8:], 'not a readable safetensors file'),
      (b'', 'not a readable safetensors file'),
      (other, "format = None in its metadata, expected 'fm_lingvo.weights.1'"),
      (double, 'a is of dtype F64, expected one of F32'),
    ):
      with open(path, 'wb') as f:
        f.write(content)
      with self.assertRaisesRegex(errors.ConfigError, f'{weights_file.MODEL}: .*{expected}') as caught:
        reader.Checkpoint(folder)
      self.assertNotIn('\n', str(caught.exception))

  def test_flags_that_do_not_fit_are_refused(self):
    for flags, expected in (
      (['--measure=TestTarget', '--utterances=0'], r'--utterances=0: expected >= 1'),
      (['--merge'], r'--merge: not with --format=saved_model; expected safetensors'),
      (['--format=onnx', '--calibrate=TestTarget'], r'--calibrate=TestTarget: only with --quantize=int8'),
      (['--format=safetensors', '--quantize=int8'], r'--quantize=int8: not with --format=safetensors'),
      (['--format=safetensors', '--adapter=none', '--adapter_only'], r'no active adapters; .*--adapter, of target'),
      (['--format=safetensors', '--checkpoint=ckpt-9'], r'ckpt-9: no such checkpoint'),
      (['--measure=TestTarget'], r'--measure=TestTarget: a SavedModel is timed on noise only'),
    ):
      with self.subTest(str(flags)):
        code, said = _Main(export, _folder + '/run', f'--output={_folder}/unwritten', *flags)
        self.assertEqual(code, 2)
        self.assertRegex(said, f'^export: .*{expected}')
    with self.assertRaisesRegex(errors.ConfigError, '--checkpoint=ckpt-1: .* has one set of weights only'):
      load_run.Load(_folder + '/whole', checkpoint='ckpt-1')


if __name__ == '__main__':
  absltest.main()
