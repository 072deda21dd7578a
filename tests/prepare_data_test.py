"""The data preparation: rejects with reasons, byte-identical shards, and no data set that only looks whole."""

import contextlib
import errno
import functools
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from unittest import mock

import numpy as np
import soundfile
from absl import flags
from absl.testing import absltest
from absl.testing import flagsaver

from fm_lingvo.data import dataset
from fm_lingvo.data import importers as api
from tools import prepare_data
from tools.common import exit_codes
from tools.prepare import demo_data
from tools.prepare import importers
from tools.prepare import pipeline
from tools.prepare import staging_dirs

RATE = 16000
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def Speech(seconds, seed=0):
  """Noise at speech level: float64 [seconds * RATE]."""
  return np.random.RandomState(seed).uniform(-0.2, 0.2, round(seconds * RATE))


def Fail(unused_max_seconds):
  raise RuntimeError('a bug in a loader')


def FullDisk(unused_max_seconds):
  raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class PrepareCase(absltest.TestCase):
  def setUp(self):
    super().setUp()
    tmp = tempfile.TemporaryDirectory()
    self.addCleanup(tmp.cleanup)
    self.dir = tmp.name
    self.output = os.path.join(self.dir, 'out')

  def Write(self, name, samples):
    soundfile.write(os.path.join(self.dir, name), samples, RATE)
    return name

  def Manifest(self, rows, name='in.jsonl'):
    path = os.path.join(self.dir, name)
    with open(path, 'w', encoding='utf-8') as f:
      f.writelines(json.dumps(r) + '\n' for r in rows)
    return path

  def Good(self, count):
    return [
      {
        'audio_filepath': self.Write(f'good{i}.wav', Speech(0.5 + 0.1 * (i % 5), i)),
        'text': f'good {"abcdefgh"[i % 8]}',
        'speaker': f's{i % 3}',
        'domain': f'd{i % 2}',
      }
      for i in range(count)
    ]

  def Prepare(self, rows, output=None, **kwargs):
    return pipeline.PrepareData(
      'manifest', output or self.output, options=importers.Options(input=self.Manifest(rows)), **kwargs
    )

  def Bytes(self, path):
    result = {}
    for name in sorted(os.listdir(path)):
      with open(os.path.join(path, name), 'rb') as f:
        result[name] = f.read()
    return result

  def Cli(self, *args):
    env = dict(os.environ, PYTHONPATH=os.pathsep.join([ROOT] + sys.path))
    return subprocess.run(
      [sys.executable, '-m', 'tools.prepare_data', *args],
      cwd=ROOT,
      env=env,
      capture_output=True,
      text=True,
      check=False,
    )

  def Main(self, *args):
    """As Cli, in this process: (exit code, standard error)."""
    err = io.StringIO()
    with flagsaver.flagsaver(), contextlib.redirect_stderr(err):
      code = prepare_data.main(flags.FLAGS(['prepare_data', *args], known_only=True))
    return code, err.getvalue()


