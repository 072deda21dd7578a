"""Texts for a language model, and its trainer: what is kept, what is learnt, going on, errors."""

import contextlib
import io
import os
from unittest import mock

import numpy as np
from absl.testing import absltest

from fm_lingvo import errors
from fm_lingvo.data import tokenizer
from fm_lingvo.decoding import language_model
from fm_lingvo.inference import load_run
from fm_lingvo.run_files import metrics_log
from tests import graph_case  # noqa: F401 Graph mode.
from tools import evaluate
from tools import lm_text
from tools import train_lm
from tools.common import exit_codes
from tools.prepare.import_helpers import debian

_TOKENIZER = 'params/tokenizers/graphemes_en.model'
# As WordNet's files have them.
_WORDNET = """  1 This software and database is being provided to you, the LICENSEE | by
00007846 03 n 02 person 0 well-being(p) 1 001 @ 00004475 n 0000 | a human being; "it was too much for one person to do"
00017222 03 n 01 plant_life 0 000 | (botany) a living organism; in 1990
"""  # noqa: E501


def _Run(tool, *argv):
  """Returns (exit code, standard output, standard error)."""
  out, err = io.StringIO(), io.StringIO()
  with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
    code = tool.Main([tool.__name__, *argv])
  return code, out.getvalue(), err.getvalue()


class LmTextTest(absltest.TestCase):
  def test_lines_are_lemmas_definitions_and_examples(self):
    root = self.create_tempdir().full_path
    folder = os.path.join(root, 'usr', 'share', 'wordnet')
    os.makedirs(folder)
    for name in ('noun', 'verb', 'adj', 'adv'):
      with open(f'{folder}/data.{name}', 'w', encoding='utf-8') as f:
        f.write(_WORDNET if name == 'noun' else '')
    lines, dropped = lm_text.Select(lm_text.Lines(root), lm_text.HeldOut([]))
    self.assertEqual(
      lines,
      [
        'a human being',
        'a living organism',
        'in one nine nine zero',
        'it was too much for one person to do',
        'person',
        'plant life',
        'well being',
      ],
    )
    self.assertEqual(sum(dropped.values()), 0)

  def test_held_out_transcripts_and_what_graphemes_cannot_spell_are_left_out_and_counted(self):
    held_out = ' | please enter your password followed by the pound key | thank you | '
    lines, dropped = lm_text.Select(
      ['Enter your password.', 'thank you', 'your password', 'followed by', 'the key', 'naïve', 'a sexual thing'],
      held_out,
    )
    self.assertEqual(lines, ['followed by', 'thank you', 'the key', 'your password'])
    self.assertEqual(dropped, {'held out': 1, 'unwanted': 1, 'not English letters': 1})

  def test_a_text_that_cannot_be_fetched_is_2_and_a_file_that_cannot_be_written_1(self):
    output = self.create_tempfile().full_path + '/general.txt'
    for kwargs, code, message in (
      (dict(side_effect=debian.AptError('apt has no network')), 2, 'apt has no network'),
      (dict(return_value=('root', [])), 1, f'--output={output}: cannot be written (Not a directory)'),
    ):
      with (
        mock.patch.object(debian, 'FetchPackages', **kwargs),
        mock.patch.object(lm_text, 'Lines', return_value=['a dog']),
      ):
        found, _, err = _Run(lm_text, f'--output={output}')
      self.assertEqual((found, err), (code, f'lm_text: {message}\n'))


