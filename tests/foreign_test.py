"""An encoder and heads from outside the library train, are evaluated, start other runs, recognise and are exported.

Builds graphs of a tiny model, once for each of these uses: what is shown is that they ask nothing of a class that
the base classes do not have.
"""

import contextlib
import io
import os
import shutil
import tempfile

import numpy as np
from lingvo import model_registry

from fm_lingvo import errors
from fm_lingvo.checkpoints import reader
from fm_lingvo.config import gin_config
from fm_lingvo.evaluation import evaluator
from fm_lingvo.inference import load_run
from fm_lingvo.inference import recognizer
from fm_lingvo.inference import saved_model
from fm_lingvo.training import data_statistics
from fm_lingvo.training import train_loop
from tests import graph_case
from tests import run_case
from tests.foreign import experiment  # noqa: F401 Registers it.

tf = graph_case.tf
_MODEL = 'tests.foreign.experiment.Foreign'


def setUpModule():
  """A run of two steps, made once."""
  global _folder, _run, _latest, _said
  _folder = tempfile.mkdtemp()
  run_case.WriteData(_folder + '/data', 3)
  _run = _folder + '/run'
  _latest, _said = _Train(_run)


def tearDownModule():
  shutil.rmtree(_folder)


def _Configure(*bindings):
  knobs = {'data_dir': _folder + '/data', 'max_seconds': 2.0, 'batch_seconds': 4.0, 'augment': False, 'max_steps': 2}
  gin_config.Configure(_MODEL, [], [*(f'Foreign.{name} = {value!r}' for name, value in knobs.items()), *bindings])


def _Train(logdir, *bindings):
  """Trains two steps in this process; returns (last metrics, what was printed)."""
  _Configure(*bindings)
  out = io.StringIO()
  try:
    params = {name: model_registry.GetParams(_MODEL, name) for name in ('Train', 'DevTarget')}
    with contextlib.redirect_stdout(out):
      runner = train_loop.LocalRunner(
        params['Train'], {'DevTarget': params['DevTarget']}, logdir, gin_config.ConfigText(_MODEL)
      )
      return runner.Start(), out.getvalue()
  finally:
    gin_config.Reset()


class ForeignTest(graph_case.GraphCase):
  def _Params(self, *bindings):
    self.addCleanup(gin_config.Reset)
    _Configure(*bindings)
    return model_registry.GetParams(_MODEL, 'Train')

  def test_trains_and_evaluates(self):
    for dataset in ('train', 'DevTarget'):
      for name in ('loss', 'labeled/loss', 'loudness/loss'):
        self.assertTrue(np.isfinite(_latest[dataset][name]), name)
    self.assertLessEqual(_latest['DevTarget']['labeled/wer'], 1.0)
    self.assertNotIn('loudness/wer', _latest['DevTarget'])
    self.assertRegex(_said, r'\nencoder +[\d,]+ ')
    self.assertTrue(os.path.exists(_run + '/tokenizer_bag.model'))

  def test_a_head_fits_before_the_first_step_and_once(self):
    self.assertIn('labeled: frames of an utterance fitted on 2 batches of labeled', _said)
    value = tf.train.load_checkpoint(_run + '/train').get_tensor('task/bag/frames/var')
    self.assertGreater(value, 100)  # Of recordings of 1.5 s and more.
    with self.assertRaisesRegex(errors.ConfigError, '^task.heads.bag.frames: only a local run fits it'):
      data_statistics.CheckNothingToFit(self._Params().task)

  def test_another_run_starts_from_it(self):
    no_evaluation = [f'task.train.{name} = []' for name in ('eval_datasets', 'final_eval_datasets')]
    _, said = _Train(_folder + '/second', f'Foreign.init_from = {_run!r}', *no_evaluation)
    self.assertRegex(said, r'started from .*/run/train/ckpt-00000002: bag \(.*encoder \(.*loudness \(')
    self.assertNotIn('fitted on', said)

  def test_another_tokenizer_is_refused(self):
    other = 'params/tokenizers/wordpieces_en_1024.model'
    with self.assertRaisesRegex(errors.ConfigError, 'made with another tokenizer'):
      _Train(_folder + '/third', f'Foreign.init_from = {_run!r}', f'Foreign.tokenizer = {other!r}')

  def test_recognition_evaluation_and_export_agree(self):
    run = load_run.Load(_run)
    self.assertEqual((run.head, run.adapter), ('bag', 'none'))
    audio = run_case.Audio(_folder + '/data')
    found = [best for (best,) in recognizer.Recognizer(run).Recognize(list(audio.values()))]
    self.assertNotEmpty(found[0].text)
    self.assertLessEqual(found[0].words[0].end, 0.02)  # An encoded frame is 20 ms, not the Conformer's 40.
    _Configure()
    self.addCleanup(gin_config.Reset)
    evaluation = evaluator.Evaluator(model_registry.GetParams(_MODEL, 'TestTarget'))
    _, _, rows = evaluation.Run(evaluation.ReadWeights(reader.Checkpoint(_run)))
    self.assertEqual({row['utt_id']: row['hypothesis'] for row in rows}, dict(zip(audio, (f.text for f in found))))
    saved_model.Export(run, _folder + '/exported')
    self.assertEqual(self._Exported(list(audio.values())), [f.text for f in found])

  def _Exported(self, waveforms):
    """What the exported model recognises."""
    longest = max(map(len, waveforms))
    batch = np.stack([np.pad(w, [0, longest - len(w)]) for w in waveforms]) / np.float32(32768)
    with tf.Graph().as_default(), tf.Session() as sess:
      meta = tf.tf1.saved_model.load(sess, ['serve'], _folder + '/exported')
      signature = meta.signature_def['serving_default']
      feed = {'waveforms': batch, 'num_samples': [len(w) for w in waveforms]}
      texts = sess.run(signature.outputs['texts'].name, {signature.inputs[k].name: v for k, v in feed.items()})
    return [text.decode() for text in texts]

  def test_batches_are_padded_to_its_frames(self):
    p = self._Params()
    task = p.task.Set(input=p.input).Instantiate()
    self.assertEqual(task.params.input.pad_multiple_samples, 320)
    for padding, ok in ((640, True), (480, False)):
      p = self._Params(f'input.pad_multiple_samples = {padding}')
      p.task.input = p.input
      with self.NewGraph():
        if ok:
          self.assertEqual(p.task.Instantiate().params.input.pad_multiple_samples, padding)
        else:
          with self.assertRaisesRegex(errors.ConfigError, 'pad_multiple_samples = 480: expected .* multiple of 320'):
            p.task.Instantiate()

  def test_what_it_lacks_is_said_in_one_line(self):
    with self.assertRaisesRegex(errors.GinError, 'Foreign.streaming = True: expected False: the encoder has no param'):
      self._Params('Foreign.streaming = True')
    encoder = self._Params().task.encoder
    with self.assertRaisesRegex(errors.ConfigError, '^adapters target: PoolEncoder has no adapters'):
      encoder.cls.UseAdapter(encoder, 'target', 'after_block', 32)
    with self.assertRaisesRegex(errors.ConfigError, "no adapters called 'target'; expected one of none"):
      load_run.Load(_run, adapter='target')
    layer = encoder.Set(name='encoder', num_bins=8).Instantiate()
    for stream in (lambda: layer.zero_state(1), lambda: layer.StreamStep(layer.theta, None, None, None)):
      with self.assertRaisesRegex(errors.ConfigError, '^encoder: PoolEncoder does not stream$'):
        stream()


if __name__ == '__main__':
  graph_case.absltest.main()
