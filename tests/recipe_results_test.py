"""Properties of what the recipe concludes from its numbers, of its table and its picture."""

import json
import os
import time
from concurrent import futures
from unittest import mock

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

from fm_lingvo import errors
from fm_lingvo.evaluation import error_rates
from tests import recipe_case
from tools import results as results_tool
from tools.figures import forms
from tools.figures import pages
from tools.figures import results
from tools.recipe import claims
from tools.recipe import comparisons as comparisons_lib
from tools.recipe import plan
from tools.recipe import plot
from tools.recipe import stage_run
from tools.recipe import stage_spec
from tools.recipe import stages
from tools.recipe import tables

_HEADLINE, _FORGETTING, _PROBE = '** adapters and decoder on', 'keeps the source', 'CTC'


def _Verdict(claim, rows, comparisons=()):
  """The one line on a claim: (word in bold, whole line)."""
  found = [line for line in claims.Verdicts(plan.CLAIMS, rows, list(comparisons)) if claim in line]
  assert len(found) == 1, found
  return found[0].split('**')[1], found[0]


class VerdictsTest(parameterized.TestCase):
  @parameterized.parameters(
    (0.40, {}, 'met', '40.0 % WER with 6.7 % of the labels'),
    (0.41, {}, 'met', '41.0 % WER'),
    (0.45, {}, 'missed', 'WER is higher by 4.0 points'),
    (0.40, {'trained_params': 190}, 'missed', '1.1 points too many parameters'),
    (0.40, {'target_label_fraction': 0.1}, 'missed', '3.3 points too many labels'),
    (0.40, {'target_label_fraction': 0.068}, 'missed', '0.1 points too many labels'),
  )
  def test_the_headline_needs_quality_few_parameters_and_few_labels(self, wer, changed, word, text):
    rows = [
      recipe_case.Row('adapted', wer, **changed),
      recipe_case.Row('scratch_target', 0.41, target_label_fraction=1.0),
    ]
    found, line = _Verdict(_HEADLINE, rows)
    self.assertEqual(found, word)
    self.assertIn(text, line)

  def test_the_headline_counts_all_seeds(self):
    rows = [recipe_case.Row('adapted', wer, seed=seed) for seed, wer in ((1, 0.39), (2, 0.46), (3, 0.44))]
    rows.append(recipe_case.Row('scratch_target', 0.40))
    word, line = _Verdict(_HEADLINE, rows)
    self.assertEqual(word, 'missed')
    self.assertIn('43.0 % WER', line)
    self.assertIn('seeds 1+2+3 and 1', line)

  def test_it_is_said_whether_seeds_were_resampled(self):
    rows = [recipe_case.Row('adapted'), recipe_case.Row('hydra')]
    pair = recipe_case.Pair('adapted', 'hydra', -0.06, -0.01)
    for seeds, text in (([1], 'one seed, voices resampled only'), ([1, 3], 'seeds 1+3 and voices resampled')):
      self.assertIn(text, _Verdict('adapted against hydra:', rows, [{**pair, 'seeds': seeds}])[1])

  @parameterized.parameters(
    (-0.06, -0.01, 'met', 'CI -6.0 to -1.0'),
    (-0.06, 0.01, 'missed', 'better, but within'),
    (-0.01, 0.06, 'missed', 'worse, within'),
    (0.01, 0.06, 'missed', 'worse beyond'),
  )
  def test_a_stage_must_help_beyond_its_interval(self, low, high, word, text):
    stages_of_the_recipe = [claim.names for claim in plan.CLAIMS if 'improves on leaving it out' in claim.text]
    self.assertLen(stages_of_the_recipe, 12)
    for names in stages_of_the_recipe:
      rows = [recipe_case.Row(name) for name in names]
      found, line = _Verdict(f'{names[0]} against {names[1]}:', rows, [recipe_case.Pair(*names, low, high)])
      self.assertEqual(found, word)
      self.assertIn(text, line)

  @parameterized.parameters(
    ((0.9, 0.4, 0.3, 0.3, 0.3, 0.3), 'met', 'met', 'they meet at 6.7 %'),
    ((0.9, 0.7, 0.6, 0.5, 0.4, 0.3), 'missed', 'met', 'they meet at 50.0 %'),
    ((0.9, 0.7, 0.4, 0.5, 0.4, 0.3), 'missed', 'met', 'they meet at 13.0 %'),
    ((0.9, 0.8, 0.7, 0.6, 0.5, 0.4), 'missed', 'missed', 'they meet at 100.0 %'),
    ((0.9, 0.8, 0.7, 0.6, 0.5, 0.45), 'missed', 'missed', 'do not meet; nearest with 100.0 %, 5.0 points of WER above'),
  )
  def test_the_share_at_which_a_baseline_is_met(self, wers, word, harder, text):
    rows = [
      recipe_case.Row(name, wer, target_label_fraction=share)
      for name, share, wer in zip(plan.CURVE, (0.03, 0.067, 0.13, 0.25, 0.5, 1.0), wers)
    ]
    for baseline, what, expected in (
      ('scratch_target', 'all target labels', word),
      ('scratch_source_target', 'source and all target labels', harder),
    ):
      found, line = _Verdict(f'meets from scratch on {what} with', [*rows, recipe_case.Row(baseline, 0.4)])
      self.assertEqual(found, expected)
      self.assertIn(text, line)

  def test_what_is_compared_is_planned(self):
    planned = {stage.name for stage in plan.STAGES if stage.measured}
    named = {name for claim in plan.CLAIMS for name in (*claim.names, *sum(claim.pairs, ()))}
    curves = [name for curve, baselines in plan.CURVES.values() for name in (*curve, *baselines)]
    self.assertEmpty({*named, *sum(plan.COMPARED, ()), *curves} - planned)
    self.assertEmpty({run for runs in plan.ALSO.values() for run in runs} - planned)

  def test_every_group_is_in_one_table(self):
    self.assertCountEqual([group for _, groups in plan.TABLES for group in groups], plan.GROUPS)

  @parameterized.parameters((0.22, 'met', '+2.0 points'), (0.3, 'missed', '+10.0 points'), (0.1, 'met', '-10.0 points'))
  def test_forgetting_is_measured_against_the_interval_from_before(self, after, word, text):
    found, line = _Verdict(_FORGETTING, [recipe_case.Row('hydra', 0.2), recipe_case.Row('adapted', after)])
    self.assertEqual(found, word)
    self.assertIn(text, line)

  def test_the_probe_must_improve_after_each_stage(self):
    names = ('probe_random', 'probe_pretrain', 'probe_hydra')
    for wers, word in (((0.9, 0.6, 0.3), 'met'), ((0.6, 0.9, 0.3), 'missed'), ((0.9, 0.6, 0.58), 'missed')):
      self.assertEqual(_Verdict(_PROBE, [recipe_case.Row(n, w) for n, w in zip(names, wers)])[0], word)
    # With comparisons their paired intervals count, which are narrower.
    rows = [recipe_case.Row(n, w) for n, w in zip(names, (0.9, 0.6, 0.58))]
    pairs = [recipe_case.Pair(a, b, -0.03, -0.01) for a, b in zip(names[1:], names)]
    self.assertEqual(_Verdict(_PROBE, rows, pairs)[0], 'met')

  def test_what_is_not_measured_is_open(self):
    for line in claims.Verdicts(plan.CLAIMS, [], []):
      self.assertStartsWith(line, '**open** ')
      self.assertIn('not measured, needs ', line)


class CompareTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.settings = stage_spec.Settings(output=recipe_case.Folder(self))
    self.plan = stages.Plan(self.settings)

  def _Write(self, name, right, count=40, stamp='stamp'):
    """Hypotheses of which every `right`-th is right."""
    stage_run.Write(stage_run.RunDir(self.settings, name), {'stamp': stamp})
    folder = os.path.join(stage_run.RunDir(self.settings, name), 'hypotheses')
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, 'TestTarget.jsonl'), 'w', encoding='utf-8') as f:
      for i in reversed(range(count)):
        f.write(
          json.dumps(
            {'utt_id': f'{i:02}', 'reference': 'a word', 'hypothesis': 'a word' if i % right == 0 else 'a bird'}
          )
          + '\n'
        )

  def _Compare(self, *names, voices=40):
    """Compares runs whose utterances are of so many voices."""
    rows = [recipe_case.Row(self.plan[name].name, seed=self.plan[name].seed) for name in names]
    pairs = [pair for claim in plan.CLAIMS for pair in claim.pairs]
    test = [{'utt_id': f'{i:02}', 'speaker': f'{i % voices}'} for i in range(40)]
    labels = mock.Mock(Of=lambda target: mock.Mock(test=test))
    return {(p['a'], p['b']): p for p in comparisons_lib.Compare(self.settings, self.plan, labels, rows, pairs)}

  def test_few_voices_widen_the_interval(self):
    self._Write('adapted', 1)
    self._Write('scratch_target', 2)
    widths = {}
    for voices in (40, 4):  # Of 4 voices two have all errors.
      pair = self._Compare('adapted', 'scratch_target', voices=voices)['adapted', 'scratch_target']
      self.assertAlmostEqual(pair['difference'], -0.25)
      widths[voices] = pair['high'] - pair['low']
    self.assertGreater(widths[4], 2 * widths[40])

  def test_the_difference_is_that_of_the_error_rates(self):
    self._Write('adapted', 1)
    self._Write('scratch_target', 2)
    pair = self._Compare('adapted', 'scratch_target')['adapted', 'scratch_target']
    self.assertAlmostEqual(pair['difference'], -0.25)
    self.assertLess(pair['high'], 0)
    self.assertEqual(claims.Judge(pair), 'better beyond')

  def test_seeds_that_both_have_count_and_zero_shot_models_have_one(self):
    for name, right in (('adapted', 2), ('adapted_seed2', 1), ('scratch_target', 2), ('hydra', 2)):
      self._Write(name, right)
    pairs = self._Compare('adapted', 'adapted_seed2', 'scratch_target', 'hydra')
    self.assertEqual(pairs['adapted', 'scratch_target']['seeds'], [1])
    self.assertEqual(pairs['adapted', 'scratch_target']['difference'], 0)
    self.assertEqual(pairs['adapted', 'hydra']['seeds'], [1, 2])
    self.assertAlmostEqual(pairs['adapted', 'hydra']['difference'], -0.125)

  def test_runs_without_hypotheses_are_left_out(self):
    self._Write('adapted', 2)
    self.assertEmpty(self._Compare('adapted', 'hydra'))

  def test_runs_of_other_inputs_than_their_row_are_left_out(self):
    self._Write('adapted', 1)
    self._Write('scratch_target', 2, stamp='another')
    self.assertEmpty(self._Compare('adapted', 'scratch_target'))

  def test_comparisons_stay_while_their_rows_do(self):
    earlier = [{**recipe_case.Pair('a', 'b', 0, 1), 'stamps': ['1', '2']}, recipe_case.Pair('a', 'c', 0, 1)]
    rows, pairs = [{'stamp': '1'}, {'stamp': '2'}], [('c', 'b'), ('a', 'c'), ('a', 'b')]
    self.assertEqual(comparisons_lib.WithKept([], earlier, rows, pairs), earlier[:1])
    self.assertEmpty(comparisons_lib.WithKept([], earlier, rows[:1], pairs))
    made = [{**recipe_case.Pair('a', 'b', 2, 3), 'stamps': ['1', '2']}]
    self.assertEqual(comparisons_lib.WithKept(made, earlier, rows, pairs), made)
    more = [{**earlier[0], 'seeds': [1, 2]}]
    self.assertEqual(comparisons_lib.WithKept(made, more, rows, pairs), more)
    # In the order of the pairs; one that is compared no more goes.
    other = [recipe_case.Pair('c', 'b', 0, 1)]
    self.assertEqual(comparisons_lib.WithKept(other, earlier, rows, pairs), other + earlier[:1])
    self.assertEqual(comparisons_lib.WithKept(other, earlier, rows, pairs[:1]), other)

  def test_one_seed_gives_what_a_bootstrap_over_utterances_gives(self):
    a, b, words = np.arange(30) % 3, np.arange(30) % 2, np.full(30, 4)
    self.assertEqual(comparisons_lib.Bootstrap([a], [b], words), error_rates.PairedBootstrap(a, b, words))

  def test_seeds_that_differ_widen_the_interval(self):
    words, other = np.full(200, 4), np.ones((1, 200))
    alike, apart = np.full((3, 200), 0.8), np.full((3, 200), 0.8) + np.array([[-0.8], [0.0], [0.8]])
    narrow = comparisons_lib.Bootstrap(alike, other, words)
    self.assertAlmostEqual(narrow['low'], -0.05)
    self.assertAlmostEqual(narrow['high'], -0.05)
    self.assertEqual(narrow['a_better'], 1)
    wide = comparisons_lib.Bootstrap(apart, other, words)
    self.assertAlmostEqual(wide['difference'], -0.05)
    # Means of three draws of -0.25, -0.05 and 0.15: one in 27 is the lowest, one in 27 the highest.
    self.assertAlmostEqual(wide['low'], -0.25)
    self.assertAlmostEqual(wide['high'], 0.15)
    self.assertBetween(wide['a_better'], 0.5, 0.8)
    # Where B has the same seeds, they are drawn together.
    paired = comparisons_lib.Bootstrap(apart, apart + 0.2, words)
    self.assertAlmostEqual(paired['low'], -0.05)
    self.assertAlmostEqual(paired['high'], -0.05)

  def test_different_utterances_are_refused(self):
    self._Write('adapted', 2)
    self._Write('hydra', 2, count=39)
    with self.assertRaisesRegex(errors.ConfigError, 'adapted, hydra: .* different utterances'):
      self._Compare('adapted', 'hydra')


