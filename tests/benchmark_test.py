"""The benchmark: workers take turns, one that fails is named, bars are kept, and a smoke run of real rows."""

import contextlib
import functools
import io
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from unittest import mock

import numpy as np
import pytest
import soundfile
from absl.testing import absltest
from absl.testing import parameterized

from fm_lingvo import errors
from fm_lingvo.runtime import huge_pages
from tests import fork_server
from tests import process_case
from tools import benchmark
from tools.bench import command_rows
from tools.bench import comparison
from tools.bench import corpus
from tools.bench import curve_rows
from tools.bench import inputs
from tools.bench import peers_env
from tools.bench import timing
from tools.bench import transducer_truth
from tools.bench.comparison import Row
from tools.figures import benchmark_table
from tools.figures import forms
from tools.figures import results


def _Worker(name, **sizes):
  return timing.Worker(name, 'tests.bench_worker', {'name': name, **sizes})


def _Time(*workers, **options):
  """The workers, timed: dict name -> Worker."""
  timing.Time(workers, **{'rounds': 3, 'threads': 1, **options})
  return {worker.name: worker for worker in workers}


def _Main(*argv):
  """(exit code, standard output, standard error)."""
  out, err = io.StringIO(), io.StringIO()
  with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
    try:
      code = benchmark.Main(['benchmark', *argv])
    except SystemExit as e:  # argparse's.
      code = e.code
  return code, out.getvalue(), err.getvalue()


def _Row(**changed):
  return {
    'name': 'a step',
    'unit': 's',
    'ours': 1.0,
    'peer': 3.0,
    'ratio': 3.0,
    'bar': '>= 1.5',
    'met': True,
    'note': '',
    'group': 'quantizer',
    'command': 'c',
    'date': '2026-01-31',
    'machine': {'cpu': 'X', 'cores': 1, 'memory_gb': 1, 'system': 'Y', 'threads': 1, 'clock': 'wall clock'},
    'versions': {'python': '3', 'tensorflow': '2', 'lingvo': '0', 'commit': 'abc', 'peers': {'torch': '2.13'}},
    **changed,
  }


def _Check(*found):
  forms.Check({'form': 'benchmark', 'rows': list(found)}, 'docs/results/benchmark.json')


class TimingTest(absltest.TestCase):
  """Processes are real: what is tested is how they are started, asked and ended. They do not import TensorFlow."""

  def test_workers_take_turns(self):
    log = self.enter_context(tempfile.TemporaryDirectory()) + '/log'
    few = _Worker('C', log=log)
    few.max_turns = 1
    _Time(_Worker('A', log=log), _Worker('B', log=log), few)
    with open(log, encoding='utf-8') as f:
      text = f.read()
    # Two calls before the turns: the first, and one whose length says how often a turn repeats the call.
    self.assertEqual(text, 'AA' + 'BB' + 'CC' + 'ABC' + 'AB' * 2)

  def test_figures_are_those_of_one_call(self):
    found = _Time(_Worker('short', seconds=0.02), _Worker('long', seconds=0.3), rounds=2)
    for name, seconds in (('short', 0.02), ('long', 0.3)):
      self.assertLen(found[name].turns, 2)
      self.assertGreaterEqual(found[name].seconds, seconds)
    self.assertGreater(found['short'].facts['calls'], 1)
    self.assertLess(found['short'].seconds, found['long'].seconds)

  def test_a_call_s_own_figures_are_those_of_its_turn(self):
    found = _Time(_Worker('known', calls=1), _Worker('measured'))
    self.assertEqual([turn['number'] for turn in found['known'].turns], [2, 3, 4])  # After the first call.
    self.assertEqual(found['known'].Median('number'), 3)
    self.assertEqual(found['measured'].Median('number'), 4)  # After one more, which says how often a turn repeats.

  def test_one_that_fails_is_named_and_the_others_go_on(self):
    absent = timing.Worker('absent', 'tests.bench_worker', {}, failed='torch: not installed')
    found = _Time(_Worker('good'), _Worker('bad', fail='setup'), _Worker('worse', fail='turn'), absent)
    self.assertEqual(found['bad'].failed, 'ValueError: no such thing')
    self.assertEqual(found['worse'].failed, 'ValueError: broke on the way')
    self.assertEqual(found['absent'].failed, 'torch: not installed')
    self.assertEqual((found['good'].failed, len(found['good'].turns)), ('', 3))
    self.assertNotIn('seconds', found['worse'].Json())

  def test_one_that_ends_while_others_take_their_turns_is_named(self):
    found = _Time(_Worker('gone', fail='later', calls=2), _Worker('good'))
    self.assertEqual(found['gone'].failed, 'exit code 3; last line: what a library prints')
    self.assertLen(found['good'].turns, 3)

  def test_one_that_hangs_is_ended(self):
    self.assertEqual(_Time(_Worker('stuck', fail='hang'), limit_seconds=2.0)['stuck'].failed, 'took over 2 s')

  def test_reasons_name_no_folder_of_this_machine(self):
    root, other = [os.path.realpath(self.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)]
    os.makedirs(f'{other}/build')
    os.symlink(f'{other}/build', f'{root}/build')
    with mock.patch.object(timing, 'ROOT', root):
      self.assertEqual(
        timing.FromRoot(f'no {other}/build/peers/x.so, {root}/tools/y.py'), 'no build/peers/x.so, tools/y.py'
      )


