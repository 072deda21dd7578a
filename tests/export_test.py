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

# Loads a model and recognises waveforms.npz; prints JSON.
_LOAD = """
import json, sys
import numpy as np
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
with np.load(sys.argv[2]) as f:
  found = model.signatures["serving_default"](
      waveforms=tf.constant(f["waveforms"]), num_samples=tf.constant(f["num_samples"]))
graph = tf.Graph()
with graph.as_default(), tf.compat.v1.Session() as sess, np.load(sys.argv[2]) as f:  # A stock session, too.
  meta = tf.compat.v1.saved_model.load(sess, ["serve"], sys.argv[1])
  signature = meta.signature_def["serving_default"]
  scores = sess.run(signature.outputs["scores"].name, {
      signature.inputs[name].name: f[name] for name in ("waveforms", "num_samples")})
print(json.dumps({
    "texts": [t.decode() for t in found["texts"].numpy()],
    "scores": found["scores"].numpy().tolist(),
    "session_scores": scores.tolist(),
    "imported": sorted({m.split(".")[0] for m in sys.modules} &
                       {"lingvo", "fm_lingvo", "params", "tools", "tensorflow_text", "sentencepiece"}),
}))
"""


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

  def _Export(self, *args, code=0):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
      found = export.Main(['export', *args])
    self.assertEqual(found, code, err.getvalue())
    return out.getvalue() + err.getvalue()

  def _Load(self, model, waveforms):
    """What a process with TensorFlow and NumPy alone recognises."""
    path = self.create_tempdir().full_path + '/waveforms.npz'
    shape = [len(waveforms), max(map(len, waveforms)) + 777]
    batch = np.resize(np.array([0.5, np.nan, np.inf], np.float32), shape)  # Padding holds anything.
    for row, waveform in zip(batch, waveforms):
      row[: len(waveform)] = waveform / 32768
    np.savez(path, waveforms=batch, num_samples=np.array(list(map(len, waveforms)), np.int32))
    done = subprocess.run(
      [sys.executable, '-I', '-c', _LOAD, model, path],
      capture_output=True,
      text=True,
      cwd=os.path.dirname(path),
      check=False,
    )
    self.assertEqual(done.returncode, 0, done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])

  def test_an_exported_model_gives_the_run_s_texts_without_this_package(self):
    waveforms = [tiny_data.Waveform(seconds, i) for i, seconds in enumerate((1.5, 3.0, 0.9, 2.2))]
    out = self._Export(self.folder + '/run', f'--output={self.folder}/model')
    found = self._Load(self.folder + '/model', waveforms)
    model = recognizer.Recognizer(load_run.Load(self.folder + '/run'))
    expected = [h for (h,) in model.Recognize(waveforms)]
    self.assertEqual(found['imported'], [])
    self.assertEqual(found['texts'], [h.text for h in expected])
    np.testing.assert_allclose(found['scores'], [h.score for h in expected], rtol=1e-4)
    np.testing.assert_allclose(found['session_scores'], [h.score for h in expected], rtol=1e-4)
    self.assertLen(set(found['texts']), 4)
    with self.subTest('what it says'):
      size = float(re.search(r'model: ([\d.]+) MB, asr.AdapterFinetune, ckpt-00000003, adapter target', out).group(1))
      self.assertAlmostEqual(size, exporting.SizeInBytes(self.folder + '/model') / 1e6, delta=0.02)
      self.assertRegex(
        out,
        r'real-time factor \d+\.\d{4} one utterance at a time, \d+\.\d{4} in a batch of 6: 60 s of '
        r'audio in utterances of 10 s, \d+ threads, TensorFlow 2\.',
      )
      self.assertIn(f'measured by: python -m tools.export {self.folder}/run', out)
    with self.subTest('what it needs'):
      with open(f'{self.folder}/model/{exporting.HOW_TO_CALL}', encoding='utf-8') as f:
        text = f.read()
      self.assertLessEqual(len(text.splitlines()), 14)
      self.assertIn('adapter target', text)
      code = [line[2:] for line in text.splitlines() if line.startswith('  ')]
      script = ['import numpy as np', 'waveforms, num_samples = np.zeros([1, 9000], np.float32), [9000]'] + code
      done = subprocess.run(
        [sys.executable, '-I', '-c', '\n'.join(script + ['print(len(texts))'])],
        capture_output=True,
        text=True,
        cwd=self.folder,
        check=False,
      )
      self.assertEqual(done.stdout, '1\n', done.stderr[-3000:])
    with self.subTest('a folder in use is not touched'):
      out = self._Export(self.folder + '/run', f'--output={self.folder}/model', code=2)
      self.assertRegex(out, '^export: .*model: exists; expected a new or an empty folder\n$')

  def test_the_adapter_is_the_one_that_was_named(self):
    waveforms = [tiny_data.Waveform(1.5, 0)]
    run = load_run.Load(self.folder + '/run', adapter='none')
    os.makedirs(self.folder + '/plain')  # An empty folder will do.
    saved_model.Export(run, self.folder + '/plain')
    found = self._Load(self.folder + '/plain', waveforms)
    ((plain,),) = recognizer.Recognizer(run).Recognize(waveforms)
    ((adapted,),) = recognizer.Recognizer(load_run.Load(self.folder + '/run')).Recognize(waveforms)
    self.assertAlmostEqual(found['scores'][0], plain.score, delta=1e-3 * abs(plain.score))
    self.assertGreater(abs(plain.score - adapted.score), 1e-2 * abs(plain.score))

  def test_a_language_model_goes_with_the_exported_model(self):
    waveforms = [tiny_data.Waveform(1.5, i) for i in range(2)]
    lm = self.folder + '/lm.npz'
    language_model_case.Write(lm, tokenizer.Tokenizer('params/tokenizers/graphemes_en.model'), likely=5)
    self._Export(
      self.folder + '/run',
      f'--output={self.folder}/fused',
      f'--lm={lm}',
      '--lm_weight=3',
      '--beam_size=2',
      '--no-measure',
    )
    os.remove(lm)
    found = self._Load(self.folder + '/fused', waveforms)
    self.assertEqual(found['imported'], [])
    self.assertTrue(set(''.join(found['texts'])) <= {'c'}, found['texts'])  # Label 5.
    np.testing.assert_allclose(found['session_scores'], found['scores'], rtol=1e-4)

  def test_a_run_that_cannot_be_restored_leaves_no_folder(self):
    run = load_run.Load(self.folder + '/run')
    run.params.encoder.num_layers = 2
    with self.assertRaisesRegex(errors.ConfigError, 'of another model: '):
      saved_model.Export(run, self.folder + '/broken')
    self.assertFalse(os.path.exists(self.folder + '/broken'))
    self._Export(self.folder + '/absent', f'--output={self.folder}/broken', code=2)

  def test_a_model_that_does_not_run_is_an_error(self):
    os.makedirs(self.folder + '/nothing')
    with self.assertRaisesRegex(RuntimeError, 'SavedModel file does not exist'):
      exporting.Measure(self.folder + '/nothing')

  def test_operations_kept_apart_are_right_under_stock_options(self):
    features = np.random.RandomState(0).randn(8, 200, 80).astype(np.float32)
    for kind in ('stack', 'conv'):
      with self.NewGraph():
        with self.EvalMode():
          p = conformer_encoder.ConformerEncoder.Params().Set(model_dim=144, num_layers=2)
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
      self.assertGreater(sum(node.op == 'Snapshot' for node in meta.graph_def.node), 50)
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