class TrainLmTest(absltest.TestCase):
  def _Text(self):
    rng = np.random.RandomState(0)
    words = ['the', 'cat', 'sat', 'on', 'a', 'mat']
    lines = {' '.join(rng.choice(words, rng.randint(1, 9))) for _ in range(600)}
    return self.create_tempfile('text.txt', '\n'.join([*sorted(lines), 'A Cat, 2']) + '\n').full_path

  def _Train(self, output, steps):
    """Calls the trainer in this process, each time with flags of its own."""
    return _Run(
      train_lm,
      f'--input={self._text}',
      f'--output={output}',
      f'--max_steps={steps}',
      '--batch_labels=512',
      '--hidden_dim=16',
      '--embedding_dim=8',
      '--learning_rate=0.01',
    )

  def test_it_learns_goes_on_and_writes_a_file_that_decoding_takes(self):
    self._text = self._Text()
    output = self.create_tempdir().full_path + '/lm.npz'
    run = output + '.train'
    code, out, err = self._Train(output, 2)
    self.assertEqual(code, 0, err)
    tokens = tokenizer.Tokenizer(_TOKENIZER)
    early = language_model.Frozen(output, tokens).facts['held_out_nats_per_label']
    self.assertRegex(out, r'(?m)^\d+ lines of \d+ labels, \d+ held out, 0 too long and left out$')
    self.assertIn(f'\n1 lines have characters that {_TOKENIZER} does not know', out)
    code, out, err = self._Train(output, 60)
    self.assertEqual(code, 0, err)
    self.assertIn(f'\nresumed from {run}/train/ckpt-00000002\n', out)
    late = language_model.Frozen(output, tokens).facts
    self.assertLess(late['held_out_nats_per_label'], early - 0.3)  # Of ln 29 = 3.4.
    self.assertEqual(late['steps'], 60)
    self.assertTrue(os.path.exists(run + '/train/ckpt-00000002.index'))  # Where it went on from.
    self._CheckRun(run, output, late)
    code, _, err = _Run(train_lm, f'--input={self._text}', f'--output={output}', '--hidden_dim=32')
    self.assertEqual(code, 2)
    self.assertRegex(err, r'^train_lm: .*lm.npz.train: trained with embedding_dim = 8, not 48; remove it .*\n$')

  def _CheckRun(self, run, output, facts):
    """The run's metrics, and the file that it gives by itself."""
    row = [row for row in metrics_log.ReadMetrics(run + '/metrics.jsonl') if row['dataset'] == 'Dev'][-1]
    self.assertEqual(round(row['loss'], 4), facts['held_out_nats_per_label'])
    self.assertAlmostEqual(row['perplexity'], np.exp(row['loss']), places=5)
    with open(run + '/text/dev.txt', encoding='utf-8') as f:
      lines = f.read().splitlines()
    labels = sum(len(tokenizer.Tokenizer(_TOKENIZER).EncodeText(line)) for line in lines)
    self.assertAlmostEqual(row['bits_per_character'], row['loss'] * labels / np.log(2) / sum(map(len, lines)), places=5)
    self.assertEqual((row['text/examples'], row['text/labels']), (len(lines), labels))
    self.assertNotEmpty([name for name in os.listdir(run + '/eval_dev') if 'tfevents' in name])
    code, out, err = _Run(evaluate, run)
    self.assertEqual(code, 0, err)
    self.assertIn(
      f'Dev, step 60, bits_per_character {row["bits_per_character"]:.4g}, perplexity {row["perplexity"]:.4g}', out
    )
    with self.assertRaisesRegex(errors.ConfigError, 'text.LanguageModel recognises no speech; expected a run with a'):
      load_run.Load(run)
    again = output.replace('lm.npz', 'again.npz')
    code, _, err = _Run(train_lm, f'--run={run}', f'--output={again}')
    self.assertEqual(code, 0, err)
    with np.load(output) as expected, np.load(again) as found:
      self.assertEqual(set(expected), set(found))
      for name in set(expected) - {'facts'}:
        np.testing.assert_array_equal(expected[name], found[name])

  def test_usage_errors_end_with_code_2(self):
    text = self.create_tempfile('few.txt', 'one line\n').full_path
    for argv, message in (
      ([f'--input={text}', '--output=lm.npz', '--max_steps=0'], '--max_steps=0: expected a number > 0'),
      ([f'--input={text}', '--output=lm.npz', '--learning_rate=inf'], '--learning_rate=inf: expected a number > 0'),
      ([f'--input={text}', '--output=lm.npz', '--seed=-1'], '--seed=-1: expected a number from 0 to'),
      ([f'--input={text}', '--output=lm.bin'], '--output=lm.bin: expected a name that ends in .npz'),
      (['--input=nowhere.txt', '--output=lm.npz'], '--input=nowhere.txt: no such data set or text file'),
      ([f'--input={text}', '--output=lm.npz', '--tokenizer=no.model'], 'no.model: no such tokenizer'),
      (['--output=lm.npz'], '--input or --run: expected one of them'),
      ([f'--input={text}', '--run=x', '--output=lm.npz'], '--input or --run: expected one of them'),
      (['--run=x', '--output=lm.npz', '--max_steps=5'], '--max_steps: not used with --run'),
      (['--run=x', '--output=lm.npz', '--learning_rate=1'], '--learning_rate: not used with --run'),
      (['--run=no/run', '--output=lm.npz'], 'no/run: no config.gin in it'),
      ([f'--input={text}', '--output=lm.npz'], '1 lines; expected more, a hundredth of which is held out'),
    ):
      code, _, err = _Run(train_lm, *argv)
      self.assertEqual(code, 2, argv)
      self.assertIn(message, err)
      self.assertEqual(err.count('\n'), 1)
    self.assertFalse(os.path.exists('lm.npz.train'))

  def test_settings_that_cannot_be_read_are_said(self):
    folder = self.create_tempdir().full_path
    train_lm.CheckFolder(folder, {'seed': 1})
    train_lm.CheckFolder(folder, {'seed': 1})
    for text in ('{"seed"', '[3]', '3', ''):
      with open(folder + '/settings.json', 'w', encoding='utf-8') as f:
        f.write(text)
      with self.assertRaisesRegex(
        exit_codes.UsageError, f'^{folder}: its settings.json is cut off or no JSON .*; remove it'
      ):
        train_lm.CheckFolder(folder, {'seed': 1})


if __name__ == '__main__':
  absltest.main()