class RowTest(parameterized.TestCase):
  def _Workers(self, own=(), **seconds):
    found = {}
    for name, turns in seconds.items():
      found[name] = timing.Worker(
        name,
        '',
        {},
        is_peer=name not in own,
        failed='' if turns else 'gone',
        turns=[{'seconds': s, 'peak_gb': 2 * s} for s in turns],
      )
    return found

  def test_the_best_of_ours_is_compared_with_the_best_peer(self):
    workers = self._Workers(
      ['ours, xla', 'ours, graph'],
      **{'ours, xla': (1.0, 1.2, 9.0), 'ours, graph': (2.0,)},
      slow=(4.0,),
      fast=(3.0,),
      gone=(),
    )
    row = comparison.MakeRow(Row('a step', '>= 2'), workers)
    self.assertEqual((row['ours'], row['ours_is'], row['peer'], row['peer_is']), (1.2, 'ours, xla', 3.0, 'fast'))
    self.assertAlmostEqual(row['ratio'], 2.5)
    self.assertTrue(row['met'])
    self.assertEqual(row['workers']['gone']['failed'], 'gone')

  def test_only_the_peers_asked_for_are_compared(self):
    workers = self._Workers(['ours'], ours=(1.0,), slow=(4.0,), fast=(3.0,))
    self.assertEqual(comparison.MakeRow(Row('a step', peers=('slow',)), workers)['ratio'], 4.0)

  def test_a_share_is_ours_over_the_peer_s(self):
    row = comparison.MakeRow(
      Row('memory', '<= 0.2', 'GB', lambda worker: worker.peak_gb, 'ours / peer'),
      self._Workers(['ours'], ours=(1.0,), other=(4.0,)),
    )
    self.assertEqual((row['ours'], row['peer'], row['ratio'], row['met'], row['unit']), (2.0, 8.0, 0.25, False, 'GB'))

  def test_without_a_peer_the_bar_is_on_our_figure(self):
    row = comparison.MakeRow(Row('help', '<= 2', ratio='ours'), self._Workers(['help'], help=(1.5,)))
    self.assertEqual((row['ours'], row['peer'], row['ratio'], row['met']), (1.5, None, 1.5, True))

  @parameterized.parameters(({'ours': (), 'other': (1.0,)},), ({'ours': (1.0,), 'other': ()},))
  def test_a_bar_without_two_figures_is_not_met(self, seconds):
    workers = self._Workers(['ours'], **seconds)
    row = comparison.MakeRow(Row('a step', '>= 1'), workers)
    self.assertEqual((row['ratio'], row['met']), (None, False))
    self.assertIsNone(comparison.MakeRow(Row('a step'), workers)['met'])

  def test_a_worker_that_computed_something_else_fails(self):
    workers = {
      name: timing.Worker(name, '', {}, facts={'loss': loss})
      for name, loss in (('a', 2.0), ('b', 2.001), ('c', 3.0), ('d', float('nan')))
    }
    workers['e'] = timing.Worker('e', '', {}, failed='not installed')
    comparison.CheckAgree(workers, 'loss', 0.01, 2.0)
    self.assertEqual(
      [w.failed for w in workers.values()], ['', '', 'loss: 3, expected 2', 'loss: nan, expected 2', 'not installed']
    )
    comparison.CheckInside(workers, 'loss', 0.0, 2.0)
    self.assertEqual([bool(w.failed) for w in workers.values()], [False, True, True, True, True])

  def test_without_an_expected_value_the_median_counts(self):
    workers = {str(n): timing.Worker(str(n), '', {}, facts={'weights': n}) for n in (100, 101, 150)}
    comparison.CheckAgree(workers, 'weights', 0.05)
    self.assertEqual([bool(w.failed) for w in workers.values()], [False, False, True])


