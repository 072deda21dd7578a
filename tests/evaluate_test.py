"""tools.evaluate: the run's own error rates, another search, errors."""

import contextlib
import io
import json
import os
import shutil
import tempfile

from absl.testing import absltest

from fm_lingvo.data import dataset
from fm_lingvo.data import tokenizer
from fm_lingvo.data import transcripts
from fm_lingvo.decoding import confidence
from fm_lingvo.inference import graph_mode
from fm_lingvo.inference import load_run
from fm_lingvo.inference import recognizer
from tests import graph_case  # noqa: F401 Graph mode.
from tests import language_model_case
from tests import run_case
from tests import shared_graphs
from tools import average_checkpoints
from tools import evaluate


def setUpModule():
  global _folder
  _folder = tempfile.mkdtemp()
  run_case.WriteData(_folder + '/data')
  graph_mode.Start()
  run_case.MakeRun(_folder + '/run', 'asr.AdapterFinetune', _folder + '/data', 'transducer.max_labels_per_frame = 2.0')
  run_case.MakeRun(_folder + '/probe', 'asr.CtcProbe', _folder + '/data')
  run_case.MakeRun(_folder + '/pretrain', 'asr.BestRqPretrain', _folder + '/data')
  language_model_case.Write(_folder + '/lm.npz', tokenizer.Tokenizer('params/tokenizers/graphemes_en.model'), likely=5)


def tearDownModule():
  shutil.rmtree(_folder)


class EvaluateTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(shared_graphs.Evaluators())

  def _Evaluate(self, *args, code=0):
    """Runs the tool here; returns (stdout, stderr)."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
      found = evaluate.Main(['evaluate', *args])
    self.assertEqual(found, code, err.getvalue())
    return out.getvalue(), err.getvalue()

  def test_the_run_s_final_data_sets_are_evaluated_into_a_folder(self):
    output = self.create_tempdir().full_path + '/new'
    out, _ = self._Evaluate(_folder + '/run', f'--output={output}')
    for name in ('TestTarget', 'TestSource'):
      self.assertRegex(
        out, rf'(?m)^{name}, step 3, labeled CER \d+.\d+% \(.* to .*\), labeled/examples 5, labeled WER '
      )
      with open(f'{output}/hypotheses/{name}.jsonl', encoding='utf-8') as f:
        rows = [json.loads(line) for line in f]
      self.assertLen(rows, 5)
      self.assertEqual({row['step'] for row in rows}, {3})
    with open(output + '/metrics.jsonl', encoding='utf-8') as f:
      self.assertEqual([json.loads(line)['dataset'] for line in f], ['TestTarget', 'TestSource'])
    self.assertFalse(os.path.exists(_folder + '/run/metrics.jsonl'))

  def test_a_language_model_changes_what_is_recognised(self):
    hypotheses = []
    for args in ((), ('--beam_size=2', f'--lm={_folder}/lm.npz', '--lm_weight=3', '--lm_label_bonus=0')):
      output = self.create_tempdir().full_path
      self._Evaluate(_folder + '/run', '--datasets=DevTarget', f'--output={output}', *args)
      with open(f'{output}/hypotheses/DevTarget.jsonl', encoding='utf-8') as f:
        hypotheses.append([json.loads(line)['hypothesis'] for line in f])
    self.assertTrue(set(''.join(hypotheses[1])) <= {'c'})  # Label 5.
    self.assertFalse(set(''.join(hypotheses[0])) <= {'c'})

  def _Texts(self, *args):
    """The hypotheses of DevTarget with some options."""
    output = self.create_tempdir().full_path
    self._Evaluate(_folder + '/run', '--datasets=DevTarget', f'--output={output}', *args)
    with open(f'{output}/hypotheses/DevTarget.jsonl', encoding='utf-8') as f:
      return [json.loads(line) for line in f]

  def test_hotwords_and_n_grams_change_what_is_recognised(self):
    plain = self._Texts('--beam_size=4')
    self.assertFalse(any('zq' in row['hypothesis'].split() for row in plain))
    words = self.create_tempfile('words.txt', 'zq\t200\n').full_path
    self.assertTrue(
      any('zq' in row['hypothesis'].split() for row in self._Texts('--beam_size=4', f'--hotwords={words}'))
    )
    arpa = '\\data\\\nngram 1=3\n\\1-grams:\n-99 <s>\n-9 </s>\n-0.1 zq\n\\end\\\n'
    path = self.create_tempfile('words.arpa', arpa).full_path
    found = self._Texts('--beam_size=4', f'--lm={path}', '--lm_weight=1', '--lm_label_bonus=0')
    # Without <unk>, all other words are as good as impossible.
    self.assertLess(sum(len(r['hypothesis'].split()) for r in found), sum(len(r['hypothesis'].split()) for r in plain))

  def test_confidence_is_calibrated_on_a_data_set_and_used_by_transcribe(self):
    shutil.rmtree(_folder + '/run6', ignore_errors=True)
    shutil.copytree(_folder + '/run', _folder + '/run6')
    _, err = self._Evaluate(_folder + '/run6', '--calibrate', code=2)
    self.assertIn('--calibrate: expected one data set, such as --datasets=DevTarget', err)
    output = self.create_tempdir().full_path
    out, _ = self._Evaluate(_folder + '/run6', '--calibrate', '--datasets=DevTarget', f'--output={output}')
    self.assertIn('DevTarget: words, not calibrated: ', out)
    self.assertRegex(out, r'(?m)^DevTarget: words \(measure \w+, calibrated\): \d+, ECE 0\.\d+, log loss')
    self.assertTrue(os.path.exists(f'{output}/reliability/DevTarget.json'))
    fitted = confidence.Read(_folder + '/run6')
    self.assertTrue(fitted.fitted)
    model = recognizer.Recognizer(load_run.Load(_folder + '/run6'))
    audio = list(run_case.Audio(_folder + '/data', split='dev').values())[:1]
    plain = recognizer.Recognizer(load_run.Load(_folder + '/run')).Recognize(audio)[0][0]
    (best,) = model.Recognize(audio)[0]
    self.assertEqual(best.text, plain.text)
    self.assertNotEqual([w.probability for w in best.words], [w.probability for w in plain.words])
    with self.subTest('what was written without a calibration is told, too'):
      out, _ = self._Evaluate(_folder + '/run', '--confidence', '--datasets=DevTarget')
      self.assertIn('(measure mean, not calibrated)', out)

  def test_a_data_set_without_files_is_named(self):
    out, err = self._Evaluate(_folder + '/pretrain', '--datasets=TestHuman', '--checkpoint=ckpt-00000003', code=2)
    self.assertEqual(out, '')
    self.assertIn('human/test-*.tfrecord', err)
    self.assertEqual(err.count('\n'), 1)

  def test_the_run_s_own_data_sets_without_files_are_left_out_and_named(self):
    shutil.rmtree(_folder + '/run2', ignore_errors=True)
    shutil.copytree(_folder + '/run', _folder + '/run2')
    with open(_folder + '/run2/config.gin', 'a', encoding='utf-8') as f:
      f.write("\nTestSource/input.streams.labeled.file_pattern = 'nowhere/test-*.tfrecord'\n")
    out, _ = self._Evaluate(_folder + '/run2')
    self.assertRegex(
      out, r'^TestTarget, step 3, .*\nTestSource: not evaluated, no record in files like nowhere/test-\*.tfrecord\n$'
    )

  def test_transcripts_of_another_normaliser_than_those_trained_on_are_not_scored(self):
    shutil.rmtree(_folder + '/run5', ignore_errors=True)
    shutil.copytree(_folder + '/run', _folder + '/run5')
    path = _folder + '/data/target/dataset.json'
    self.addCleanup(os.remove, path)
    with open(path, 'w', encoding='utf-8') as f:
      json.dump({'format': dataset.FORMAT, 'settings': {'normalizer': 'basic'}}, f)
    transcripts.Record(_folder + '/run5', {'labeled': {'english': 'data/before'}}, is_resumed=False)
    out, err = self._Evaluate(_folder + '/run5', '--datasets=TestTarget', code=2)
    self.assertEqual(out, '')
    self.assertRegex(
      err,
      r'^evaluate: TestTarget: stream labeled and its training data: transcripts of two normalisers, '
      r'basic \(\S+target\) and english \(data/before\), cannot be compared; [^\n]*\n$',
    )
    transcripts.Record(_folder + '/run', {'labeled': {'basic': 'data/before'}}, is_resumed=False)
    self.assertIn('WER', self._Evaluate(_folder + '/run', '--datasets=TestTarget')[0])

  def test_no_data_set_at_all_is_an_error(self):
    shutil.rmtree(_folder + '/run4', ignore_errors=True)
    shutil.copytree(_folder + '/run', _folder + '/run4')
    with open(_folder + '/run4/config.gin', 'a', encoding='utf-8') as f:
      f.write(
        ''.join(
          f"\n{name}/input.streams.labeled.file_pattern = 'nowhere/test-*.tfrecord'\n"
          for name in ('TestTarget', 'TestSource')
        )
      )
    out, err = self._Evaluate(_folder + '/run4', code=2)
    self.assertEqual(out.count('not evaluated'), 2)
    self.assertRegex(err, r'^evaluate: \S+run4: no data set to evaluate has files; .*\n$')

  def test_the_tokenizer_in_the_run_s_folder_is_the_streams_too(self):
    plain, _ = self._Evaluate(_folder + '/run', '--datasets=DevTarget')
    shutil.rmtree(_folder + '/run3', ignore_errors=True)
    shutil.copytree(_folder + '/run', _folder + '/run3')
    with open(_folder + '/run3/config.gin', 'a', encoding='utf-8') as f:
      f.write("\nAdapterFinetune.tokenizer = '/gone/my.model'\n")
    self.assertEqual(self._Evaluate(_folder + '/run3', '--datasets=DevTarget')[0], plain)

  def test_an_averaged_checkpoint_has_its_step_inside(self):
    self.enter_context(contextlib.redirect_stdout(io.StringIO()))
    self.assertEqual(
      average_checkpoints.Main(['average_checkpoints', _folder + '/run', '--last=1', f'--output={_folder}/mean']), 0
    )
    out, _ = self._Evaluate(_folder + '/run', f'--checkpoint={_folder}/mean', '--datasets=DevTarget')
    self.assertStartsWith(out, 'DevTarget, step 3, ')

  def test_what_cannot_be_evaluated_is_said_in_a_line(self):
    for args, message in (
      ((_folder + '/data',), 'no config.gin in it'),
      (
        (_folder + '/run', '--datasets=TestTargets'),
        "data set = 'TestTargets': expected one of .*did you mean TestTarget",
      ),
      ((_folder + '/run', '--checkpoint=ckpt-00000004'), 'no such checkpoint'),
      (
        (_folder + '/run', f'--checkpoint={_folder}/probe/train/ckpt-00000003', '--datasets=DevTarget'),
        r'ckpt-00000003: of another model: \d+ of the \d+ variables that are needed are not in it: task/',
      ),
      ((_folder + '/run', '--beam_size=0'), 'beam_size = 0: expected >= 1'),
      ((_folder + '/run', '--lm_weight=1'), 'the run has no language model; set lm, too'),
      ((_folder + '/run', '--lm=none.npz'), 'none.npz: no such language model'),
      ((_folder + '/run', '--lm=none.arpa'), 'none.arpa: no such language model'),
      ((_folder + '/run', '--hotwords=none.txt'), 'none.txt: no such file; expected one with a phrase a line'),
      ((_folder + '/run', '--hotword_boost=3'), 'hotword_boost: there are no hotwords; set hotwords, too'),
      ((_folder + '/probe', '--hotword_boost=3'), 'hotword_boost = 3.0: the head ctc takes the best label'),
      ((_folder + '/probe', '--beam_size=4'), 'beam_size = 4: the head ctc takes the best label of each frame'),
      ((_folder + '/probe', f'--lm={_folder}/lm.npz'), 'lm_file = .*lm.npz: the head ctc takes the best label'),
      (
        (_folder + '/pretrain', '--datasets=DevHuman', '--beam_size=2'),
        'no head has labels: expected neither a beam nor',
      ),
    ):
      with self.subTest(args):
        _, err = self._Evaluate(*args, code=2)
        self.assertRegex(err, '^evaluate: .*' + message)
        self.assertEqual(err.count('\n'), 1)


if __name__ == '__main__':
  absltest.main()
