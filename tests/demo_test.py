"""What the demo prepares and prints; CI runs the whole (.ci/run)."""

import json
import os
import subprocess
import sys
import tempfile
from unittest import mock

from absl.testing import absltest

from fm_lingvo.evaluation import error_rates
from tools import demo
from tools.demos import adaptation
from tools.demos import commands
from tools.demos import pretraining


def _Write(folder, texts):
  os.makedirs(folder + '/hypotheses')
  with open(folder + '/hypotheses/TestTarget.jsonl', 'w', encoding='utf-8') as f:
    for i, (reference, hypothesis) in enumerate(texts):
      f.write(json.dumps({'utt_id': f'u{i}', 'reference': reference, 'hypothesis': hypothesis}) + '\n')


class PretrainingTest(absltest.TestCase):
  def _Verdict(self, *accuracies, minutes=5.0):
    """The last line about data sets of these masked accuracies, where guessing has 0.06."""
    rows = [{'dataset': 'train', 'step': 9, 'throughput/audio_seconds_per_second': 30.0}]
    for i, accuracy in enumerate(accuracies):
      values = {'masked_accuracy': accuracy, 'majority_accuracy': 0.06, 'cross_entropy': 5.0}
      values.update(audio_seconds=60 * minutes, masked_fraction=0.4)
      values.update(unigram_entropy=5.1, code_coverage=0.5, code_perplexity=90.0)
      rows.append({'dataset': f'Dev{i}', 'step': 9, **{f'unlabeled/{name}': v for name, v in values.items()}})
    folder = self.enter_context(tempfile.TemporaryDirectory())
    with open(os.path.join(folder, 'metrics.jsonl'), 'w', encoding='utf-8') as f:
      f.writelines(json.dumps(row) + '\n' for row in rows)
    return list(pretraining.Report(folder))[-1]

  def test_better_than_guessing_everywhere_is_learnt(self):
    self.assertIn('It has learnt', self._Verdict(0.08, 0.09))

  def test_what_chance_can_give_is_not_learnt(self):
    # 5 minutes have 3000 masked frames of 40 ms: four standard errors of 0.06 are 0.0173.
    for accuracy, minutes, learnt in ((0.0601, 5, 0), (0.077, 5, 0), (0.0775, 5, 1), (0.0775, 2, 0), (0.0775, 20, 1)):
      with self.subTest(accuracy=accuracy, minutes=minutes):
        line = self._Verdict(accuracy, minutes=minutes)
        self.assertEqual(line.startswith('It has learnt'), bool(learnt))
        self.assertIn('more than 4 standard errors', line)

  def test_the_verdict_names_the_speech_that_it_is_about(self):
    self.assertRegex(self._Verdict(0.09, 0.05), r'^It has learnt: .* errors on \w+; on \w+ not yet, make demo')

  def test_nothing_evaluated_is_not_learnt(self):
    self.assertIn('has not learnt for certain', self._Verdict())

  def test_no_better_than_guessing_somewhere_is_not(self):
    for accuracies in ((0.07, 0.05), (0.06,)):
      self.assertIn('make demo MINUTES=10 trains longer', self._Verdict(*accuracies))


class AdaptationTest(absltest.TestCase):
  def test_the_report_has_both_error_rates_and_the_same_utterances(self):
    folder = self.enter_context(tempfile.TemporaryDirectory())
    references = [f'number {i} of the lines that are long enough' for i in range(10)] + ['too short'] * 5
    before, after = [r.replace('lines', 'signs') for r in references], references
    _Write(folder + '/before', list(zip(references, before)))
    _Write(folder + '/after', list(zip(references, after)))
    lines = list(adaptation.Report(folder + '/before', folder + '/after'))
    wer = error_rates.Score(references, before)['wer']
    self.assertStartsWith(lines[0], f'before WER {wer:.1%} (')
    self.assertStartsWith(lines[1], 'after  WER 0.0% (')
    shown = [tuple(line.split(None, 1) for line in lines[i : i + 3]) for i in range(2, len(lines), 3)]
    self.assertLen(shown, 3)
    for said, old, new in shown:
      self.assertEqual([said[0], old[0], new[0]], ['said', 'before', 'after'])
      self.assertEqual(old[1], said[1].replace('lines', 'signs'))
      self.assertEqual(new[1], said[1])
      self.assertIn('long enough', said[1])
    self.assertLen({said[1] for said, _, _ in shown}, 3)

  def test_what_was_trained_is_counted_once(self):
    folder = self.enter_context(tempfile.TemporaryDirectory())
    counts = {'encoder': (300, 0), 'adapters': (100, 100), 'total': (400, 100)}
    with open(folder + '/parameters.json', 'w', encoding='utf-8') as f:
      json.dump({name: {'total': total, 'trained': trained} for name, (total, trained) in counts.items()}, f)
    with open(folder + '/metrics.jsonl', 'w', encoding='utf-8') as f:
      f.writelines(json.dumps({'dataset': 'train', 'step': step, 'time': 1.0}) + '\n' for step in (50, 70))
    self.assertStartsWith(adaptation.Size(folder), '70 steps, trained 100 of 400 parameters (25.0%)')

  def test_without_a_game_synthetic_speech_stands_in(self):
    folder = self.enter_context(tempfile.TemporaryDirectory())
    for code, importers in ((0, ['games']), (2, ['games', 'synth'])):
      made = []

      def _Code(*args, made=made, code=code):
        made.append(next(arg.removeprefix('--importer=') for arg in args if arg.startswith('--importer=')))
        return code if made == ['games'] else 0

      with mock.patch.object(commands, 'Code', _Code):
        adaptation.Prepare(folder)
      self.assertEqual(made, importers)

  def test_a_preparation_that_fails_otherwise_ends_the_demo(self):
    with (
      mock.patch.object(commands, 'Code', return_value=1) as code,
      self.assertRaisesRegex(SystemExit, 'demo: python -m tools.prepare_data ended with exit code 1'),
    ):
      adaptation.Prepare(self.enter_context(tempfile.TemporaryDirectory()))
    code.assert_called_once()  # Synthetic speech would hide a full disk.


class DemoTest(absltest.TestCase):
  def test_minutes_are_not_negative(self):
    for flag in ('--minutes=-1', '--adapt_minutes=x', '--minutes=nan'):
      with self.assertRaises(SystemExit) as caught, mock.patch.object(sys, 'stderr') as stderr:
        demo.Main(['demo', flag])
      self.assertEqual(caught.exception.code, 2)
      self.assertIn('expected a number >= 0', ''.join(call.args[0] for call in stderr.write.call_args_list))

  def test_a_part_that_fails_ends_the_demo(self):
    with (
      mock.patch.object(commands, 'Code', return_value=3),
      self.assertRaisesRegex(SystemExit, 'demo: python -m tools.prepare_data ended with exit code 3'),
    ):
      demo.Main(['demo'])

  def test_ctrl_c_waits_until_the_part_has_cleaned_up(self):
    process = mock.MagicMock(returncode=None)
    process.__enter__.return_value = process
    ends = iter([KeyboardInterrupt, KeyboardInterrupt, 130])

    def _Wait():
      end = next(ends)
      if end is KeyboardInterrupt:
        raise end
      process.returncode = end

    process.wait.side_effect = _Wait
    with mock.patch.object(subprocess, 'Popen', return_value=process), self.assertRaises(SystemExit) as caught:
      commands.Code('tools.prepare_data')
    self.assertEqual((caught.exception.code, process.wait.call_count), (130, 3))
    process.kill.assert_not_called()


if __name__ == '__main__':
  absltest.main()
