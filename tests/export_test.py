"""Properties of exported models: equal to the run's, on their own, right under any options."""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np
from absl.testing import absltest

from fm_lingvo import errors
from fm_lingvo.data import tokenizer
from fm_lingvo.decoding import search_options
from fm_lingvo.inference import load_run
from fm_lingvo.inference import recognizer
from fm_lingvo.inference import saved_model
from fm_lingvo.layers import conformer_encoder
from tests import graph_case
from tests import language_model_case
from tests import run_case
from tests import tiny_data
from tools import export
from tools.exporting import saved_model as exporting

tf = graph_case.tf

# Loads a model and recognises waveforms.npz, as a program without this package does, then runs what HOW_TO_CALL shows;
# prints JSON.
_LOAD = """
import json, os, sys
import numpy as np
import tensorflow as tf

def Recognized(path):
  model = tf.saved_model.load(path)
  with np.load("waveforms.npz") as f:
    found = model.signatures["serving_default"](
        waveforms=tf.constant(f["waveforms"]), num_samples=tf.constant(f["num_samples"]))
  return {"texts": [t.decode() for t in found["texts"].numpy()], "scores": found["scores"].numpy().tolist()}

def SessionScores(path):
  with tf.Graph().as_default(), tf.compat.v1.Session() as sess, np.load("waveforms.npz") as f:  # A stock session.
    meta = tf.compat.v1.saved_model.load(sess, ["serve"], path)
    signature = meta.signature_def["serving_default"]
    return sess.run(signature.outputs["scores"].name, {
        signature.inputs[name].name: f[name] for name in ("waveforms", "num_samples")}).tolist()

names = {"np": np, "waveforms": np.zeros([1, 9000], np.float32), "num_samples": [9000]}
exec(sys.argv[1], names)
print(json.dumps({
    **Recognized("model"),
    "session_scores": SessionScores("model"),
    "called": len(names["texts"]),
    "imported": sorted({m.split(".")[0] for m in sys.modules} &
                       {"lingvo", "fm_lingvo", "params", "tools", "tensorflow_text", "sentencepiece"}),
}))
"""
_WAVEFORMS = [tiny_data.Waveform(seconds, i) for i, seconds in enumerate((1.5, 3.0, 0.9, 2.2))]
_FUSED_WITH_LABEL = 5  # What the language model makes likely: 'c'.


def _Export(*args):
  """Runs the tool; returns (exit code, what it says)."""
  out = io.StringIO()
  with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
    return export.Main(['export', *args]), out.getvalue()


def _WriteWaveforms(path):
  """The batch of _WAVEFORMS; its padding holds anything."""
  batch = np.resize(np.array([0.5, np.nan, np.inf], np.float32), [len(_WAVEFORMS), max(map(len, _WAVEFORMS)) + 777])
  for row, waveform in zip(batch, _WAVEFORMS):
    row[: len(waveform)] = waveform / 32768
  np.savez(path, waveforms=batch, num_samples=np.array(list(map(len, _WAVEFORMS)), np.int32))


class FlagsTest(absltest.TestCase):
  def test_flags_without_what_they_are_for_are_refused(self):
    for flag, needed in (
      ('--utterances=5', '--measure=DATASET'),
      ('--data_dir=data', '--measure=DATASET or --calibrate=DATASET'),
      ('--add=x', '--measure=DATASET'),
    ):
      code, said = _Export('run', '--output=x', '--format=onnx', flag)
      self.assertEqual(code, 2)
      self.assertRegex(said, f'^export: {flag.partition("=")[0]}.*: expected {needed} with it\n$')