class CurveTest(parameterized.TestCase):
  @parameterized.parameters(0.5, 1.0, 2.0)
  def test_the_exponent_is_that_of_a_power_law_whatever_its_factor(self, exponent):
    xs = [1, 2, 5, 10, 20, 60]
    for factor in (0.01, 7.0):
      self.assertAlmostEqual(curve_rows.Exponent(xs, [factor * x**exponent for x in xs]), exponent)

  def test_costs_that_do_not_grow_hide_no_growth(self):
    xs = [1, 2, 4, 8, 16, 32, 64]
    self.assertGreater(curve_rows.Exponent(xs, [1 + 0.1 * x**2 for x in xs]), 1.8)

  def test_one_point_has_no_exponent(self):
    self.assertIsNone(curve_rows.Exponent([1, 100], [1.0, 2.0]))
    self.assertIsNone(curve_rows.Exponent([50, 100], [0.0, 2.0]))

  def test_the_table_has_a_curve_s_points_once(self):
    curve = {
      'over': 's of audio',
      'points': [{'x': 1, 'seconds': 0.5, 'peak_gb': 0.25}, {'x': 60, 'seconds': 30.0, 'share': 0.1}],
    }
    text = benchmark_table.Table({'rows': [_Row(name='time', curve=curve), _Row(name='memory', curve=curve)]})
    self.assertIn('- time, and 1 more, by s of audio: 1: 500 ms, 250 MB; 60: 30 s, share 0.1.', text)
    self.assertEqual(text.count('250 MB'), 1)

  def test_a_bad_point_is_named(self):
    curve = {'over': 's', 'points': [{'x': 1, 'seconds': float('inf')}]}
    with self.assertRaisesRegex(errors.ConfigError, r"rows\[0\]\.curve: .*'seconds': inf"):
      _Check(_Row(curve=curve))


class InputsTest(absltest.TestCase):
  def test_a_third_of_the_frames_has_a_label_likelier_than_blank(self):
    x = inputs.Decoding({'batch': 4, 'frames': 60, 'width': 8, 'embedded': 4, 'predicted': 4, 'joint': 16, 'vocab': 30})
    best = (np.tanh(x['encoded'] @ x['w_encoded']) @ x['w'] + x['b']).argmax(-1)
    self.assertAlmostEqual((best > 0).mean(), 1 / 3, delta=0.01)

  def test_a_step_of_more_audio_has_more_products_but_not_in_a_second(self):
    one = {'batch': 1, 'seconds': 1, 'layers': 1, 'width': 8, 'codes': 16}
    gflop, appetite = command_rows.AudioForGpu(one)
    self.assertAlmostEqual(gflop, 6e-9 * 25 * (23 * 8 * 8 + 8 * 16))  # 16 + 4 + 3 squares a block, and the head.
    for more in ({'batch': 3}, {'seconds': 4}):
      self.assertAlmostEqual(command_rows.AudioForGpu({**one, **more})[1] / appetite, 1.0)


