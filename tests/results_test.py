"""Properties of committed results and of the README's tables made from them."""

import argparse
import contextlib
import io
import os
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from fm_lingvo import errors
from tests import metrics_case
from tools import evaluate
from tools import results as tool
from tools.common import this_machine
from tools.figures import benchmark_table
from tools.figures import forms
from tools.figures import kept_figures
from tools.figures import results
from tools.figures import run_figures
from tools.figures import tables


def _Row(**changed):
  return {
    'name': 'speed',
    'label': '',
    'value': 2.5,
    'unit': 's',
    'command': 'trainer',
    'date': '2026-01-31',
    'machine': {'cpu': 'X', 'cores': 2, 'memory_gb': 8, 'system': 'Linux'},
    'versions': {'python': '3', 'tensorflow': '2', 'lingvo': '0', 'commit': 'abc'},
    **changed,
  }


def _Result(*rows):
  return {'form': 'figures', 'rows': list(rows)}


def _Main(*argv):
  out, err = io.StringIO(), io.StringIO()
  with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
    code = tool.Main(['results', *argv])
  return code, out.getvalue(), err.getvalue()


class MeasureRunTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.run_dir = self.enter_context(tempfile.TemporaryDirectory())
    metrics_case.WriteRun(self.run_dir, wall_time=1.75e9)

  def test_figures_are_those_of_the_last_evaluation(self):
    figures, end = run_figures.Measure(self.run_dir)
    values = {name: value for name, value, _ in figures}
    human = 'held-out human speech'
    self.assertAlmostEqual(values[f'masked accuracy, {human}'], 12.0, places=4)
    self.assertAlmostEqual(values[f'ratio of the two, {human}'], 1.5, places=4)
    self.assertAlmostEqual(values[f'cross-entropy minus entropy, {human}'], -0.5, places=4)
    self.assertEqual(values['training steps'], 100)
    self.assertAlmostEqual(values['training time, without evaluation'], 50 / 60)
    self.assertAlmostEqual(values['training speed'], 40.0)
    self.assertEqual(end, 1.75e9)

  def test_steps_after_the_last_evaluation_do_not_count(self):
    metrics_case.Write(
      self.run_dir,
      'train',
      [
        (
          150,
          {**metrics_case.Metrics(), 'throughput/steps_per_second': 1.0, 'throughput/audio_seconds_per_second': 1.0},
        )
      ],
    )
    values = {name: value for name, value, _ in run_figures.Measure(self.run_dir)[0]}
    self.assertEqual(values['training steps'], 100)
    self.assertAlmostEqual(values['training speed'], 40.0)

  def test_a_window_counts_by_its_time(self):
    metrics_case.Write(
      self.run_dir, 'train', [(100, {'throughput/steps_per_second': 0.5, 'throughput/audio_seconds_per_second': 10.0})]
    )
    values = {name: value for name, value, _ in run_figures.Measure(self.run_dir)[0]}
    # 50 steps at 2 a second, then 50 at 0.5 a second.
    self.assertAlmostEqual(values['training time, without evaluation'], 125 / 60)
    self.assertAlmostEqual(values['training speed'], (25 * 40 + 100 * 10) / 125)

  def test_data_sets_must_end_at_the_same_step(self):
    metrics_case.Write(self.run_dir, 'DevSynthetic', [(50, metrics_case.Metrics())])
    with self.assertRaisesRegex(errors.ConfigError, 'different steps: .*100.* 50'):
      run_figures.Measure(self.run_dir, ['eval_devhuman', 'eval_devsynthetic'])

  def test_an_evaluation_without_a_training_summary_is_refused(self):
    metrics_case.Write(self.run_dir, 'DevHuman', [(120, metrics_case.Metrics())])
    with self.assertRaisesRegex(errors.ConfigError, 'no metrics of train at step 120'):
      run_figures.Measure(self.run_dir)

  def test_a_data_set_that_is_not_there_is_named(self):
    with self.assertRaisesRegex(errors.ConfigError, 'did you mean eval_devhuman'):
      run_figures.Measure(self.run_dir, ['eval_dev_human'])


class AddTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.root = self.enter_context(tempfile.TemporaryDirectory())

  def _Rows(self):
    return results.Load(results.Path('pretrain', self.root))['rows']

  def test_same_name_and_label_replaces_in_place(self):
    tool.Add('pretrain', [_Row(), _Row(name='size')], self.root)
    tool.Add('pretrain', [_Row(value=3.5), _Row(label='long')], self.root)
    self.assertEqual(
      [(r['name'], r['label'], r['value']) for r in self._Rows()],
      [('speed', '', 3.5), ('size', '', 2.5), ('speed', 'long', 2.5)],
    )

  def test_a_label_never_mixes_two_runs(self):
    tool.Add(
      'pretrain',
      [_Row(run='a'), _Row(name='old', run='a'), _Row(name='by hand'), _Row(label='other', run='b')],
      self.root,
    )
    tool.Add('pretrain', [_Row(run='c')], self.root)
    self.assertEqual(
      [(r['name'], r['label']) for r in self._Rows()], [('speed', ''), ('by hand', ''), ('speed', 'other')]
    )

  def test_a_bad_row_leaves_the_file_as_it_was(self):
    tool.Add('pretrain', [_Row()], self.root)
    with self.assertRaises(errors.ConfigError):
      tool.Add('pretrain', [_Row(value=float('nan'))], self.root)
    self.assertEqual(self._Rows(), [_Row()])

  def test_a_run_is_recorded_with_its_origin(self):
    run = self.enter_context(tempfile.TemporaryDirectory())
    metrics_case.WriteRun(run, wall_time=1.75e9)  # 2025-06-15.
    code, out, err = _Main(
      '--root', self.root, 'add', 'pretrain', f'--run={run}', '--label=short', '--command=trainer x', '--commit=abc'
    )
    self.assertEqual((code, err), (0, ''))
    self.assertIn('ratio of the two, held-out human speech: 1.500', out)
    row = self._Rows()[0]
    self.assertEqual(
      (row['label'], row['command'], row['date'], row['versions']['commit']),
      ('short', 'trainer x', '2025-06-15', 'abc'),
    )
    self.assertEqual(row['run'], os.path.basename(run))
    self.assertGreaterEqual(row['machine']['cores'], 1)

  def test_a_figure_measured_by_hand(self):
    code, _, err = _Main(
      '--root',
      self.root,
      'add',
      'pretrain',
      '--name=first step',
      '--value=14.25',
      '--unit=s',
      '--command=trainer',
      '--commit=abc',
      '--date=2026-02-03',
      '--note=cold cache',
    )
    self.assertEqual((code, err), (0, ''))
    row = self._Rows()[0]
    self.assertEqual(
      (row['name'], row['value'], row['unit'], row['date'], row['note']),
      ('first step', 14.25, 's', '2026-02-03', 'cold cache'),
    )

  def test_errors_are_one_line(self):
    for argv, message in (
      (['--name=x', '--value=1'], 'either --run=RUN, or --name, --value and --unit'),
      (['--run=x', '--name=x'], 'either --run=RUN'),
      (['--run=/absent'], '/absent: no such run directory'),
      (['--name=x', '--value=nan', '--unit='], 'value = nan: expected a finite number'),
      (['--name=x', '--value=1', '--unit=', '--date=today'], 'expected YYYY-MM-DD'),
    ):
      with self.subTest(message):
        code, _, err = _Main('--root', self.root, 'add', 'pretrain', '--command=c', '--commit=abc', *argv)
        self.assertEqual(code, 2)
        self.assertIn(message, err)
        self.assertEqual(err.count('\n'), 1)
        self.assertFalse(os.path.exists(results.Path('pretrain', self.root)))

  def test_a_tool_s_own_figures_are_kept_where_it_is_told_to(self):
    parser = argparse.ArgumentParser()
    kept_figures.AddFlags(parser)
    given = ['--add=speech', '--label=beam of 8', '--note=busy']
    args = argparse.Namespace(**vars(parser.parse_args(given)), given=given)
    path = os.path.join(self.root, 'speech.json')
    with mock.patch.object(results, 'Path', lambda name: os.path.join(self.root, f'{name}.json')):
      kept_figures.Start('evaluate', args)
      for value in (1 / 3, 2 / 3):
        kept_figures.Keep(args, [('WER', 100 * value, '%'), ('words', 1234567.0, '')], 'int8')
      (wer, words) = results.Rows(path)
      self.assertEqual((wer['name'], wer['label'], wer['value'], wer['unit']), ('WER', 'beam of 8, int8', 66.67, '%'))
      self.assertEqual(words['value'], 1235000)
      self.assertEqual(wer['command'], "python -m tools.evaluate --add=speech '--label=beam of 8' --note=busy")
      self.assertEqual(wer['note'], 'busy')
      kept_figures.Keep(argparse.Namespace(add=''), [('x', 1.0, '')])
      self.assertLen(results.Rows(path), 2)
      with self.assertRaisesRegex(errors.ConfigError, '^--label: only with --add=NAME'):
        kept_figures.Start('evaluate', parser.parse_args(['--label=x']))

  def test_an_evaluation_s_figures(self):
    values = {'labeled/wer': 0.25, 'labeled/wer_low': 0.2, 'labeled/wer_high': 0.3, 'labeled/loss': 9.0}
    values |= {'labeled/hotwords_said': 4, 'labeled/hotwords_found': 3, 'labeled/hotwords_false': 1}
    self.assertEqual(
      evaluate.Figures('Dev', values, {'not calibrated': 0.1}),
      [
        ('Dev, labeled: hotwords, false', 1, ''),
        ('Dev, labeled: hotwords, found', 3, ''),
        ('Dev, labeled: hotwords, said', 4, ''),
        ('Dev, labeled: WER', 25.0, '%'),
        ('Dev, labeled: WER, low end of its interval', 20.0, '%'),
        ('Dev, labeled: WER, high end of its interval', 30.0, '%'),
        ('Dev: ECE of words, not calibrated', 0.1, ''),
      ],
    )

  def test_a_result_without_rows_says_so(self):
    self.assertEqual(tables.Figures(_Result()), 'Not measured yet.')

  def test_without_git_a_commit_must_be_given(self):
    with self.assertRaisesRegex(errors.ConfigError, '--commit=HASH'):
      this_machine.Versions(self.root)


