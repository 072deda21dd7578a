"""Properties of metric windows, the metrics file, progress lines and summaries."""

import io
import os
import time

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.run_files import metrics_log
from fm_lingvo.run_files import progress
from fm_lingvo.run_files import tensorboard
from fm_lingvo.utils import files as file_system
from tests import graph_case  # noqa: F401 Sets up TensorFlow.


def _Counts(samples, codes, dropped=0):
  counts = np.bincount(codes, minlength=4).astype(np.float32)[None, None]
  return {
    'a/code_counts': counts,
    'a/masked_code_counts': counts,
    's/num_samples': np.array(samples),
    's/weights': np.ones(len(samples)),
    's/dropped': np.full(len(samples), dropped),
    's/dropped_too_long': np.full(len(samples), dropped),
  }


class AggregateTest(absltest.TestCase):
  def test_means_are_weighted(self):
    values = metrics_log.Aggregate([{'loss': (1.0, 30.0)}, {'loss': (4.0, 10.0)}], [])
    self.assertAlmostEqual(values['loss'], (30 + 40) / 40)

  def test_a_metric_without_weight_is_left_out(self):
    self.assertEmpty(metrics_log.Aggregate([{'loss': (0.0, 0.0)}], []))

  def test_code_statistics_come_from_summed_counts(self):
    values = metrics_log.Aggregate([{'loss': (1.0, 1.0)}] * 2, [_Counts([160], [0, 0]), _Counts([160], [1, 1])])
    self.assertAlmostEqual(values['a/code_perplexity'], 2.0)
    self.assertAlmostEqual(values['a/majority_accuracy'], 0.5)

  def test_audio_and_examples_add_up_and_drops_are_the_newest_count(self):
    values = metrics_log.Aggregate(
      [{'loss': (1.0, 1.0)}] * 2, [_Counts([16000, 8000], [0], dropped=3), _Counts([8000], [0], dropped=5)]
    )
    self.assertAlmostEqual(values['s/audio_seconds'], 2.0)
    self.assertEqual(values['s/examples'], 3)
    self.assertEqual(values['s/dropped'], 5)
    self.assertEqual(values['s/dropped_too_long'], 5)

  def test_learner_metrics_get_public_names(self):
    values = metrics_log.Aggregate(
      [
        {
          'loss': (1.0, 1.0),
          'grad_norm/all/loss': (2.0, 1.0),
          'learning_rate/loss': (3.0, 1.0),
          'num_samples_in_batch': (8, 1.0),
          'lr_schedule/loss': (0.1, 1.0),
        }
      ],
      [],
    )
    self.assertEqual(values, {'loss': 1.0, 'grad_norm': 2.0, 'learning_rate': 3.0})

  def test_what_counts_nothing_cannot_spoil_an_average(self):
    nothing = {'a/x': (float('nan'), 0.0)}
    self.assertEqual(metrics_log.Aggregate([nothing, {'a/x': (2.0, 3.0)}], []), {'a/x': 2.0})
    self.assertEqual(metrics_log.Aggregate([nothing], []), {})


class WindowTest(absltest.TestCase):
  def test_a_step_that_nothing_was_masked_in_is_no_error(self):
    window = metrics_log.Window()
    window.Add({'loss': (0.0, 0.0)}, _Counts([16000], [0]))
    self.assertNotIn('loss', window.Brief())
    window.Add({'loss': (2.0, 1.0)}, _Counts([16000], [0]))
    values = window.Flush()
    self.assertEqual(values['loss'], 2.0)
    self.assertGreater(values['throughput/audio_seconds_per_second'], 0)

  def test_dropped_examples_are_named_with_their_reason_on_the_terminal(self):
    window = metrics_log.Window()
    window.Add({'loss': (1.0, 1.0)}, _Counts([16000], [0]))
    self.assertNotIn('s/dropped', window.Brief())
    window.Add({'loss': (1.0, 1.0)}, _Counts([16000], [0], dropped=12345))
    brief = window.Brief()
    self.assertEqual((brief.get('s/dropped'), brief['s/dropped_too_long']), (None, 12345))
    self.assertEqual(metrics_log.Dropped({'text/dropped': 2.0, 'loss': 1.0}), {'text/dropped': 2})
    self.assertIn('s/dropped_too_long 12345', progress.Format(brief))

  def test_text_is_counted_in_labels(self):
    window = metrics_log.Window()
    for lengths in ([4, 2, 0], [3, 0, 0]):
      window.Add({'loss': (1.0, 1.0)}, {'text/num_labels': np.array(lengths), 'text/weights': np.array(lengths) > 0})
    brief = window.Brief()
    self.assertGreater(brief['labels/s'], 0)
    self.assertNotIn('audio s/s', brief)
    values = window.Flush()
    self.assertEqual((values['text/labels'], values['text/examples']), (9, 3))
    self.assertGreater(values['throughput/labels_per_second'], 0)

  def test_pauses_do_not_count_towards_rates(self):
    window = metrics_log.Window()
    window.Add({'loss': (1.0, 1.0)}, _Counts([16000], [0]))
    with window.Paused():
      time.sleep(0.5)
      started = time.process_time()
      while time.process_time() < started + 0.1:
        pass
    values = window.Flush()
    self.assertGreater(values['throughput/steps_per_second'], 2)
    self.assertBetween(values['throughput/cpu_seconds_per_step'], 0, 0.05)