class CorpusTest(absltest.TestCase):
  def test_a_recording_is_listed_again_under_another_id(self):
    folder = self.enter_context(tempfile.TemporaryDirectory())
    paths = corpus.Write(folder, recordings=2, times=3, seconds=1)
    with open(folder + '/manifest.jsonl', encoding='utf-8') as f:
      listed = [json.loads(line) for line in f]
    self.assertEqual([row['audio_filepath'] for row in listed], paths)
    self.assertLen({row['utt_id'] for row in listed}, 6)
    self.assertEqual([soundfile.info(path).samplerate for path in paths[:2]], [16000, 48000])
    self.assertLess(np.abs(soundfile.read(paths[0])[0]).max(), 0.99)  # Not clipped.


class FileTest(parameterized.TestCase):
  def test_a_group_that_this_version_does_not_know_is_kept(self):
    path = self.enter_context(tempfile.TemporaryDirectory()) + '/b.json'
    with open(path, 'w', encoding='utf-8') as f:
      json.dump({'form': 'benchmark', 'rows': [_Row(name='x', group='of tomorrow')]}, f)
    benchmark.Write(path, 'quantizer', [_Row()])
    with open(path, encoding='utf-8') as f:
      self.assertEqual([row['name'] for row in json.load(f)['rows']], ['a step', 'x'])

  def test_a_group_replaces_its_own_rows_alone(self):
    path = self.enter_context(tempfile.TemporaryDirectory()) + '/b.json'
    benchmark.Write(path, 'transducer', [_Row(name='t', group='transducer')])
    benchmark.Write(path, 'quantizer', [_Row(name='old'), _Row(name='older')])
    benchmark.Write(path, 'quantizer', [_Row(name='new'), _Row(name='old', ours=2.0)])
    with open(path, encoding='utf-8') as f:
      found = [(row['name'], row['ours']) for row in json.load(f)['rows']]
    self.assertEqual(found, [('new', 1.0), ('old', 2.0), ('t', 1.0)])  # In the order of the groups.

  @parameterized.parameters(
    ({'ratio': float('nan')}, 'ratio = nan: expected a finite number or null'),
    ({'met': None}, 'met = None'),
    ({'bar': ''}, 'met = True: expected'),
    ({'ours': 'fast'}, "ours = 'fast'"),
  )
  def test_a_bad_row_is_named(self, changed, message):
    with self.assertRaisesRegex(errors.ConfigError, re.escape(message)):
      _Check(_Row(**changed))

  def test_the_table_says_who_is_missing_and_what_is_missed(self):
    lines = benchmark_table.Table(
      {
        'rows': [
          _Row(ours_is='ours, XLA', peer_is='SpeechBrain', workers={'rnnt': {'failed': 'not installed'}}),
          _Row(
            name='memory', met=False, ratio=0.9, bar='<= 0.5', unit='GB', ours=0.25, peer=2.0, note='inputs not counted'
          ),
        ]
      }
    ).splitlines()
    self.assertIn('| a step | 1 s (XLA) | 3 s (SpeechBrain) | 3 | >= 1.5 | yes |', lines)
    self.assertIn('| memory | 250 MB | 2 GB | 0.9 | <= 0.5 | **no** |', lines)
    self.assertIn('- memory: inputs not counted.', lines)
    self.assertIn('- without figures: rnnt (not installed) in a step.', lines)
    self.assertLen([line for line in lines if 'commit abc' in line], 1)

  def test_the_bars_of_committed_rows_are_those_of_the_code(self):
    setting = comparison.Setting(peers_env.Peers({'versions': {}, 'missing': {}}), 1, 1, 'seconds')
    groups = ('step_tiny', 'step_base', 'quantizer', 'decoding', 'stages')  # The others write files first.
    bars = {row.name: row.bar for group in groups for one in benchmark.GROUPS[group](setting) for row in one.rows}
    committed = {row['name']: row['bar'] for row in results.Load(results.Path('benchmark'))['rows']}
    self.assertEqual({name: bar for name, bar in committed.items() if name in bars}, bars)

  def test_the_short_table_has_what_has_a_bar(self):
    lines = benchmark_table.Short({'rows': [_Row(), _Row(name='another', bar='', met=None)]}).splitlines()
    self.assertEqual(lines[2:4], ['| a step | 3 | >= 1.5 | yes |', ''])
    self.assertLen(lines, 5)