class ContentTest(PrepareCase):
  def test_what_goes_in_comes_out(self):
    import tensorflow as tf

    rows = self.Good(40)
    made, report = self.Prepare(rows, dev_percent=10, test_percent=20)
    records = {}
    for split in dataset.SPLITS:
      for shard in dataset.ReadDataset(self.output).shards[split]:
        for data in tf.data.TFRecordDataset(os.path.join(self.output, shard.name)).as_numpy_iterator():
          e = {k: v.numpy() for k, v in tf.io.parse_single_example(data, dataset.FeatureSpec()).items()}
          utt_id = e['utt_id'].decode()
          self.assertEqual(dataset.SplitOf(utt_id, 10, 20), split)
          records[utt_id] = e
    self.assertLen(records, 40)
    for row in rows:
      e = records[row['audio_filepath'][:-4]]
      samples, _ = soundfile.read(os.path.join(self.dir, row['audio_filepath']), dtype='int16')
      np.testing.assert_array_equal(np.frombuffer(e['audio'], '<i2'), samples)
      self.assertEqual(
        (e['text'].decode(), e['speaker'].decode(), e['domain'].decode()), (row['text'], row['speaker'], row['domain'])
      )
      self.assertAlmostEqual(e['duration'], len(samples) / RATE, places=4)
    manifest = {r['utt_id']: r for r in dataset.ReadManifest(self.output)}
    self.assertEqual(set(manifest), set(records))
    self.assertEqual(list(next(iter(manifest.values()))), list(dataset.MANIFEST_KEYS))
    self.assertEqual(sum(made.Utterances(s) for s in dataset.SPLITS), 40)
    self.assertAlmostEqual(sum(made.hours.values()) * 3600, sum(r['duration'] for r in manifest.values()), delta=1)
    self.assertEqual(report['by_domain']['d1']['utterances'], 20)
    self.assertEqual(report['labeled'], 40)

  def test_bad_files_are_rejected_with_their_reasons_and_the_rest_goes_on(self):
    rows = self.Good(3)
    expected = {}

    def Bad(reason, name, **row):
      rows.append({'audio_filepath': name, **row})
      expected[reason] = name[:-4]

    Bad('silent', self.Write('silent.wav', np.zeros(RATE)))
    Bad('too_long', self.Write('long.wav', Speech(4.0)))
    Bad('too_short', self.Write('short.wav', Speech(0.1)))
    Bad('mislabelled', self.Write('label.wav', Speech(0.5)), text='far too many words for half a second of speech')
    Bad('missing', 'nowhere.wav')
    for reason, data in (('empty', b''), ('not_audio', b'<html>not found</html>' * 99)):
      with open(os.path.join(self.dir, f'{reason}.wav'), 'wb') as f:
        f.write(data)
      Bad(reason, f'{reason}.wav')
    with (
      open(os.path.join(self.dir, self.Write('whole.wav', Speech(1.0))), 'rb') as f,
      open(os.path.join(self.dir, 'cut.wav'), 'wb') as g,
    ):
      g.write(f.read()[:9000])
    Bad('corrupt', 'cut.wav')
    rows.append(dict(rows[0]))
    expected['duplicate_id'] = 'good0'
    _, report = self.Prepare(rows, limits={'max_duration': 3.0, 'cut_unlabeled': False})
    self.assertEqual(report['utterances'], 3)
    rejects = report['rejects']
    self.assertEqual({r['reason']: r['utt_id'] for r in rejects['files']}, expected)
    self.assertEqual(rejects['by_reason'], {reason: 1 for reason in expected})
    self.assertEqual(set(rejects['meaning']), set(expected))
    for r in rejects['files']:
      self.assertNotEmpty(r['detail'])
      self.assertTrue(r['source'].startswith(self.dir), r)
    with open(os.path.join(self.output, 'report.json'), encoding='utf-8') as f:
      self.assertEqual(json.load(f), report)

  def test_texts_with_digits_are_counted(self):
    rows = self.Good(2)
    rows[0]['text'] = 'good 2'
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
      _, report = self.Prepare(rows)
    self.assertEqual(report['texts_with_digits'], 1)
    self.assertIn('  1 texts with digits, which most tokenizers do not know', said.getvalue())

  def test_labels_can_be_required(self):
    rows = self.Good(2) + [{'audio_filepath': self.Write('unlabeled.wav', Speech(1.0)), 'text': '...'}]
    _, report = self.Prepare(rows, require_text=True)
    self.assertEqual(report['rejects']['by_reason'], {'no_text': 1})
    _, report = self.Prepare(rows, output=self.output + '2')
    self.assertEqual((report['utterances'], report['labeled']), (3, 2))

  def test_nothing_accepted_is_an_error_that_says_why(self):
    rows = [{'audio_filepath': self.Write('silent.wav', np.zeros(RATE))}]
    with self.assertRaisesRegex(pipeline.NothingAccepted, 'none accepted: 1 silent'):
      self.Prepare(rows)
    self.assertFalse(os.path.exists(self.output))


