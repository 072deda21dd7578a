"""What the data preparation costs: a small measurement as a user runs it, and the figures made from samples."""

import json
import os
import tempfile

import pytest
import soundfile
from absl.testing import absltest

from tests import tiny_data
from tools import preparation_cost
from tools.bench import preparation
from tools.bench import results
from tools.prepare import importers
from tools.prepare import pipeline


def _Samples(*rows):
  return [preparation.Sample(*row) for row in rows]


class SummariseTest(absltest.TestCase):
  def test_each_tenth_has_its_own_memory_and_speed(self):
    # 10 h in 20 s of CPU time, then 90 h in 90 s.
    samples = _Samples(
      (0, 0, 0.1, 0), (10, 5, 0.3, 10), (20, 10, 0.2, 20), *((20 + t, 10 + t, 0.25, 20 + t) for t in range(1, 91))
    )
    figures = {(name, label): value for name, label, value, _ in preparation.Summarise(samples, 100.0)}
    self.assertLen(figures, 30)
    self.assertEqual(figures['0 to 10 h', 'peak memory'], 0.3)
    self.assertAlmostEqual(figures['0 to 10 h', 'mean memory'], 0.25)
    self.assertAlmostEqual(figures['0 to 10 h', 'hours of audio in an hour of CPU time'], 1800)
    for i in range(1, 10):
      self.assertAlmostEqual(figures[f'{10 * i} to {10 * i + 10} h', 'hours of audio in an hour of CPU time'], 3600)


class ToolTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = tempfile.TemporaryDirectory()
    cls.addClassCleanup(folder.cleanup)
    cls.folder = folder.name
    cls.source = os.path.join(cls.folder, 'source')
    manifest = os.path.join(cls.folder, 'source.jsonl')
    with open(manifest, 'w', encoding='utf-8') as f:
      for i in range(12):
        soundfile.write(os.path.join(cls.folder, f'{i}.wav'), tiny_data.Waveform(3.0, seed=i), 16000)
        f.write(json.dumps({'audio_filepath': f'{i}.wav'}) + '\n')
    pipeline.PrepareData(
      'manifest', cls.source, options=importers.Options(input=manifest), dev_percent=0, test_percent=0
    )

  def _Main(self, *argv):
    """(exit code, path of the result)."""
    output = os.path.join(self.folder, 'result.json')
    return preparation_cost.Main(
      [
        'preparation_cost',
        f'--source={self.source}',
        f'--folder={self.folder}/scratch',
        f'--output={output}',
        '--num_shards=4',
        *argv,
      ]
    ), output

  @pytest.mark.slow
  def test_all_hours_are_prepared_measured_and_removed(self):
    code, output = self._Main('--hours=0.1')
    self.assertEqual(code, 0)
    rows = results.Load(output)['rows']
    whole = {row['label']: row['value'] for row in rows if row['name'].startswith('all 0.1')}
    self.assertGreater(whole['peak memory'], 0.05)
    self.assertGreater(whole['hours of audio in an hour of CPU time'], 1)
    self.assertEmpty(os.listdir(os.path.join(self.folder, 'scratch')))

  def test_a_lost_recording_is_an_error(self):
    output = os.path.join(self.folder, 'prepared')
    manifest = os.path.join(self.folder, 'some.jsonl')
    with open(manifest, 'w', encoding='utf-8') as f:
      f.write('{"audio_filepath": "0.wav"}\n{"audio_filepath": "missing.wav"}\n')
    pipeline.PrepareData('manifest', output, options=importers.Options(input=manifest))
    with self.assertRaisesRegex(preparation.PreparationFailed, '^1 utterances, .* 1 rejected; expected 2,'):
      preparation.CheckComplete(output, 2, 6 / 3600)

  def test_more_than_the_disk_may_take_is_refused(self):
    self.assertEqual(self._Main('--hours=100', '--disk_limit_gb=10')[0], 2)
    self.assertEqual(self._Main('--hours=0')[0], 2)


if __name__ == '__main__':
  absltest.main()