class MainTest(parameterized.TestCase):
  """The smoke runs start a process for each worker, as the benchmark does; here they are forks that have TensorFlow."""

  @classmethod
  @functools.cache
  def _Python(cls):
    """A program whose processes are forks, made once for all tests."""
    path = cls.enter_context(tempfile.TemporaryDirectory()) + '/python'
    cls.enter_context(fork_server.Server(process_case.ROOT)).WriteProgram(path)
    return path

  @parameterized.parameters(
    (['--rows=quantiser'], 'quantiser: no such group; did you mean quantizer'),
    (['--rounds=0', '--quick', '--output=x'], '--rounds and --threads: expected >= 1'),
    (['--quick'], '--quick: expected --output=FILE'),
    (['--clock=sun'], "invalid choice: 'sun'"),
  )
  def test_usage_errors_end_with_code_2(self, argv, message):
    code, _, err = _Main(*argv)
    self.assertEqual(code, 2)
    self.assertIn(message, err)

  def _Smoke(self, groups):
    """(rows, standard output) of a smoke run of groups."""
    path = self.enter_context(tempfile.TemporaryDirectory()) + '/b.json'
    with mock.patch.object(sys, 'executable', self._Python()):
      code, out, err = _Main('--quick', f'--rows={groups}', f'--output={path}', '--commit=abc', '--threads=1')
    self.assertEqual(code, 0, err)
    with open(path, encoding='utf-8') as f:
      return json.load(f)['rows'], out

  @pytest.mark.slow
  def test_recognition_is_timed_with_a_run_of_random_weights(self):
    found, _ = self._Smoke('recognition')
    self.assertLen(found, 6)
    for row in found:
      self.assertGreater(row['ours'], 0.0, row)

  @pytest.mark.slow
  def test_a_smoke_run_writes_rows_of_the_form(self):
    found, out = self._Smoke('step_tiny,quantizer,transducer')
    self.assertLen(found, 10)
    for row in found:
      self.assertGreaterEqual(row['ours'], 0.0 if row['unit'] == 'GB' else 1e-9, row['name'])
      self.assertIsNone(row['met'])
      self.assertEqual(row['versions']['commit'], 'abc')
    # Independent of what was installed: NumPy is, and each peer of PyTorch's has figures or a reason.
    argmax = next(row for row in found if 'argmax in NumPy' in row['name'])
    self.assertGreater(argmax['ratio'], 0)
    for name, one in found[-2]['workers'].items():
      self.assertTrue(one.get('failed') or one['seconds'] > 0, name)
    error = found[-1]
    self.assertLess(error['ratio'], 1e-5)
    self.assertIn('| quantizer, G 1', out)

  @pytest.mark.slow
  def test_a_smoke_run_of_what_is_measured_without_a_bar_of_peers(self):
    found, out = self._Smoke('decoding,curves,pipeline,prepare')
    self.assertLen(found, 1 + 7 + 2 + 2)
    for row in found:
      if 'peak memory' not in row['name']:  # Of a model so small it may be none.
        self.assertIsNotNone(row['ours'], f'{row["name"]}: {row.get("workers")}')
      for name, one in row.get('workers', {}).items():
        self.assertTrue('failed' not in one or 'not installed' in one['failed'], f'{name}: {one}')
    lengths = next(row['curve'] for row in found if 'of audio' in row['name'] and 'curve' in row)
    self.assertEqual([point['x'] for point in lengths['points']], [1, 2])
    self.assertIn('by s of audio: 1: ', out)