class StabilityTest(PrepareCase):
  def test_running_twice_gives_the_same_bytes(self):
    rows = self.Good(30) + [{'audio_filepath': 'nowhere.wav'}]
    self.Prepare(rows)
    self.Prepare(rows, output=self.output + '2')
    self.assertEqual(self.Bytes(self.output), self.Bytes(self.output + '2'))

  def test_the_order_of_the_input_does_not_matter(self):
    rows = self.Good(30)
    self.Prepare(rows)
    self.Prepare(rows[::-1], output=self.output + '2')
    self.assertEqual(self.Bytes(self.output), self.Bytes(self.output + '2'))

  def test_new_utterances_move_no_old_one(self):
    rows = self.Good(40)
    self.Prepare(rows[:20])
    self.Prepare(rows, output=self.output + '2')
    before, after = (
      {r['utt_id']: (r['split'], r['shard']) for r in dataset.ReadManifest(path)}
      for path in (self.output, self.output + '2')
    )
    self.assertEqual(before, {u: after[u] for u in before})

  def test_every_shard_is_there_even_if_empty(self):
    self.Prepare(self.Good(2), num_shards=8)
    names = [s.name for shards in dataset.ReadDataset(self.output).shards.values() for s in shards]
    self.assertLen(names, 8 + 2 + 2)
    for name in names:
      self.assertTrue(os.path.exists(os.path.join(self.output, name)), name)


class CrashTest(PrepareCase):
  def Leftovers(self):
    return [n for n in os.listdir(self.dir) if '.partial-' in n]

  def test_killed_run_leaves_nothing_that_looks_whole(self):
    rows = self.Good(20)
    os.mkfifo(os.path.join(self.dir, 'never.wav'))  # Opening it waits for ever, in the middle of the run.
    path = self.Manifest(rows + [{'audio_filepath': 'never.wav'}])
    process = subprocess.Popen(
      [sys.executable, '-m', 'tools.prepare_data', '--importer=manifest', f'--input={path}', f'--output={self.output}'],
      cwd=ROOT,
      env=dict(os.environ, PYTHONPATH=os.pathsep.join([ROOT] + sys.path)),
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
    )
    deadline = time.time() + 60
    while time.time() < deadline and not (
      self.Leftovers() and any(n.startswith('train-') for n in os.listdir(os.path.join(self.dir, self.Leftovers()[0])))
    ):
      time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    self.assertNotEmpty(self.Leftovers(), 'the run was not in its middle')
    self.assertFalse(os.path.exists(self.output))
    with self.assertRaises(dataset.DatasetError):
      dataset.ReadDataset(os.path.join(self.dir, self.Leftovers()[0]))
    self.Prepare(rows)  # The next run does its work and tidies up.
    self.assertEmpty(self.Leftovers())
    self.assertLen(list(dataset.ReadManifest(self.output)), 20)

  def test_failed_run_keeps_the_old_data_set(self):
    rows = self.Good(4)
    self.Prepare(rows)
    before = self.Bytes(self.output)
    bad = importers.Listing(utterances=[importers.Utterance('a', '', 's', 'd', 'x', functools.partial(Fail))])
    with mock.patch.object(importers, 'GetImporter', return_value=api.Importer(lambda options: bad)):
      with self.assertRaisesRegex(Exception, 'a bug in a loader'):
        pipeline.PrepareData('manifest', self.output, overwrite=True)
    self.assertEqual(self.Bytes(self.output), before)
    self.assertEmpty(self.Leftovers())

  def test_full_disk_ends_in_one_line(self):
    full = importers.Listing(utterances=[importers.Utterance('a', '', 's', 'd', 'x', functools.partial(FullDisk))])
    said = io.StringIO()
    with (
      mock.patch.object(importers, 'GetImporter', return_value=api.Importer(lambda options: full)),
      contextlib.redirect_stderr(said),
    ):
      with self.assertRaises(Exception) as raised:
        pipeline.PrepareData('manifest', self.output)
    self.assertEqual(pipeline.DiskReason(raised.exception), 'No space left on device')
    self.assertNotIn('Traceback', said.getvalue())  # Beam's workers print what they raise.
    self.assertEmpty(self.Leftovers())

  def test_existing_output_is_replaced_only_when_asked(self):
    self.Prepare(self.Good(4))
    with self.assertRaisesRegex(exit_codes.UsageError, 'exists; give another directory or --overwrite'):
      self.Prepare(self.Good(6))
    elsewhere = os.path.join(self.dir, 'elsewhere')
    os.rename(self.output, elsewhere)
    os.symlink(elsewhere, self.output)
    self.Prepare(self.Good(6), overwrite=True)
    self.assertTrue(os.path.islink(self.output))
    self.assertLen(list(dataset.ReadManifest(elsewhere)), 6)
    self.assertEqual([name for name in os.listdir(self.dir) if name.startswith('.')], [])

  def test_what_is_no_data_set_is_never_replaced(self):
    rows = self.Good(2)
    before = sorted(os.listdir(self.dir))
    for overwrite in (True, False):
      with self.assertRaisesRegex(
        exit_codes.UsageError, r'^--output=\S+: has good0.wav and 2 more, which no data set has'
      ):
        self.Prepare(rows, output=self.dir, overwrite=overwrite)
    self.assertEqual(sorted(os.listdir(self.dir)), sorted({*before, 'in.jsonl'}))
    os.mkdir(self.output)
    own = self.Manifest(rows, 'out/manifest.jsonl')
    with self.assertRaisesRegex(
      exit_codes.UsageError, rf'^--output=\S+out: has {own}, which the data set is made from'
    ):
      pipeline.PrepareData('manifest', self.output, options=importers.Options(input=own), overwrite=True)
    self.assertTrue(os.path.exists(own))
    with self.assertRaisesRegex(exit_codes.UsageError, f'^--output={own}: is a file; give a directory$'):
      self.Prepare(rows, output=own)

  def test_a_data_set_that_is_not_whole_is_replaced(self):
    self.Prepare(self.Good(4))
    os.remove(os.path.join(self.output, 'dataset.json'))
    self.Prepare(self.Good(6), overwrite=True)
    self.assertLen(list(dataset.ReadManifest(self.output)), 6)


