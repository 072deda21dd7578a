"""Properties of shards, input, masks, the Gin bridge and the transducer loss, with inputs that hypothesis chooses."""

import itertools
import os
import re
import tempfile

import hypothesis
import numpy as np
from absl.testing import absltest
from hypothesis import strategies as st
from lingvo import compat as tf

from fm_lingvo.config import gin_config
from fm_lingvo.data import hydra_input as input_lib
from fm_lingvo.data import shard_integrity
from fm_lingvo.layers import span_masking
from fm_lingvo.losses import transducer_loss
from tests import graph_case
from tests import tiny_data

# The same examples each time, without a limit on time: other work on the machine is no failure.
_SETTINGS = dict(deadline=None, derandomize=True, database=None, suppress_health_check=list(hypothesis.HealthCheck))


def _Write(path, records):
  with tf.io.TFRecordWriter(path) as writer:
    for record in records:
      writer.write(record)


class ShardTest(absltest.TestCase):
  @hypothesis.settings(max_examples=200, **_SETTINGS)
  @hypothesis.given(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=6), st.data())
  def test_any_flipped_bit_is_found_and_what_is_called_good_is_what_was_written(self, records, data):
    with tempfile.TemporaryDirectory() as folder:
      path = os.path.join(folder, 'shard')
      _Write(path, records)
      self.assertIsNone(shard_integrity.Scan(path, len(records)))
      with open(path, 'r+b') as f:
        content = bytearray(f.read())
        bit = data.draw(st.integers(0, 8 * len(content) - 1))
        content[bit // 8] ^= 1 << bit % 8
        f.seek(0)
        f.write(content)
      shard = shard_integrity.Scan(path, len(records))
      good = [bytes(content[start : start + length]) for start, length in shard.good]
      self.assertEqual(len(good) + shard.lost, len(records))
      self.assertGreaterEqual(shard.lost, 1)
      rest = iter(records)
      self.assertTrue(all(record in rest for record in good))  # In their order.

  @hypothesis.settings(max_examples=100, **_SETTINGS)
  @hypothesis.given(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=6), st.data())
  def test_a_shard_that_is_cut_off_keeps_the_records_before(self, records, data):
    with tempfile.TemporaryDirectory() as folder:
      path = os.path.join(folder, 'shard')
      _Write(path, records)
      ends = np.cumsum([16 + len(r) for r in records])
      size = data.draw(st.integers(0, int(ends[-1]) - 1))
      os.truncate(path, size)
      shard = shard_integrity.Scan(path, len(records))
      self.assertLen(shard.good, int(np.sum(ends <= size)))
      self.assertEqual(shard.lost, len(records) - len(shard.good))


class InputTest(graph_case.GraphCase):
  def _Ids(self, pattern, ranges, batch_size):
    """For each (start, end): utt_ids of these batches, of one graph whose input is initialised again."""
    p = input_lib.HydraInput.Params().Set(random_seed=3)
    input_lib.AddStream(p, 'unlabeled', input_lib.StreamParams()).Set(
      file_pattern=pattern, bucket_upper_bound_seconds=[1.75, 4.0], batch_size=batch_size, shuffle_buffer_size=4
    )
    with self.NewGraph():
      generator = p.Instantiate()
      batch = generator.GetPreprocessedInputBatch().unlabeled
      fetched = [batch.utt_ids, batch.weights, batch.dropped_damaged]
      with tf.Session() as sess:
        for start, end in ranges:
          generator.start_step = start
          generator.Initialize(sess)
          yield [[x.tolist() for x in sess.run(fetched)] for _ in range(start, end)]

  @hypothesis.settings(max_examples=5, **_SETTINGS)
  @hypothesis.given(st.integers(2, 9), st.integers(1, 3), st.integers(1, 3), st.integers(0, 12), st.booleans())
  def test_a_run_resumed_at_any_step_sees_the_batches_that_it_would_have(
    self, utterances, shards, batch_size, start, damaged
  ):
    shard_integrity.Forget()
    self.addCleanup(shard_integrity.Forget)
    with tempfile.TemporaryDirectory() as folder:
      for i in range(shards):
        tiny_data.Write(os.path.join(folder, f'{i}.tfrecord'), utterances, prefix=f'{i}')
      if damaged:
        path = os.path.join(folder, '0.tfrecord')
        with open(path, 'r+b') as f:
          f.seek(200)
          f.write(b'damage')
        shard_integrity.ScanAll([f'{folder}/*'], [path])
      whole, resumed = self._Ids(f'{folder}/*', [(0, start + 3), (start, start + 3)], batch_size)
      self.assertEqual(resumed, whole[start:])


