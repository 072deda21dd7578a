"""Properties of the recipe's tables of data and of time to quality."""

import json
import math
import os

from absl.testing import absltest

from tests import recipe_case
from tools.recipe import data_tables
from tools.recipe import quality
from tools.recipe import stage_run


class DataTest(absltest.TestCase):
  def test_the_overlap_is_counted_by_occurrences(self):
    train = ['open the door', 'the old key', '']
    shares = data_tables.Overlap(train, ['the door', 'open the door', 'the the'])
    self.assertEqual(shares[0], 1 / 3)  # Whole transcripts.
    self.assertEqual(shares[1], 1.0)  # All seven words.
    self.assertEqual(shares[2], 3 / 4)  # `the the` is new.
    self.assertEqual(shares[3], 1.0)
    self.assertTrue(all(map(math.isnan, data_tables.Overlap(train, []))))

  def test_a_line_for_each_data_set(self):
    folder = recipe_case.Folder(self)
    recipe_case.WriteData(folder, ('source', 'target'))
    lines = data_tables.Table([os.path.join(folder, name) for name in ('source', 'target')]).splitlines()[2:4]
    self.assertEqual(lines[0], '| `source` | 0.10 | 0.10 | 0.10 | 100 | 1 | 100 | 0 | 0 | - |')
    self.assertRegex(lines[1], r'^\| `target` \| .* \| 120 \| 1 \| 100 \| 0 \| 35 \| 0, 0, 0, nan \|$')


class QualityTest(recipe_case.RecipeTest):
  def _Rows(self, *wers):
    """Two stretches of training and an evaluation for each WER: 100 steps an hour, 2 s of speech a step."""
    step = 0
    for wer in wers:
      for _ in range(2):
        step += 50
        yield {
          'dataset': 'train', 'step': step, 'throughput/steps_per_second': 100 / 3600, 'labeled/audio_seconds': 100.0,
          'throughput/cpu_seconds_per_step': 18.0,
        }  # fmt: skip
      yield {'dataset': 'DevSource', 'step': step, 'labeled/wer': wer}

  def test_the_curve_counts_training_alone(self):
    rows = list(self._Rows(0.9, 0.5))
    rows.insert(3, {'dataset': 'TestSource', 'step': 100, 'labeled/wer': 0.1})
    self.assertEqual(
      [tuple(round(value, 6) for value in point) for point in quality.Curve(rows)],
      [(100, 1.0, 0.5, round(200 / 3600, 6), 0.9), (200, 2.0, 1.0, round(400 / 3600, 6), 0.5)],
    )

  def test_the_first_evaluation_at_or_below_a_goal_counts(self):
    run_dir = stage_run.RunDir(self.settings, 'supervised')
    os.makedirs(run_dir)
    stages = self.Stages(['supervised', 'scratch_target'])
    self.assertEqual(quality.Table(self.settings, stages), '')
    with open(os.path.join(run_dir, 'metrics.jsonl'), 'w', encoding='utf-8') as f:
      f.writelines(json.dumps(row) + '\n' for row in self._Rows(0.9, 0.6, 0.65, 0.55))
    (line,) = [line for line in quality.Table(self.settings, stages).splitlines() if line.startswith('| `')]
    self.assertEqual(
      line,
      f'| `supervised` | 400 of {stages["supervised"].steps:,} | 4.00 | 2.00 | 0.2 | 55.0 at step 400 | 2.00 (0.1) '
      '| 2.00 (0.1) | 2.00 (0.1) | - | - |',
    )


if __name__ == '__main__':
  absltest.main()
