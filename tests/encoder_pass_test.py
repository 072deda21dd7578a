"""Costs of an encoder: passes in processes of their own, the form of their results, the table."""

import dataclasses
import json
import os
import tempfile
from unittest import mock

import pytest
from absl.testing import absltest

from fm_lingvo import errors
from fm_lingvo.config import gin_config
from tests import graph_case  # noqa: F401 Graph mode.
from tools import length_scaling
from tools import step_memory
from tools.bench import encoder_pass
from tools.bench import forms
from tools.bench import results
from tools.bench import tables

_MEASURED = {'seconds': 2.0, 'cpu_seconds': 1.234, 'peak_gb': 0.5, 'idle_gb': 0.25}


def _Row(name, label, measured=None, **changed):
  what = dataclasses.asdict(encoder_pass.Pass(size='tiny', audio_seconds=10))
  return {
    'name': name,
    'label': label,
    **what,
    **(measured or _MEASURED),
    **results.Origin('python -m tools.length_scaling --size=tiny', 'abc'),
    **changed,
  }


class PassTest(absltest.TestCase):
  """Passes have processes of their own: memory that an earlier one left would count otherwise."""

  def test_a_pass_has_costs(self):
    # Of one block, in this process.
    one_block = {**encoder_pass.ATTENTIONS['streaming'], 'num_layers': 1}
    self.addCleanup(gin_config.Reset)
    with mock.patch.dict(encoder_pass.ATTENTIONS, streaming=one_block):
      measured = encoder_pass.Run(encoder_pass.Pass(size='tiny', audio_seconds=1, attention='streaming', warm=False))
    self.assertGreater(measured['cpu_seconds'], 0.0)
    self.assertGreater(measured['idle_gb'], 0.05)
    self.assertGreaterEqual(measured['peak_gb'], measured['idle_gb'])

  @pytest.mark.slow
  def test_a_pass_is_measured(self):
    what = encoder_pass.Pass(size='tiny', audio_seconds=1, attention='streaming', backward=True)
    measured = encoder_pass.Measure(what, memory_limit_gb=8.0, time_limit_seconds=1800.0)
    self.assertGreater(measured['cpu_seconds'], 0.0)
    self.assertGreater(measured['idle_gb'], 0.05)
    self.assertGreaterEqual(measured['peak_gb'], measured['idle_gb'])

  @pytest.mark.slow
  def test_a_pass_is_stopped_at_a_limit(self):
    what = encoder_pass.Pass(size='tiny', audio_seconds=1)
    self.assertEqual(
      encoder_pass.Measure(what, memory_limit_gb=0.001, time_limit_seconds=1800.0), {'stopped': 'over 0.001 GB'}
    )
    self.assertEqual(
      encoder_pass.Measure(what, memory_limit_gb=8.0, time_limit_seconds=0.01), {'stopped': 'over 0.01 s'}
    )

  @pytest.mark.slow
  def test_an_error_of_the_pass_is_one_line(self):
    with self.assertRaisesRegex(errors.ConfigError, 'hugo') as e:
      encoder_pass.Measure(encoder_pass.Pass(size='hugo', audio_seconds=1), 8.0, 1800.0)
    self.assertNotIn('\n', str(e.exception))


class TableTest(absltest.TestCase):
  def test_lengths_are_rows_and_attentions_columns(self):
    rows = [_Row('10 s', 'full'), _Row('10 s', 'chunk-wise'), _Row('600 s', 'full', {'stopped': 'over 12 GB'})]
    table = tables.Table({'form': 'cost', 'rows': rows})
    self.assertIn('|  | full | chunk-wise |\n', table)
    self.assertIn('| 10 s | 1.23 s, 0.50 GB | 1.23 s, 0.50 GB |\n| 600 s | stopped: over 12 GB |  |\n', table)
    self.assertEqual(table.count('`python -m tools.length_scaling --size=tiny`; 20'), 1)

  def test_a_result_is_written_in_its_form(self):
    path = os.path.join(self.enter_context(tempfile.TemporaryDirectory()), 'cost.json')
    results.Write(path, 'cost', [_Row('10 s', 'full')])
    self.assertEqual(results.Load(path), {'form': 'cost', 'rows': [_Row('10 s', 'full')]})

  def test_what_is_wrong_is_named(self):
    for rows, expected in (
      ([_Row('10 s', 'full', peak_gb='much')], r"rows\[0\].peak_gb = 'much': expected a finite number"),
      ([_Row('10 s', 'full', command='')], r'rows\[0\].command is empty'),
      ([_Row('10 s', 'full', peak_gb=-1)], r'peak_gb = -1: expected a number >= 0'),
      ([_Row('10 s', 'full')] * 2, r'rows\[1\]: a second row of name .10 s., label .full.'),
    ):
      with self.subTest(expected), self.assertRaisesRegex(errors.ConfigError, expected):
        forms.Check({'form': 'cost', 'rows': rows}, 'x.json')


class ToolsTest(absltest.TestCase):
  def _Main(self, tool, *argv):
    """(exit code, content of --output) of a tool whose passes are not run."""
    path = os.path.join(self.enter_context(tempfile.TemporaryDirectory()), 'cost.json')
    measure, encoder_pass.Measure = encoder_pass.Measure, lambda *unused: _MEASURED
    try:
      code = tool.Main(['tool', f'--output={path}', *argv])
    finally:
      encoder_pass.Measure = measure
    with open(path, encoding='utf-8') as f:
      return code, json.load(f)

  def test_length_scaling_measures_every_length_and_attention(self):
    code, result = self._Main(length_scaling, '--seconds=1,2', '--attention=full,streaming', '--backward')
    self.assertEqual(code, 0)
    self.assertEqual(
      [(r['audio_seconds'], r['attention'], r['backward']) for r in result['rows']],
      [(s, a, True) for s in (1, 2) for a in ('full', 'streaming')],
    )

  def test_step_memory_measures_with_and_without_remat(self):
    code, result = self._Main(step_memory, '--utterances=3')
    self.assertEqual(code, 0)
    self.assertEqual(
      [(r['remat'], r['utterances'], r['size']) for r in result['rows']], [(True, 3, 'paper'), (False, 3, 'paper')]
    )


if __name__ == '__main__':
  absltest.main()