class TableTest(parameterized.TestCase):
  @parameterized.parameters(
    (0.123456, '0.123'), (12.345, '12.3'), (1234.5, '1,234'), (40000, '40,000'), (7, '7'), (-0.31, '-0.310')
  )
  def test_values_are_rounded_for_reading(self, value, text):
    self.assertEqual(tables.Number(value), text)

  def test_every_label_is_a_column(self):
    table = tables.Figures(
      _Result(_Row(label='short'), _Row(label='long', value=4), _Row(name='size', label='long', value=9))
    )
    self.assertIn('|  | short | long |\n', table)
    self.assertIn('| speed | 2.500 s | 4 s |', table)
    self.assertIn('| size |  | 9 s |', table)

  def test_an_interval_stands_behind_its_value(self):
    figures = kept_figures.WithInterval('WER', 25.0, 20.0, 30.0, '%')
    table = tables.Figures(_Result(*(_Row(name=name, value=value, unit=unit) for name, value, unit in figures)))
    self.assertIn('| WER | 25.0 (20.0 to 30.0) % |\n', table)
    self.assertNotIn('interval', table)

  def test_many_labels_are_rows_not_columns(self):
    rows = [_Row(name=name, label=f'system {i}', value=i + 0.5) for i in range(7) for name in ('speed', 'size')]
    self.assertStartsWith(
      tables.Figures(_Result(*rows)), '|  | speed | size |\n| :-- | --: | --: |\n| system 0 | 0.500 s |'
    )
    self.assertStartsWith(tables.Figures(_Result(*rows[:12])), '|  | system 0 | system 1 |')

  def test_what_all_origins_share_is_said_once_and_few_names_are_listed(self):
    rows = [_Row(name=f'n{i}', command=f'c{i // 5}') for i in range(15)]
    lines = tables.Figures(_Result(*rows)).splitlines()[-4:]
    self.assertEqual(lines[0], '- n0, n1, n2, ... (5 in all): `c0`; 2026-01-31; commit abc.')
    self.assertRegex(lines[-1], '^- All on 2 cores of X.*lingvo 0[^,]*[.]$')
    self.assertEqual(sum('2 cores' in line for line in lines), 1)
    rows[0]['machine'] = {**rows[0]['machine'], 'cores': 3}
    self.assertNotIn('All on', tables.Figures(_Result(*rows)))

  def test_origin_is_said_once_for_the_rows_that_share_it(self):
    table = tables.Figures(_Result(_Row(), _Row(name='size'), _Row(name='other', command='make demo')))
    self.assertEqual(table.count('`trainer`'), 1)
    self.assertIn('- speed, size: `trainer`; 2026-01-31; 2 cores of X', table)
    self.assertIn('- other: `make demo`', table)

  def test_rows_of_several_days_and_commits_share_a_line_where_asked(self):
    rows = [
      _Row(),
      _Row(name='size', command='make x', date='2026-02-01', versions={**_Row()['versions'], 'commit': 'def'}),
    ]
    self.assertEqual([line.partition(';')[0] for line in tables.Origins(rows)], ['- `trainer`', '- `make x`'])
    (line,) = tables.Origins(rows, lambda row: 'all', span=True)
    self.assertStartsWith(line, '- all: `trainer`, `make x`; 2026-01-31 to 2026-02-01; 2 cores of X')
    self.assertEndsWith(line, 'commit abc, def.')

  def test_every_row_has_as_many_cells_as_the_header(self):
    table = tables.Figures(_Result(_Row(name='x | y', label='a'), _Row(name='size', label='b | c')))
    lines = [l.replace(r'\|', '') for l in table.splitlines() if l.startswith('|')]
    self.assertLen(set(line.count('|') for line in lines), 1)