class TableTest(parameterized.TestCase):
  def _Result(self, *rows, comparisons=()):
    return {'form': 'recipe', 'rows': list(rows), 'comparisons': list(comparisons)}

  def test_seeds_share_a_line_with_their_mean_and_range(self):
    table = tables.Table(
      self._Result(recipe_case.Row('adapted', 0.4), recipe_case.Row('adapted', 0.5, seed=2, group='seed2'))
    )
    lines = [line for line in table.splitlines() if line.startswith('| `adapted`')]
    self.assertLen(lines, 1)
    self.assertIn('| 45.0 (40.0 to 50.0); 40.0 to 50.0 |', lines[0])
    self.assertIn('| 6.7 %, 1.0 min | 0.00M, 17.0 % |', lines[0])
    self.assertEndsWith(lines[0], '| 2 |')

  def test_the_curve_is_in_the_order_of_the_labels_and_has_the_main_point(self):
    rows = [recipe_case.Row('adapted')] + [
      recipe_case.Row(f'adapted_share_{share:g}', group='curve', target_label_fraction=share) for share in (1.0, 0.03)
    ]
    self.assertEqual(tables.GroupNames(rows, ('curve',)), ['adapted_share_0.03', 'adapted', 'adapted_share_1'])
    self.assertEqual(tables.GroupNames(rows, ('main',)), ['adapted'])

  def test_the_origin_of_each_group_is_said(self):
    table = tables.Table(self._Result(recipe_case.Row('adapted'), recipe_case.Row('hydra', date='2026-02-03')))
    self.assertIn(
      '- main: `python -m tools.recipe main`; 2026-01-31 to 2026-02-03; 2 cores of X, 8 GB, Linux; '
      'Python 3, TensorFlow 2, lingvo 0, commit abc.',
      table,
    )

  def test_the_short_table_has_few_models_with_all_their_seeds(self):
    table = tables.Short(
      self._Result(
        recipe_case.Row('adapted'),
        recipe_case.Row('adapted', seed=2, group='seed2'),
        recipe_case.Row('scratch_an4', group='an4', title='AN4: from scratch'),
        recipe_case.Row('probe_random', group='probe'),
      )
    )
    self.assertIn('| games | model adapted | 6.7 %', table)
    self.assertIn('; 40.0 to 40.0 |', table)
    self.assertIn('| AN4 | from scratch |', table)
    self.assertNotIn('probe', table)

  def test_the_readmes_tables_know_the_form(self):
    folder = recipe_case.Folder(self)
    results.Write(os.path.join(folder, 'recipe.json'), 'recipe', [recipe_case.Row('adapted')])
    markers = '<!-- results:recipe:begin -->\n<!-- results:recipe:end -->'
    text, stale, names = pages.Regenerate(markers, folder, 'README.md', results_tool.SHOWN)
    self.assertEqual((stale, names), (['recipe'], ['recipe']))
    self.assertIn('| `adapted`: model adapted |', text)
    self.assertEqual(pages.Regenerate(text, folder, 'README.md', results_tool.SHOWN)[1], [])
    with self.assertRaisesRegex(errors.ConfigError, 'recip.*did you mean .?recipe'):
      forms.Check({'form': 'recip', 'rows': []}, 'x.json')

  @parameterized.parameters(
    ({'target_wer': '0.4'}, r"rows\[0\].target_wer = '0.4': expected a finite number"),
    ({'seed': True}, 'seed = True'),
    ({'hours': float('nan')}, 'a finite number'),
    ({'hours': -1.0}, 'a number >= 0'),
    ({'word': 1}, 'word: no such field'),
    ({'date': 'today'}, 'expected YYYY-MM-DD'),
    ({'target_label_fraction': 1.5}, 'larger than its whole'),
    ({'trained_params': 1001}, 'larger than its whole'),
    ({'target_wer_low': 0.9}, 'above target_wer_high'),
  )
  def test_bad_rows_are_named_and_not_written(self, changed, message):
    path = os.path.join(recipe_case.Folder(self), 'recipe.json')
    with self.assertRaisesRegex(errors.ConfigError, message):
      results.Merge(path, 'recipe', [recipe_case.Row('adapted', **changed)])
    self.assertFalse(os.path.exists(path))

  def test_rows_need_every_field_and_are_unique(self):
    for field in [*forms.FORMS['recipe'].fields, *forms.ORIGIN]:
      row = recipe_case.Row('adapted')
      del row[field]
      with self.assertRaisesRegex(errors.ConfigError, f'no {field}'):
        forms.Check(self._Result(row), 'recipe.json')
    with self.assertRaisesRegex(errors.ConfigError, 'a second row of name .adapted., seed 1'):
      forms.Check(self._Result(recipe_case.Row('adapted'), recipe_case.Row('adapted')), 'recipe.json')

  def test_merging_replaces_a_row_in_place(self):
    path = os.path.join(recipe_case.Folder(self), 'recipe.json')
    results.Merge(path, 'recipe', [recipe_case.Row('adapted'), recipe_case.Row('hydra')])
    result = results.Merge(path, 'recipe', [recipe_case.Row('adapted', 0.3)])
    self.assertEqual([(row['name'], row['target_wer']) for row in result['rows']], [('adapted', 0.3), ('hydra', 0.4)])

  def test_comparisons_are_made_anew_of_the_rows_that_are_kept(self):
    path = os.path.join(recipe_case.Folder(self), 'recipe.json')
    results.Merge(
      path,
      'recipe',
      [recipe_case.Row('hydra'), recipe_case.Row('supervised')],
      extra=lambda rows: {'comparisons': [recipe_case.Pair('hydra', 'supervised', 0, 1)]},
    )
    asked = []

    def _Compare(rows):
      asked.extend(row['name'] for row in rows)
      return {'comparisons': [recipe_case.Pair('adapted', 'hydra', 0, 1)]}

    result = results.Merge(
      path, 'recipe', [recipe_case.Row('adapted')], keep=lambda row: row['name'] != 'supervised', extra=_Compare
    )
    self.assertEqual([row['name'] for row in result['rows']], ['hydra', 'adapted'])
    self.assertEqual(asked, ['hydra', 'adapted'])
    self.assertEqual([(pair['a'], pair['b']) for pair in result['comparisons']], [('adapted', 'hydra')])
    self.assertEqual(results.Load(path), result)

  def test_no_row_is_lost_where_several_write_at_a_time(self):
    folder = recipe_case.Folder(self)
    path = os.path.join(folder, 'recipe.json')

    def _Merge(seed):
      results.Merge(
        path,
        'recipe',
        [recipe_case.Row('adapted', seed=seed)],
        extra=lambda rows: {'comparisons': time.sleep(0.02) or []},
      )

    with futures.ThreadPoolExecutor(8) as pool:
      list(pool.map(_Merge, range(1, 9)))
    self.assertEqual({row['seed'] for row in results.Rows(path)}, set(range(1, 9)))
    self.assertEqual(os.listdir(folder), ['recipe.json'])

  def test_the_results_that_are_committed_are_of_this_form(self):
    result = results.Load(results.Path('recipe'))
    self.assertNotEmpty(tables.Table(result))
    planned = {(stage.name, seed) for stage in plan.STAGES for seed in stage.seeds}
    self.assertEmpty({(row['name'], row['seed']) for row in result['rows']} - planned)


class PlotTest(absltest.TestCase):
  def test_a_picture_is_made_of_one_row_or_of_all(self):
    folder = recipe_case.Folder(self)
    rows = [
      recipe_case.Row('adapted', 0.4),
      recipe_case.Row('adapted', 0.45, seed=2),
      recipe_case.Row('hydra', 0.9),
      recipe_case.Row('scratch_target', 0.5),
      recipe_case.Row('scratch_source_target', 0.3),
    ]
    rows += [
      recipe_case.Row(f'adapted_share_{share:g}', 0.5, group='curve', target_label_fraction=share)
      for share in (0.03, 0.5)
    ]
    sizes = []
    for name, part in (('one.png', rows[:1]), ('all.png', rows)):
      path = os.path.join(folder, name)
      plot.Plot(part, path)
      sizes.append(os.path.getsize(path))
      with open(path, 'rb') as f:
        self.assertEqual(f.read(4), b'\x89PNG')
    self.assertLess(10000, sizes[0])
    self.assertLess(sizes[0], sizes[1])


if __name__ == '__main__':
  absltest.main()
