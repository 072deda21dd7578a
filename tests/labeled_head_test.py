"""Heads with labels: what changes a loss, what does not, what is refused."""

from unittest import mock

import numpy as np

from fm_lingvo.data import tokenizer
from fm_lingvo.decoding import search
from fm_lingvo.heads import ctc_head
from fm_lingvo.heads import transducer_head
from fm_lingvo.losses import ctc_loss
from tests import graph_case
from tests import language_model_case
from tests.graph_case import absltest
from tests.graph_case import py_utils
from tests.graph_case import tf

GRAPHEMES = 'params/tokenizers/graphemes_en.model'


def _Transducer(**values):
  p = transducer_head.TransducerHead.Params().Set(
    name='head', input_dim=12, num_bins=8, tokenizer_file=GRAPHEMES, random_seed=1
  )
  p.prediction.Set(embedding_dim=6, hidden_dim=8)
  p.joint.joint_dim = 8
  return p.Set(**values)


def _Ctc(**values):
  return (
    ctc_head.CtcHead.Params()
    .Set(name='head', input_dim=12, num_bins=8, tokenizer_file=GRAPHEMES, random_seed=1)
    .Set(**values)
  )


def _Encoded(rows=3, frames=9, padded=0, seed=0):
  """Encoded frames [B, N, D] and paddings [B, N]; garbage in the padding."""
  x = np.random.RandomState(seed).randn(rows, frames, 12).astype(np.float32)
  x = np.pad(x, [[0, 0], [0, padded], [0, 0]], constant_values=7.0)
  paddings = np.zeros([rows, frames + padded], np.float32)
  paddings[:, frames:] = 1
  return tf.constant(x), tf.constant(paddings)


def _Batch(labels, weights=None, padded=0):
  width = max(map(len, labels)) + padded
  return py_utils.NestedMap(
    labels=tf.constant([x + [0] * (width - len(x)) for x in labels]),
    label_lengths=tf.constant([len(x) for x in labels]),
    weights=tf.constant(weights or [1.0] * len(labels)),
  )