class PiecesTest(PrepareCase):
  """Unlabeled recordings that are too long are cut, others rejected."""

  def _Long(self):
    """23 s of noise with 300 ms of near silence every 4 s: its samples as int16."""
    samples = Speech(23.0)
    for start in range(4, 23, 4):
      samples[start * RATE : round((start + 0.3) * RATE)] *= 0.01
    self.Write('long.wav', samples)
    return soundfile.read(os.path.join(self.dir, 'long.wav'), dtype='int16')[0]

  def test_pieces_are_the_recording(self):
    samples = self._Long()
    rows = [{'audio_filepath': 'long.wav', 'duration': 23.0}, *self.Good(1)]
    _, report = self.Prepare(rows, limits={'max_duration': 10.0}, num_shards=1)
    self.assertEqual(report['rejects']['total'], 0)
    found = sorted((r for r in self.Records() if r['utt_id'].startswith('long@')), key=lambda r: r['audio_start'])
    self.assertGreater(len(found), 2)
    self.assertTrue(all(3.0 < r['duration'] <= 10.0 for r in found), [r['duration'] for r in found])
    np.testing.assert_array_equal(np.concatenate([r['samples'] for r in found]), samples)
    for record in found[:-1]:  # A cut is in a quiet place.
      self.assertAlmostEqual(record['audio_end'] % 4.0, 0.15, delta=0.16)

  def test_what_has_a_transcript_is_not_cut_nor_is_anything_if_asked(self):
    self._Long()
    for row, limits in (({'text': 'words'}, {}), ({}, {'cut_unlabeled': False})):
      _, report = self.Prepare(
        [{'audio_filepath': 'long.wav', **row}, *self.Good(1)], limits={'max_duration': 10.0, **limits}, overwrite=True
      )
      self.assertEqual(report['rejects']['by_reason'], {'too_long': 1})

  def Records(self):
    import tensorflow as tf

    spec = dataset.FeatureSpec()
    shards = dataset.ReadDataset(self.output).shards
    for shard in (*shards['train'], *shards['dev']):
      for raw in tf.compat.v1.io.tf_record_iterator(os.path.join(self.output, shard.name)):
        example = tf.train.Example.FromString(raw).features.feature
        self.assertEqual(set(example), set(spec))
        utt_id = example['utt_id'].bytes_list.value[0].decode()
        part = re.search(r'@(\d+)-(\d+)$', utt_id)
        yield {
          'utt_id': utt_id,
          'samples': np.frombuffer(example['audio'].bytes_list.value[0], '<i2'),
          'duration': example['duration'].float_list.value[0],
          'audio_start': int(part.group(1)) / 1000 if part else 0,
          'audio_end': int(part.group(2)) / 1000 if part else 0,
        }