class FormTest(parameterized.TestCase):
  @parameterized.parameters(
    ({'value': '3'}, r"rows\[0\]\.value = '3': expected a finite number"),
    ({'value': True}, 'value = True: expected a finite'),
    ({'value': float('inf')}, 'value = inf: expected a finite'),
    ({'units': 's'}, 'rows.*units: no such field; did you mean unit'),
    ({'command': ' '}, 'command is empty'),
    ({'machine': {}}, 'machine: no cpu'),
    ({'date': '1.2.2026'}, 'expected YYYY-MM-DD'),
  )
  def test_bad_rows_are_named(self, changed, message):
    with self.assertRaisesRegex(errors.ConfigError, message):
      forms.Check(_Result(_Row(**changed)), 'docs/results/x.json')

  def test_two_rows_of_one_name_and_label_are_refused(self):
    with self.assertRaisesRegex(errors.ConfigError, 'a second row'):
      forms.Check(_Result(_Row(), _Row()), 'x.json')

  def test_every_required_field_is_missed(self):
    for field in _Row():
      row = _Row()
      del row[field]
      with self.assertRaisesRegex(errors.ConfigError, rf'rows\[0\]: no {field}'):
        forms.Check(_Result(row), 'x.json')

  @parameterized.parameters(
    ({'form': 'figure', 'rows': []}, "form = 'figure': .* did you mean figures"),
    ({'rows': []}, 'form = None: expected one of'),
    ({'form': 'figures'}, 'a list `rows`'),
    ({'form': 'figures', 'rows': [], 'row': 1}, 'row: no such field; did you mean rows'),
  )
  def test_a_result_of_no_form_is_refused(self, result, message):
    with self.assertRaisesRegex(errors.ConfigError, message):
      forms.Check(result, 'x.json')


class PagesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.root = self.enter_context(tempfile.TemporaryDirectory())
    tool.Add('pretrain', [_Row()], self.root)

  def _Write(self, text):
    with open(os.path.join(self.root, 'README.md'), 'w', encoding='utf-8') as f:
      f.write(text)

  def _Read(self):
    with open(os.path.join(self.root, 'README.md'), encoding='utf-8') as f:
      return f.read()

  def test_tables_are_made_between_the_markers_and_nothing_else_changes(self):
    self._Write('before\n<!-- results:pretrain:begin -->old<!-- results:pretrain:end -->\nafter\n')
    self.assertEqual(_Main('--root', self.root, 'pages')[0], 0)
    text = self._Read()
    self.assertStartsWith(text, 'before\n<!-- results:pretrain:begin -->\n| ')
    self.assertEndsWith(text, '\n<!-- results:pretrain:end -->\nafter\n')
    self.assertIn('| speed | 2.500 s |', text)
    self.assertNotIn('old', text)

  def test_check_names_the_stale_table_and_writes_nothing(self):
    self._Write('<!-- results:pretrain:begin --><!-- results:pretrain:end -->')
    _Main('--root', self.root, 'pages')
    self.assertEqual(_Main('--root', self.root, 'pages', '--check')[0], 0)
    text = self._Read()
    tool.Add('pretrain', [_Row(value=9)], self.root)
    code, _, err = _Main('--root', self.root, 'pages', '--check')
    self.assertEqual(code, 1)
    self.assertIn('stale: README.md: pretrain', err)
    self.assertEqual(err.count('\n'), 1)
    self.assertEqual(self._Read(), text)

  def test_bad_markers_are_named(self):
    for text, message in (
      ('\n<!-- results:pretrain:begin -->', 'README.md line 2: .*without its pair'),
      ('<!-- results:pretrain:end -->', 'without its pair'),
      (
        '<!-- results:pretrian:begin --><!-- results:pretrian:end -->',
        'no docs/results/pretrian.json; did you mean pretrain',
      ),
      (
        '<!-- results:pretrain/short:begin --><!-- results:pretrain/short:end -->',
        'README.md: results:pretrain/short: the form figures has no short; expected table',
      ),
    ):
      with self.subTest(message):
        self._Write(text)
        code, _, err = _Main('--root', self.root, 'pages')
        self.assertEqual(code, 2)
        self.assertRegex(err, message)

  def test_the_lines_of_the_front_page_are_sums_and_verdicts_of_the_rows(self):
    faults = {'form': 'faults', 'rows': [{'injected': 3, 'survived': 2}, {'injected': 1000, 'survived': 1000}]}
    self.assertEqual(tables.FaultsLines(faults), '- Faults of 2 kinds: 1,002 of 1,003 survived.')
    benchmark = results.Load(results.Path('benchmark'))
    first, *others = benchmark_table.Lines(benchmark).splitlines()
    barred = [row for row in benchmark['rows'] if row['bar']]
    self.assertStartsWith(first, f'- `make benchmark`: {sum(row["met"] for row in barred)} of {len(barred)} bars met')
    self.assertLen(others, len(benchmark_table._FRONT))

  def test_the_projects_tables_are_current(self):
    if not os.path.exists(os.path.join(results.ROOT, 'README.md')):
      self.skipTest('no README.md')
    code, _, err = _Main('pages', '--check')
    self.assertEqual(code, 0, err)


if __name__ == '__main__':
  absltest.main()