class LabeledHeadTest(graph_case.GraphCase):
  def _Loss(self, p, encoded, batch):
    with self.NewGraph():
      head = p.Instantiate()
      metrics, _ = head.Loss(head.theta, *encoded(), None, batch())
      return self.Eval({k: v for k, v in metrics.items()})

  def test_loss_does_not_depend_on_padding_or_on_rows_of_padding(self):
    labels = [[3, 4], [5], [6, 7, 8]]
    for p in (_Transducer(), _Ctc()):
      with self.subTest(p.cls.__name__):
        plain = self._Loss(p, _Encoded, lambda: _Batch(labels))
        padded = self._Loss(p, lambda: _Encoded(padded=4), lambda: _Batch(labels, padded=3))
        fewer = self._Loss(p, _Encoded, lambda: _Batch(labels, [1.0, 1.0, 0.0]))
        two = self._Loss(p, lambda: tuple(x[:2] for x in _Encoded()), lambda: _Batch(labels[:2]))
        for a, b in ((plain, padded), (fewer, two)):
          for name, (value, weight) in a.items():
            np.testing.assert_allclose(value, b[name][0], rtol=1e-5, err_msg=name)
            self.assertEqual(weight, b[name][1], name)

  def test_an_empty_batch_has_loss_0_with_weight_0(self):
    for p in (_Transducer(), _Ctc()):
      value, weight = self._Loss(p, _Encoded, lambda: _Batch([[3], [4], [5]], [0.0, 0.0, 0.0]))['loss']
      self.assertEqual((value, weight), (0.0, 0.0))

  def test_unknown_labels_are_counted(self):
    unknown = _Transducer().Instantiate().tokenizer.unk_id
    share, labels = self._Loss(_Transducer(), _Encoded, lambda: _Batch([[3, unknown], [4], [5]]))['unknown_labels']
    self.assertAlmostEqual(share, 0.25, places=6)
    self.assertEqual(labels, 4)

  def test_padding_changes_no_transcript(self):
    for size in (1, 3):
      found = []
      for padded in (0, 5):
        with self.NewGraph(), self.EvalMode():
          head = _Transducer(beam_size=size).Instantiate()
          found.append(self.Eval(head.Decode(head.theta, *_Encoded(padded=padded))))
      self.assertEqual(found[0].labels.shape[1], size)
      np.testing.assert_array_equal(found[0].lengths, found[1].lengths)
      width = min(x.labels.shape[2] for x in found)
      np.testing.assert_array_equal(found[0].labels[..., :width], found[1].labels[..., :width])

  def test_no_utterance_has_more_labels_than_there_is_place_for(self):
    # 0.15 * 100 is 15, and in float32 a little more, whose ceiling is 16.
    with self.EvalMode():
      head = _Transducer(max_labels_per_frame=0.15).Instantiate()
      found = head.Decode(head.theta, *_Encoded(rows=1, frames=100))
      self.Eval(found.lengths)  # Initialises the variables.
      bias = head.joint.vars.b
      bias.load(np.where(np.arange(bias.shape[0]), 0.0, -50.0), self._session)  # No blank.
      found = self.Eval(found)
    self.assertEqual(found.labels.shape[2], 15)
    self.assertEqual(found.lengths.tolist(), [[15]])

  def test_without_a_limit_of_its_own_a_label_list_ends_with_the_symbols_of_its_frames(self):
    with self.EvalMode():
      head = _Transducer(max_labels_per_frame=float('inf'), max_symbols_per_frame=2).Instantiate()
      found = self.Eval(head.Decode(head.theta, *_Encoded(rows=1, frames=6)))
    self.assertEqual(found.labels.shape[2], 12)

  def test_a_language_model_decides_where_the_transducer_does_not(self):
    path = self.create_tempfile('five.npz').full_path
    language_model_case.Write(path, tokenizer.Tokenizer(GRAPHEMES), likely=5)
    with self.EvalMode():
      head = _Transducer(lm_file=path, lm_weight=1.0, lm_label_bonus=0.0).Instantiate()
      found = self.Eval(head.Decode(head.theta, *_Encoded()))
    self.assertTrue(set(found.labels.ravel()) <= {0, 5})
    self.assertGreater(found.scores.min(), 0.1 * search.NEVER)

  def test_fusion_compiles_under_xla(self):
    path = self.create_tempfile('lm.npz').full_path
    language_model_case.Write(path, tokenizer.Tokenizer(GRAPHEMES))
    with self.EvalMode():
      head = _Transducer(lm_file=path, beam_size=3, ilm_weight=0.3).Instantiate()
      encoded = _Encoded()
      plain = head.Decode(head.theta, *encoded)
      compiled = tf.function(lambda: head.Decode(head.theta, *encoded), jit_compile=True, autograph=False)()
      plain, compiled = self.Eval(plain, compiled)
    np.testing.assert_array_equal(plain.labels, compiled.labels)
    np.testing.assert_allclose(plain.scores, compiled.scores, rtol=1e-4)
    self.assertGreater(plain.lengths.max(), 0)

  def test_logits_of_ctc_are_sums_in_float32_of_products_in_bfloat16(self):
    head = _Ctc(fprop_dtype=tf.bfloat16).Instantiate()
    with mock.patch.object(ctc_loss, 'CtcLoss', wraps=ctc_loss.CtcLoss) as loss:
      head.Loss(head.theta, tf.ones([3, 9, 12]), tf.zeros([3, 9]), None, _Batch([[3], [4], [5]]))
    logits = loss.call_args[0][0]
    self.Eval(logits)  # Initialises the variables.
    w, b = head.vars.proj.w, head.vars.proj.b
    self.assertEqual([v.op.name for v in (w, b)], ['head/proj/w/var', 'head/proj/b/var'])
    self.assertLen(head.vars.proj.Flatten(), 2)
    # 1 + 2 ** -9 is 1 in bfloat16.
    graph_case.Load(self._session, {w: np.full(w.shape, 1 / 12), b: np.full(b.shape, 2.0**-9)})
    found = self.Eval(logits)
    self.assertEqual(found.dtype, np.float32)
    graph_case.Load(self._session, {b: np.zeros(b.shape)})
    np.testing.assert_array_equal(found - self.Eval(logits), 2.0**-9)

  def test_spec_augment_is_for_training_only_and_spares_padding(self):
    features = tf.constant(np.random.RandomState(0).randn(2, 200, 8).astype(np.float32))
    paddings = tf.concat([tf.zeros([2, 150]), tf.ones([2, 50])], axis=1)
    features *= 1.0 - paddings[..., tf.newaxis]
    head = _Transducer().Instantiate()
    masked = head.Corrupt(head.theta, features, paddings).features
    with self.EvalMode():
      same = head.Corrupt(head.theta, features, paddings).features
    plain, masked, same = self.Eval(features, masked, same)
    np.testing.assert_array_equal(plain, same)
    self.assertFalse(masked[:, 150:].any())
    changed = masked != plain
    self.assertTrue(changed.any())
    self.assertLess(np.abs(masked[changed]).max(), 0.6)  # Noise of 0.1.

  def test_unusable_params_are_one_line(self):
    for p, message in (
      (_Transducer(beam_size=0), 'head.beam_size = 0: expected >= 1'),
      (_Transducer(max_symbols_per_frame=0), 'max_symbols_per_frame = 0: expected'),
      (_Transducer(max_labels_per_frame=0.0), 'per_frame = 0.0: expected > 0'),
      (_Transducer(lm_weight=-0.1), 'head.lm_weight = -0.1: expected a finite number >= 0'),
      (_Transducer(lm_label_bonus=float('nan')), 'head.lm_label_bonus = nan: expected a finite number >= 0'),
      (_Transducer(ilm_weight=-0.1), 'head.ilm_weight = -0.1: expected a finite number >= 0'),
      (_Transducer(lm_label_bonus=-1.0), 'head.lm_label_bonus = -1.0: expected a finite number >= 0'),
      (_Transducer(lm_file='no.npz'), 'no.npz: no such language model'),
      (_Transducer(tokenizer_file=''), 'tokenizer_file is empty: expected'),
      (_Ctc(tokenizer_file='no.model'), 'no.model: no such tokenizer'),
    ):
      with self.assertRaisesRegex(ValueError, message) as e:
        p.Instantiate()
      self.assertNotIn('\n', str(e.exception))

  def test_another_tokenizer_s_record_is_refused(self):
    head = _Transducer().Instantiate()
    record = head.tokenizer.record
    head.CheckRecord(record, 'ckpt')
    with self.assertRaisesRegex(ValueError, 'ckpt: made with another tokenizer'):
      head.CheckRecord([record[0] + 1, *record[1:]], 'ckpt')


if __name__ == '__main__':
  absltest.main()