class DemoTest(PrepareCase):
  def test_without_apt_the_demo_is_synthetic_and_made_once(self):
    text = os.path.join(self.dir, 'text.txt')
    with open(text, 'w', encoding='utf-8') as f:
      f.write(''.join(f'This is sentence number {i}.\n' for i in range(12)))
    env = dict(PATH=os.path.join(self.dir, 'empty'), XDG_CACHE_HOME=os.path.join(self.dir, 'cache'))
    printed = []
    from tools.speech_synthesis import synth

    with (
      mock.patch.dict(os.environ, env),
      mock.patch.object(synth, 'DEFAULT_TEXT', text),
      mock.patch('builtins.print', lambda *args, **kwargs: printed.append(' '.join(map(str, args)))),
    ):
      first = demo_data.PrepareDemo(self.output)
      before = self.Bytes(os.path.join(self.output, 'synthetic'))
      second = demo_data.PrepareDemo(self.output)
    self.assertNotIn('human', first)
    self.assertEqual(first['synthetic'], second['synthetic'])
    self.assertEqual(self.Bytes(os.path.join(self.output, 'synthetic')), before)
    self.assertLen([line for line in printed if 'no human prompts: apt-get not found' in line], 2)
    self.assertLen([line for line in printed if 'synthetic: reused' in line], 1)
    self.assertFalse(os.path.exists(os.path.join(self.output, 'human')))