class MakefileTest(absltest.TestCase):
  def test_what_make_benchmark_runs_after_it_is_a_command(self):
    with open(os.path.join(process_case.ROOT, 'Makefile'), encoding='utf-8') as f:
      recipe = re.search(r'(?m)^benchmark:.*\n((?:\t.*\n)+)', f.read()).group(1)
    (argument,) = re.findall(r'-m tools\.results (\w+)', recipe)
    done = subprocess.run(
      [sys.executable, '-m', 'tools.results', argument, '--check'],
      cwd=process_case.ROOT,
      capture_output=True,
      text=True,
      check=False,
    )
    self.assertEqual(done.returncode, 0, done.stderr)  # And the tables are those of docs/results.


class TruthTest(absltest.TestCase):
  def test_the_loss_in_float64_is_the_known_one(self):
    """warp-transducer's example, tests/test_cpu.cpp."""
    logits = np.array(
      [
        [[0.1, 0.6, 0.1, 0.1, 0.1], [0.1, 0.1, 0.6, 0.1, 0.1], [0.1, 0.1, 0.2, 0.8, 0.1]],
        [[0.1, 0.6, 0.1, 0.1, 0.1], [0.1, 0.1, 0.2, 0.1, 0.1], [0.7, 0.1, 0.2, 0.1, 0.1]],
      ]
    )[None]
    loss, gradient = transducer_truth.LossAndGradient(logits, np.array([[1, 2]]))
    self.assertAlmostEqual(loss, 4.495666, places=5)
    np.testing.assert_allclose(
      gradient[0, 0, 0], [-0.13116688, -0.3999269, 0.17703125, 0.17703125, 0.17703125], atol=1e-7
    )
    np.testing.assert_allclose(
      gradient[0, 1, 2], [-0.6925882, 0.16871116, 0.18645467, 0.16871116, 0.16871116], atol=1e-7
    )


class PeersTest(absltest.TestCase):
  def test_a_peer_that_is_not_installed_says_so(self):
    peers = peers_env.Peers({'versions': {'torch': '2.13'}, 'missing': {'fast-rnnt': 'no compiler'}})
    one = peers.Worker('fast_rnnt', 'm', {}, 'fast-rnnt', 'torch', 'rnnt')
    self.assertEqual(one.failed, 'fast-rnnt: no compiler; rnnt: not installed')
    self.assertEqual(one.versions, {'torch': '2.13'})
    self.assertEqual(peers.Worker('torch', 'm', {}, 'torch').failed, '')

  def test_every_peer_is_pinned(self):
    for name in ('peers.txt', 'peers_built.txt'):
      with open(os.path.join(timing.ROOT, 'requirements', name), encoding='utf-8') as f:
        for line in f:
          self.assertRegex(line, r'^(#.*|[\w.-]+==[\w.]+)\n$')


class HugePagesTest(absltest.TestCase):
  def _Run(self, **env):
    code = (
      'import os\nfrom fm_lingvo.runtime import huge_pages\nhuge_pages.Use()\nprint(os.environ.get("GLIBC_TUNABLES"))'
    )
    environment = {k: v for k, v in process_case.Environment().items() if k != 'GLIBC_TUNABLES'}
    return subprocess.run(
      [sys.executable, '-c', code], env={**environment, **env}, text=True, check=True, capture_output=True
    ).stdout.split()

  def test_a_program_begins_again_once_and_only_where_it_has_to_ask(self):
    with open('/sys/kernel/mm/transparent_hugepage/enabled', encoding='utf-8') as f:
      asks = '[madvise]' in f.read()
    glibc = tuple(map(int, platform.libc_ver()[1].split('.')))
    self.assertEqual(self._Run(), [huge_pages.TUNABLE if asks and glibc >= (2, 35) else 'None'])

  def test_the_user_s_own_setting_stays(self):
    self.assertEqual(self._Run(GLIBC_TUNABLES='glibc.malloc.check=0'), ['glibc.malloc.check=0'])


if __name__ == '__main__':
  absltest.main()