class MetricsLogTest(absltest.TestCase):
  def test_rows_past_the_resumed_step_are_dropped(self):
    for folder in (
      self.create_tempdir().full_path,
      'ram://metrics_log_test',
    ):  # The second as TensorFlow reaches gs://.
      with self.subTest(folder):
        tf.io.gfile.makedirs(folder)
        log = metrics_log.MetricsLog(folder)
        self.assertEqual(log.Datasets(10), set())
        for step in (10, 20, 30):
          log.Write('train', step, {'loss': step / 10})
        path = os.path.join(folder, 'metrics.jsonl')
        with file_system.Open(path, 'a') as f:
          f.write('{"dataset": "tra')  # A kill cut this line off.
        metrics_log.MetricsLog(folder).DropAfter(20)
        log.Write('train', 30, {'loss': 9.0})
        rows = metrics_log.ReadMetrics(path)
        self.assertEqual([(r['step'], r['loss']) for r in rows], [(10, 1.0), (20, 2.0), (30, 9.0)])
        self.assertEqual(log.Datasets(30), {'train'})

  def test_a_line_that_is_no_row_is_named(self):
    folder = self.create_tempdir().full_path
    path = os.path.join(folder, 'metrics.jsonl')
    for line in ('x', '', '5', '[1]', '{"dataset": "train"}', '{"step": "3"}'):
      with self.subTest(line):
        with open(path, 'w', encoding='utf-8') as f:
          f.write(f'{{"dataset": "train", "step": 1}}\n{line}\n')
        with self.assertRaisesRegex(errors.ConfigError, r'metrics.jsonl:2: not a JSON object with a step \('):
          metrics_log.MetricsLog(folder).DropAfter(1)


class ProgressTest(absltest.TestCase):
  def test_no_terminal_gives_a_line_every_n_steps_and_the_last(self):
    out = io.StringIO()
    bar = progress.Progress(max_steps=105, first_step=0, every=50, stream=out)
    for step in range(1, 106):
      bar.Step(step, {'loss': 1.5})
    bar.Close()
    lines = out.getvalue().splitlines()
    self.assertLen(lines, 3)
    self.assertRegex(lines[0], r'^step 50/105: loss 1\.5, 0:0\d left$')
    self.assertStartsWith(lines[2], 'step 105/105')

  def test_time_left_heeds_a_limit_of_time(self):
    out = io.StringIO()
    bar = progress.Progress(max_steps=10**9, first_step=0, every=1, max_seconds=60, stream=out)
    bar.Step(1, {'loss': 1.5})
    self.assertRegex(out.getvalue(), r', (1:00|0:59) left$')

  def test_a_terminal_gets_a_bar(self):
    class _Terminal(io.StringIO):
      def isatty(self):
        return True

    out = _Terminal()
    bar = progress.Progress(max_steps=10, first_step=4, every=1, stream=out)
    bar.Step(10, {'loss': 1.5})
    bar.Line('step 10: DevHuman: loss 2')
    bar.Close()
    self.assertIn('100%', out.getvalue())
    self.assertIn('loss 1.5', out.getvalue())
    self.assertIn('step 10: DevHuman: loss 2', out.getvalue())


class SummariesTest(absltest.TestCase):
  def test_histogram_keeps_every_count(self):
    counts = np.arange(512)
    histo = tensorboard.CodeHistogram('codes', counts).value[0].histo
    self.assertEqual(sum(histo.bucket), counts.sum())
    self.assertEqual(histo.num, counts.sum())
    self.assertLen(histo.bucket, len(histo.bucket_limit))
    self.assertSequenceEqual(histo.bucket_limit, sorted(histo.bucket_limit))

  def test_audio_is_16_bit_wav_of_all_samples(self):
    audio = tensorboard.Audio('a', np.linspace(-1, 1, 1600)).value[0].audio
    self.assertStartsWith(audio.encoded_audio_string, b'RIFF')
    self.assertEqual(audio.length_frames, 1600)
    self.assertLen(audio.encoded_audio_string, 44 + 2 * 1600)

  def test_masked_log_mel_is_a_png(self):
    rng = np.random.RandomState(0)
    mask = np.zeros(100)
    mask[20:60] = 1
    image = (
      tensorboard.MaskedLogMel(
        'x', rng.randn(100, 80), mask, rng.randint(0, 9, 25), rng.randint(0, 9, 25), mask[::4], 90
      )
      .value[0]
      .image
    )
    self.assertStartsWith(image.encoded_image_string, b'\x89PNG')

  def test_text_is_shown_verbatim(self):
    value = tensorboard.Text('config', 'a = 1\nb = 2').value[0]
    self.assertEqual(value.metadata.plugin_data.plugin_name, 'text')
    self.assertEqual(value.tensor.string_val[0], b'    a = 1\n    b = 2')


if __name__ == '__main__':
  absltest.main()