class CommandLineTest(PrepareCase):
  def test_summary_and_exit_code(self):
    path = self.Manifest(self.Good(3) + [{'audio_filepath': 'nowhere.wav'}])
    with contextlib.redirect_stdout(io.StringIO()) as out:
      code, err = self.Main(
        '--importer=manifest',
        f'--input={path}',
        f'--output={self.output}',
        '--runner=DirectRunner',
        '--direct_num_workers=1',
      )
    self.assertEqual((code, err), (0, ''))
    self.assertIn('3 utterances', out.getvalue())
    self.assertIn('rejected 1: 1 missing', out.getvalue())

  def test_bad_usage_is_exit_code_2_and_one_line(self):
    manifest = ['--importer=manifest', f'--input={self.Manifest(self.Good(1))}', f'--output={self.output}']
    for args, message in (
      (
        ['--output=o'],
        f'--importer is missing: expected one of {", ".join(importers.BUILT_IN)}, demo',
      ),
      (['--importr=prompts', '--output=o'], '--importr: no such flag; did you mean importer[?]'),
      (['--importer=prompts', '--ouput=o'], '--ouput: no such flag; did you mean output[?]'),
      (['--importer=promts', f'--output={self.output}'], '--importer=promts: .*did you mean prompts'),
      (['--importer=prompts'], '--output is missing'),
      (
        ['--importer=manifest', f'--output={self.output}', '--input=/no/such'],
        '--input=/no/such: expected a JSONL manifest',
      ),
      (
        ['--importer=synth', f'--output={self.output}', '--max_duraton=3'],
        '--max_duraton: no such flag; did you mean max_duration',
      ),
      (['--importer=synth', f'--output={self.output}', '--test_percent=99'], 'test_percent = 99.0'),
      (manifest + ['--runner=Foo'], '--runner=Foo: Unexpected pipeline runner: Foo'),
      (
        ['--importer=demo', f'--output={self.output}', '--num_shards=2'],
        '--num_shards: not used by --importer=demo',
      ),
      (
        manifest + ['--max_utterances=1'],
        '--max_utterances: not used by --importer=manifest, which uses --input, --audio_roots',
      ),
      (manifest + ['--engines=foo'], '--engines: not used by --importer=manifest'),
      (
        ['--importer=librispeech', f'--output={self.output}', '--official_splits', '--dev_percent=5'],
        '--dev_percent: not used with --official_splits, which determines the splits',
      ),
      (manifest + ['--official_splits'], '--official_splits: 1 of 1 utterances have no split, for example .*good0'),
      (manifest + ['--normalizer=englsh'], '--normalizer=englsh: expected one of .*; did you mean english'),
      (
        ['--importer=general_speech', f'--output={self.output}', '--voices_per_line=2'],
        '--voices_per_line: not used by --importer=general_speech, which uses --input, --engines, --max_utterances',
      ),
      (manifest + ['--languages=english'], '--languages=english: expected the code of a language, such as en'),
      (['--importer=prompts', f'--output={self.output}', '--languages=xx'], '--languages=xx: expected some of en,'),
      (manifest + ['--languages=en,es'], '--languages=en,es: expected one language, '),
      (manifest + ['--max_duration=inf'], '--max_duration=inf: expected a finite number'),
      (manifest + ['--dev_percent=nan'], '--dev_percent=nan: expected a finite number'),
      (manifest + ['--dev_percent=-1'], 'dev_percent = -1'),
    ):
      with self.subTest(message):
        code, err = self.Main(*args)
        self.assertEqual(code, 2, err)
        self.assertRegex(err, f'^prepare_data: .*{message}.*\n$')
        self.assertFalse(os.path.exists(self.output))

  def test_a_flag_of_the_hash_is_refused_where_it_decides_about_nothing(self):
    rows = [{**row, 'split': 'dev'} for row in self.Good(2)]
    args = ['--importer=manifest', f'--input={self.Manifest(rows)}', f'--output={self.output}']
    for flag in ('--dev_percent=5', '--test_percent=0', '--split_by=speaker'):
      code, err = self.Main(*args, flag)
      self.assertEqual(code, 2)
      self.assertRegex(
        err, f'^prepare_data: {flag.partition("=")[0]}: not used, as all 2 utterances have a split; .*\n$'
      )
    with mock.patch.object(staging_dirs, 'Make', side_effect=exit_codes.UsageError('the flags are right')):
      right = (2, 'prepare_data: the flags are right\n')
      self.assertEqual(self.Main(*args), right)
      self.assertEqual(self.Main(*args, '--split_by=speaker', '--noofficial_splits'), right)
      del rows[1]['split']
      self.Manifest(rows)
      self.assertEqual(self.Main(*args, '--split_by=speaker'), right)

  def test_a_data_set_is_in_a_language_if_all_its_texts_are(self):
    for languages, found in (
      (['en', 'en-US'], 'en'),
      (['en', 'de'], ''),
      (['en', None], ''),
      ([None], ''),
      (['English'], ''),
      ([], ''),
    ):
      listed = [importers.Utterance('a', 'hello', '', '', 'a.wav', language=language) for language in languages]
      silent = importers.Utterance('b', '', '', '', 'b.wav', language='fr')
      self.assertEqual(pipeline._OneLanguage([*listed, silent]), found)

  def test_every_importer_says_which_options_it_goes_by(self):
    for name in importers.BUILT_IN:
      with open(importers.Module(name).__file__, encoding='utf-8') as f:
        used = set(re.findall(r'options\.(\w+)', f.read())) - {'own'}
      self.assertContainsSubset(used, importers.GetImporter(name).shared_options, name)

  def test_own_options_of_an_importer(self):
    seen = {}

    def Import(options):
      seen.update(options.own)
      path = self.Write('a.wav', Speech(0.5))
      utterance = importers.Utterance('a', 'hello', 's', 'd', os.path.join(self.dir, path), language='en-GB')
      return importers.Listing(utterances=[utterance])

    own = importers.Option('colour', 'red', 'Colour of the recordings.')
    with mock.patch.dict(api._registered, mine=api.Importer(Import, ('input', own))):
      for args, value in (([], 'red'), (['--colour=blue'], 'blue'), (['--colour', 'green'], 'green')):
        code, err = self.Main('--importer=mine', f'--output={self.output}', '--overwrite', *args)
        self.assertEqual((code, seen), (0, {'colour': value}), err)
      settings = dataset.ReadDataset(self.output).settings
      self.assertEqual(settings['importer_options'], {'colour': 'green'})
      self.assertEqual((settings['language'], settings['normalizer']), ('en', 'english'))
      code, err = self.Main('--importer=mine', f'--output={self.output}', '--overwrite', '--color=blue')
      self.assertEqual((code, err), (2, 'prepare_data: --color: no such flag; did you mean colour?\n'))

  def test_home_is_known_in_every_path(self):
    self.Manifest(self.Good(2))
    with mock.patch.dict(os.environ, {'HOME': self.dir}):
      code, err = self.Main('--importer=manifest', '--input=train=~/in.jsonl', '--output=~/out', '--audio_roots=~')
    self.assertEqual((code, err), (0, ''))
    self.assertEqual(dataset.ReadDataset(self.output).Utterances('train'), 2)

  def test_output_below_a_file_is_one_line(self):
    path = self.Manifest(self.Good(1))
    code, err = self.Main('--importer=manifest', f'--input={path}', f'--output={path}/out')
    self.assertEqual(
      (code, err), (2, f'prepare_data: --output={path}/out: cannot be written ({path} is not a directory)\n')
    )

  def test_nothing_accepted_is_exit_code_1(self):
    path = self.Manifest([{'audio_filepath': 'nowhere.wav'}])
    code, err = self.Main('--importer=manifest', f'--input={path}', f'--output={self.output}')
    self.assertEqual(code, 1, err)
    self.assertIn('none accepted: 1 missing', err)
    self.assertIn('missing, for example', err)
    with open(self.output + '.report.json', encoding='utf-8') as f:
      self.assertEqual(json.load(f)['rejects']['by_reason'], {'missing': 1})
    self.assertFalse(os.path.exists(self.output))

  def test_what_was_rejected_is_explained(self):
    elsewhere = tempfile.NamedTemporaryFile(suffix='.wav')
    self.addCleanup(elsewhere.close)
    path = self.Manifest([*self.Good(2), {'audio_filepath': elsewhere.name}, {'audio_filepath': 3, 'txet': 'x'}])
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
      pipeline.PrepareData('manifest', self.output, options=importers.Options(input=path))
    for words in (
      'rejected 2: 1 bad_entry, 1 outside',
      f'outside, for example {elsewhere.name}: {path}:3: not in .*; --audio_roots allows other folders',
      f'bad_entry, for example {path}:4: audio_filepath = 3',
      'ignored the key txet of 1 entries; did you mean text',
    ):
      self.assertRegex(said.getvalue(), words)

  def test_the_command_fails_with_the_same_exit_code(self):
    out = self.Cli('--importer=promts', f'--output={self.output}')  # A process: what Main itself cannot show.
    self.assertEqual(out.returncode, 2, out.stderr)
    self.assertRegex(out.stderr, '^prepare_data: .*\n$')

  def test_a_flag_that_absl_refuses_is_one_line(self):
    with contextlib.redirect_stderr(io.StringIO()) as err, self.assertRaises(SystemExit) as caught:
      prepare_data._ParseFlags(['prepare_data', '--num_shards=0'])
    self.assertEqual(caught.exception.code, 2)
    self.assertRegex(err.getvalue(), '^prepare_data: .*num_shards.*\n$')


if __name__ == '__main__':
  absltest.main()