class MaskTest(graph_case.GraphCase):
  @hypothesis.settings(max_examples=15, **_SETTINGS)
  @hypothesis.given(st.lists(st.integers(0, 30), min_size=1, max_size=4), st.floats(0, 1), st.integers(1, 8))
  def test_padding_is_never_masked_and_nothing_else_is_changed(self, lengths, prob, span):
    frames = max(1, max(lengths))
    with self.NewGraph():
      layer = self.Layer(
        span_masking.SpanMasker.Params(), mask_start_prob=prob, mask_span_ms=10.0 * span, random_seed=1
      )
      features = np.random.RandomState(0).randn(len(lengths), frames, 2).astype(np.float32)
      paddings = (np.arange(frames) >= np.array(lengths)[:, None]).astype(np.float32)
      out, mask = self.Eval(*layer.FProp(layer.theta, tf.constant(features), tf.constant(paddings)))
    self.assertContainsSubset(set(mask.ravel().tolist()), {0.0, 1.0})
    self.assertEqual((mask * paddings).sum(), 0)
    np.testing.assert_array_equal(out[mask == 0], features[mask == 0])
    if prob == 1:
      np.testing.assert_array_equal(mask, 1 - paddings)
    if prob == 0:
      self.assertEqual(mask.sum(), 0)
    for row, length in zip(mask, lengths):  # A masked stretch is a span at least, but at the end.
      stretches = ''.join('1' if x else '0' for x in row[:length]).split('0')
      self.assertTrue(all(len(s) >= span for s in stretches[:-1] if s))


class GinTest(absltest.TestCase):
  def tearDown(self):
    super().tearDown()
    gin_config.Reset()

  @hypothesis.settings(max_examples=20, **_SETTINGS)
  @hypothesis.given(
    st.text(st.characters(codec='utf-8', exclude_characters='\0'), max_size=20),
    st.integers(1, 10**6),
    st.floats(1e-6, 1e6),
    st.booleans(),
  )
  def test_config_gin_replays_any_value(self, text, steps, rate, scoped):
    scope = 'Train/' if scoped else ''
    bindings = [
      f'BestRqPretrain.data_dir = {text!r}',
      f'BestRqPretrain.max_steps = {steps}',
      f'task.train.learner.learning_rate = {rate!r}',
      f'{scope}input.streams.unlabeled.domain_regex = {text!r}',
    ]
    gin_config.Configure('asr.BestRqPretrain', (), bindings)
    first = gin_config.ConfigText('asr.BestRqPretrain')
    set_by_user = {path: value for path, value, _ in gin_config.Overrides()}
    with tempfile.TemporaryDirectory() as folder:
      path = os.path.join(folder, 'config.gin')
      with open(path, 'w', encoding='utf-8') as f:
        f.write(first)
      gin_config.Configure('asr.BestRqPretrain', [path])
    self.assertEqual(self._WithoutPlaces(gin_config.ConfigText('asr.BestRqPretrain')), self._WithoutPlaces(first))
    self.assertEqual({path: value for path, value, _ in gin_config.Overrides()}, set_by_user)

  def _WithoutPlaces(self, text):
    return re.sub(r'(?m)  # <- .*$', '', text)

  @hypothesis.settings(max_examples=200, **_SETTINGS)
  @hypothesis.given(st.text(max_size=40))
  def test_any_text_of_a_binding_is_one_line_of_error_or_bound(self, text):
    try:
      arguments = gin_config.RewriteGinArgs([f'--gin.{text}'])
      self.assertLen(arguments, 1)
      gin_config.Configure('asr.BestRqPretrain', (), [arguments[0].partition('=')[2]])
    except gin_config.GinError as e:
      self.assertLen(str(e).splitlines() or [''], 1, repr(text))


class TransducerLossTest(graph_case.GraphCase):
  @hypothesis.settings(max_examples=20, **_SETTINGS)
  @hypothesis.given(st.integers(1, 4), st.integers(0, 3), st.integers(0, 2**31 - 1), st.floats(0.1, 20.0))
  def test_the_loss_is_the_sum_over_all_alignments_whatever_lies_behind(self, frames, width, seed, scale):
    rng = np.random.RandomState(seed)
    vocab, more = 4, rng.randint(0, 3, 2)
    logits = (scale * rng.randn(1, frames + more[0], width + more[1] + 1, vocab)).astype(np.float32)
    labels = rng.randint(1, vocab, [1, width + more[1]]).astype(np.int32)
    with self.NewGraph():
      loss = self.Eval(
        transducer_loss.TransducerLoss(
          tf.constant(logits), tf.constant(labels), tf.constant([frames]), tf.constant([width])
        )
      )[0]
    x = logits[0, :frames, : width + 1].astype(np.float64)
    log_probs = x - np.logaddexp.reduce(x, -1, keepdims=True)
    self.assertGreater(loss, -1e-4)
    np.testing.assert_allclose(loss, self._Sum(log_probs, labels[0]), rtol=1e-4, atol=1e-3)

  def _Sum(self, log_probs, labels):
    """-log of the sum over alignments: each is the choice of the steps, all but the last, that emit a label."""
    frames, width = log_probs.shape[0], log_probs.shape[1] - 1
    scores = []
    for chosen in itertools.combinations(range(frames + width - 1), width):
      t = u = 0
      score = 0.0
      for step in range(frames + width - 1):
        if step in chosen:
          score += log_probs[t, u, labels[u]]
          u += 1
        else:
          score += log_probs[t, u, 0]
          t += 1
      scores.append(score + log_probs[t, u, 0])
    return -np.logaddexp.reduce(scores)


if __name__ == '__main__':
  absltest.main()
