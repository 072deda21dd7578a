"""The demo says whether the model has learnt."""

import json
import os
import tempfile

from absl.testing import absltest

from tools import demo


class ReportTest(absltest.TestCase):
  def _Verdict(self, *accuracies):
    """The last line about data sets of these masked accuracies, where guessing has 0.06."""
    rows = [{'dataset': 'train', 'step': 9, 'throughput/audio_seconds_per_second': 30.0}]
    for i, accuracy in enumerate(accuracies):
      values = {'masked_accuracy': accuracy, 'majority_accuracy': 0.06, 'audio_seconds': 60.0, 'cross_entropy': 5.0}
      values.update(unigram_entropy=5.1, code_coverage=0.5, code_perplexity=90.0)
      rows.append({'dataset': f'Dev{i}', 'step': 9, **{f'unlabeled/{name}': v for name, v in values.items()}})
    folder = tempfile.mkdtemp()
    with open(os.path.join(folder, 'metrics.jsonl'), 'w', encoding='utf-8') as f:
      f.writelines(json.dumps(row) + '\n' for row in rows)
    return list(demo._Report(folder))[-1]

  def test_better_than_guessing_everywhere_is_learnt(self):
    self.assertIn('It has learnt', self._Verdict(0.07, 0.09))

  def test_no_better_than_guessing_somewhere_is_not(self):
    for accuracies in ((0.07, 0.05), (0.06,)):
      self.assertIn('make demo MINUTES=10 trains longer', self._Verdict(*accuracies))


if __name__ == '__main__':
  absltest.main()