class ExportTest(graph_case.GraphCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = tempfile.mkdtemp()
    cls.addClassCleanup(shutil.rmtree, cls.folder)
    # Of the size at which the fusions are known to go wrong, see session_test.
    run_case.MakeRun(
      cls.folder + '/run',
      'asr.AdapterFinetune',
      'nowhere',
      'task.encoder.model_dim = 144',
      'task.encoder.num_heads = 4',
      'transducer.max_labels_per_frame = 2.0',
    )

    _WriteWaveforms(cls.folder + '/waveforms.npz')
    code, cls.said = _Export(cls.folder + '/run', f'--output={cls.folder}/model')
    assert code == 0, cls.said
    with open(f'{cls.folder}/model/{exporting.HOW_TO_CALL}', encoding='utf-8') as f:
      cls.how_to_call = f.read()
    code = '\n'.join(line[2:] for line in cls.how_to_call.splitlines() if line.startswith('  '))
    done = subprocess.run(
      [sys.executable, '-I', '-c', _LOAD, code],
      capture_output=True,
      text=True,
      cwd=cls.folder,
      check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    cls.found = json.loads(done.stdout.splitlines()[-1])

  def _Recognized(self, **kwargs):
    """What the run recognises, best first."""
    model = recognizer.Recognizer(load_run.Load(self.folder + '/run', **kwargs))
    return [hypotheses[0] for hypotheses in model.Recognize(_WAVEFORMS)]

  def _Exported(self, name):
    """(texts, scores) of an exported model in a session of this process."""
    with tf.Graph().as_default(), tf.Session() as sess, np.load(self.folder + '/waveforms.npz') as f:
      meta = tf.tf1.saved_model.load(sess, ['serve'], f'{self.folder}/{name}')
      signature = meta.signature_def['serving_default']
      feeds = {signature.inputs[key].name: f[key] for key in ('waveforms', 'num_samples')}
      texts, scores = sess.run([signature.outputs[key].name for key in ('texts', 'scores')], feeds)
      return [text.decode() for text in texts], scores

  def test_an_exported_model_gives_the_run_s_texts_without_this_package(self):
    found, expected = self.found, self._Recognized()
    self.assertEqual(self.found['imported'], [])
    self.assertEqual(found['texts'], [h.text for h in expected])
    np.testing.assert_allclose(found['scores'], [h.score for h in expected], rtol=1e-4)
    np.testing.assert_allclose(found['session_scores'], [h.score for h in expected], rtol=1e-4)
    self.assertLen(set(found['texts']), 4)
    with self.subTest('what it says'):
      size = float(
        re.search(r'model: ([\d.]+) MB, asr.AdapterFinetune, ckpt-00000003, adapter target', self.said).group(1)
      )
      self.assertAlmostEqual(size, exporting.SizeInBytes(self.folder + '/model') / 1e6, delta=0.02)
      self.assertRegex(
        self.said,
        r'real-time factor \d+\.\d{4} one utterance at a time, \d+\.\d{4} in a batch of 6: 60 s of '
        r'audio in utterances of 10 s, \d+ threads, TensorFlow 2\.',
      )
      self.assertIn(f'measured by: python -m tools.export {self.folder}/run', self.said)
    with self.subTest('what it needs'):
      self.assertLessEqual(len(self.how_to_call.splitlines()), 14)
      self.assertIn('adapter target', self.how_to_call)
      self.assertEqual(self.found['called'], 1)
    with self.subTest('a folder in use is not touched'):
      code, said = _Export(self.folder + '/run', f'--output={self.folder}/model')
      self.assertEqual(code, 2)
      self.assertRegex(said, '^export: .*model: exists; expected a new or an empty folder\n$')

  def test_the_adapter_is_the_one_that_was_named(self):
    os.makedirs(self.folder + '/plain')  # An empty folder will do.
    saved_model.Export(load_run.Load(self.folder + '/run', adapter='none'), self.folder + '/plain')
    plain, adapted = self._Recognized(adapter='none')[0], self._Recognized()[0]
    self.assertAlmostEqual(self._Exported('plain')[1][0], plain.score, delta=1e-3 * abs(plain.score))
    self.assertGreater(abs(plain.score - adapted.score), 1e-2 * abs(plain.score))

  def test_a_language_model_goes_with_the_exported_model(self):
    lm = self.folder + '/lm.npz'
    tokens = tokenizer.Tokenizer('params/tokenizers/graphemes_en.model')
    language_model_case.Write(lm, tokens, likely=_FUSED_WITH_LABEL)
    fused = f'--output={self.folder}/fused', f'--lm={lm}', '--lm_weight=3', '--beam_size=2', '--no-measure'
    code, said = _Export(self.folder + '/run', *fused)
    self.assertEqual(code, 0, said)
    expected = self._Recognized(how=search_options.Search(beam_size=2, lm=lm, lm_weight=3.0))
    os.remove(lm)
    texts, scores = self._Exported('fused')
    self.assertTrue(set(''.join(texts)) <= {'c'}, texts)
    self.assertEqual(texts, [h.text for h in expected])
    np.testing.assert_allclose(scores, [h.score for h in expected], rtol=1e-4)

  def test_a_run_that_cannot_be_restored_leaves_no_folder(self):
    run = load_run.Load(self.folder + '/run')
    run.params.encoder.num_layers = 2
    with self.assertRaisesRegex(errors.ConfigError, 'of another model: '):
      saved_model.Export(run, self.folder + '/broken')
    self.assertFalse(os.path.exists(self.folder + '/broken'))
    self.assertEqual(_Export(self.folder + '/absent', f'--output={self.folder}/broken')[0], 2)

  def test_a_model_that_does_not_run_is_an_error(self):
    os.makedirs(self.folder + '/nothing')
    with self.assertRaisesRegex(RuntimeError, 'SavedModel file does not exist'):
      exporting.Measure(self.folder + '/nothing')

  def test_operations_kept_apart_are_right_under_stock_options(self):
    features = np.random.RandomState(0).randn(8, 200, 80).astype(np.float32)
    for kind, num_layers in (('stack', 1), ('conv', 2)):
      with self.NewGraph():
        with self.EvalMode():
          p = conformer_encoder.ConformerEncoder.Params().Set(model_dim=144, num_layers=num_layers)
          p.num_bins = 80
          p.subsampling.kind = kind
          layer = self.Layer(p)
        encoded, _ = layer.FProp(layer.theta, tf.constant(features), tf.zeros([8, 200]))
        tf.identity(encoded, 'encoded')
        values = self.Eval({v.op.name: v for v in tf.global_variables()})
        meta = tf.tf1.train.export_meta_graph(collection_list=[tf.tf1.GraphKeys.GLOBAL_VARIABLES])

      def _Encode(config):
        with tf.Graph().as_default(), tf.Session(config=config) as sess:
          tf.tf1.train.import_meta_graph(meta)
          for v in tf.global_variables():
            v.load(values[v.op.name], sess)
          return sess.run('encoded:0')

      plain = tf.tf1.ConfigProto()
      plain.graph_options.rewrite_options.disable_meta_optimizer = True
      expected = _Encode(plain)
      saved_model.KeepApart(meta.graph_def)
      self.assertGreater(sum(node.op == 'Snapshot' for node in meta.graph_def.node), 25 * num_layers)
      np.testing.assert_allclose(_Encode(tf.tf1.ConfigProto()), expected, atol=1e-3)

  def test_texts_of_labels_are_the_tokenizer_s(self):
    tokens = tokenizer.Tokenizer('params/tokenizers/graphemes_en.model')
    rng = np.random.RandomState(0)
    labels = rng.randint(tokens.vocab_size, size=[40, 9]).astype(np.int32)
    lengths = rng.randint(10, size=[40]).astype(np.int32)
    texts = self.Eval(saved_model.TextOfLabels(tokens.surfaces, tf.constant(labels), tf.constant(lengths)))
    self.assertEqual(
      [t.decode() for t in texts], [tokens.DecodeIds(row[:n].tolist()) for row, n in zip(labels, lengths)]
    )


if __name__ == '__main__':
  absltest.main()
