"""Properties of span masking."""

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf

from fm_lingvo.layers import span_masking
from tests import graph_case


class SpanMaskerTest(graph_case.GraphCase):
  def _Mask(self, shape, lengths=None, **overrides):
    """(masked features, mask, layer) of constant features 7."""
    layer = self.Layer(span_masking.SpanMasker.Params(), **overrides)
    batch, time = shape
    lengths = np.asarray([time] * batch if lengths is None else lengths)
    paddings = (np.arange(time)[None] >= lengths[:, None]).astype(np.float32)
    features = tf.fill([batch, time, 5], 7.0)
    out, mask = layer.FProp(layer.theta, features, tf.constant(paddings))
    return out, mask, layer

  def test_coverage_is_that_of_overlapping_spans(self):
    _, mask, layer = self._Mask((64, 2000))
    share = self.Eval(mask)[:, layer.span_frames :].mean()
    self.assertEqual(layer.span_frames, 40)
    self.assertAlmostEqual(share, 1 - 0.99**40, delta=0.02)

  def test_masked_runs_are_at_least_one_span_long(self):
    _, mask, layer = self._Mask((16, 1000), mask_span_ms=200.0)
    for row in self.Eval(mask):
      edges = np.flatnonzero(np.diff(np.pad(row, 1)))
      for start, end in zip(edges[::2], edges[1::2]):
        if end < 1000:  # The end of the utterance may cut a span.
          self.assertGreaterEqual(end - start, layer.span_frames)

  def test_utterances_are_masked_independently(self):
    _, mask, _ = self._Mask((8, 400))
    rows = self.Eval(mask)
    self.assertLen({row.tobytes() for row in rows}, 8)

  def test_noise_is_fresh_on_every_masked_frame_and_only_there(self):
    out, mask, _ = self._Mask((8, 400))
    out, mask = self.Eval(out, mask)
    noise = out[mask > 0]
    self.assertLen(np.unique(noise[:, 0]), len(noise))
    self.assertAlmostEqual(noise.std(), 0.1, delta=0.01)
    self.assertAlmostEqual(noise.mean(), 0.0, delta=0.01)
    np.testing.assert_array_equal(out[mask == 0], 7.0)

  def test_padding_is_never_masked(self):
    _, mask, _ = self._Mask((4, 300), lengths=[300, 100, 10, 0], mask_start_prob=0.5)
    mask = self.Eval(mask)
    for row, length in zip(mask, [300, 100, 10, 0]):
      self.assertEqual(row[length:].sum(), 0)

  def test_mask_changes_with_each_training_step(self):
    _, mask, _ = self._Mask((4, 300))
    step = graph_case.py_utils.GetOrCreateGlobalStepVar()
    first = self.Eval(mask)
    self.Eval(tf.assign_add(step, 1))
    self.assertFalse(np.array_equal(first, self.Eval(mask)))

  def test_evaluation_masks_do_not_depend_on_the_step(self):
    with self.EvalMode():
      out, mask, _ = self._Mask((4, 300))
    step = graph_case.py_utils.GetOrCreateGlobalStepVar()
    first = self.Eval(out, mask)
    self.Eval(tf.assign_add(step, 100))
    for a, b in zip(first, self.Eval(out, mask)):
      np.testing.assert_array_equal(a, b)

  def test_span_longer_than_the_utterance(self):
    _, mask, _ = self._Mask((4, 20), mask_start_prob=1.0)
    np.testing.assert_array_equal(self.Eval(mask), 1.0)

  def test_no_start_masks_nothing(self):
    out, mask, _ = self._Mask((4, 50), mask_start_prob=0.0)
    out, mask = self.Eval(out, mask)
    self.assertEqual(mask.sum(), 0)
    np.testing.assert_array_equal(out, 7.0)

  def test_errors_name_field_value_and_range(self):
    for field, value, expected in (
      ('mask_start_prob', 1.5, r'mask_start_prob = 1.5: expected a probability'),
      ('mask_span_ms', 5.0, r'mask_span_ms = 5.0: expected at least one frame'),
      ('noise_stddev', -1.0, r'noise_stddev = -1.0: expected >= 0'),
    ):
      with self.subTest(field), self.assertRaisesRegex(ValueError, expected):
        self.Layer(span_masking.SpanMasker.Params(), **{field: value})


if __name__ == '__main__':
  absltest.main()
