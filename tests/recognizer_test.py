"""Properties of recognition with a finished run, and of windows over long recordings."""

import dataclasses
import functools
import glob
import os
import shutil
import tempfile
from unittest import mock

import numpy as np
from absl.testing import absltest
from lingvo import model_registry

from fm_lingvo import errors
from fm_lingvo.checkpoints import reader
from fm_lingvo.checkpoints import run_checkpoints
from fm_lingvo.config import gin_config
from fm_lingvo.data import tokenizer
from fm_lingvo.decoding import search
from fm_lingvo.decoding import search_options
from fm_lingvo.evaluation import evaluator
from fm_lingvo.evaluation import joint_search
from fm_lingvo.inference import decoding_graph
from fm_lingvo.inference import encoded_parts
from fm_lingvo.inference import load_run
from fm_lingvo.inference import long_form
from fm_lingvo.inference import recognizer
from tests import graph_case
from tests import run_case
from tests import tiny_data

_GRAPHEMES = 'params/tokenizers/graphemes_en.model'


def setUpModule():
  global _folder
  _folder = tempfile.mkdtemp()
  run_case.WriteData(_folder + '/data')
  global _values
  # Enough labels for whatever the padding is, see TransducerHead.Decode.
  _values = run_case.MakeRun(
    _folder + '/supervised', 'asr.Supervised', _folder + '/data', 'transducer.max_labels_per_frame = 2.0'
  )
  run_case.MakeRun(
    _folder + '/adapted',
    'asr.AdapterFinetune',
    _folder + '/data',
    'task.encoder.adapters = ["target", "other"]',
    'AdapterFinetune.adapter_dim = 4',
    f'AdapterFinetune.init_from = {_folder + "/gone"!r}',
  )


def tearDownModule():
  shutil.rmtree(_folder)


@functools.cache
def _Recognizer(n_best=1, **how):
  """The supervised run's, built once for all tests; how: as search_options.Search."""
  return recognizer.Recognizer(load_run.Load(_folder + '/supervised', how=search_options.Search(**how)), n_best)


class InferenceTest(graph_case.GraphCase):
  def _Run(self, name='supervised', **kwargs):
    return load_run.Load(f'{_folder}/{name}', **kwargs)

  def test_hypotheses_are_those_of_evaluation(self):
    run_case.Configure('asr.Supervised', _folder + '/data', 'transducer.max_labels_per_frame = 2.0')
    self.addCleanup(gin_config.Reset)
    evaluation = evaluator.Evaluator(model_registry.GetParams('asr.Supervised', 'TestTarget'))
    weights = {**_values, 'global_step': np.int64(3)}
    values, _, rows = evaluation.Run(weights)
    self.assertEqual(evaluation.MetricNames(), sorted(values))
    expected = {row['utt_id']: row for row in rows}
    audio = run_case.Audio(_folder + '/data')
    self.assertEqual(set(expected), set(audio))
    found = _Recognizer().Recognize(list(audio.values()))
    for utt_id, (best,) in zip(audio, found):
      self.assertEqual(best.text, expected[utt_id]['hypothesis'])
      self.assertAlmostEqual(best.score, expected[utt_id]['score'], delta=1e-3)
    self.assertGreater(len({best.text for (best,) in found}), 1)
    self.assertGreater(sum(len(best.words) for (best,) in found), len(audio))

  def _AssertSameWords(self, one, other):
    """Same words at the same times with, before they are rounded, the same probabilities."""
    for a, b in zip(one.words, other.words, strict=True):
      self.assertEqual(dataclasses.replace(a, probability=b.probability), b)
      self.assertAlmostEqual(a.probability, b.probability, delta=1e-5)

  def test_a_beam_finds_the_same_in_evaluation_however_many_are_searched_together(self):
    run_case.Configure('asr.Supervised', _folder + '/data')
    self.addCleanup(gin_config.Reset)
    params = model_registry.GetParams('asr.Supervised', 'TestTarget')
    params.task.heads.transducer.beam_size = 3
    weights = {**_values, 'global_step': np.int64(3)}
    with graph_case.Optimised():  # The optimiser must not look behind what is fed.
      evaluation = evaluator.Evaluator(params)
      found = []
      for rows in (1, 64):
        with mock.patch.object(joint_search, '_ROWS', rows):
          found.append(evaluation.Run(weights)[2])
    self.assertNotEmpty(found[0])
    for one, other in zip(*found, strict=True):
      self.assertEqual(one['utt_id'], other['utt_id'])
      self.assertEqual([x['hypothesis'] for x in one['n_best']], [x['hypothesis'] for x in other['n_best']])
      self.assertAlmostEqual(one['score'], other['score'], delta=1e-3)

  @mock.patch.object(recognizer, '_PLACES', 9)
  def test_a_text_depends_neither_on_padding_nor_on_the_batch(self):
    model = _Recognizer()
    audio = list(run_case.Audio(_folder + '/data').values())
    together = model.Recognize(audio + [tiny_data.Waveform(3.9, 1)])
    for waveform, (best,) in zip(audio, together):
      ((alone,),) = model.Recognize([waveform])
      self.assertEqual(alone.text, best.text)
      self._AssertSameWords(alone, best)
      self.assertAlmostEqual(alone.score, best.score, delta=1e-3)

  @mock.patch.object(recognizer, '_PLACES', 9)
  def test_a_text_does_not_depend_on_the_parts_that_are_encoded(self):
    model, audio = _Recognizer(), list(run_case.Audio(_folder + '/data').values())
    together = model.Recognize(audio)
    with mock.patch.object(encoded_parts, '_SECONDS', 5.0):
      self.assertGreater(len(list(encoded_parts.Parts(audio))), 1)
      in_parts = model.Recognize(audio)
    for (one,), (other,) in zip(together, in_parts, strict=True):
      self.assertEqual(one.text, other.text)
      self._AssertSameWords(one, other)
      self.assertAlmostEqual(one.score, other.score, delta=1e-3)

  def test_padding_may_be_no_number(self):
    run = self._Run()
    audio = list(run_case.Audio(_folder + '/data').values())
    inputs = decoding_graph.Inputs()
    task, outputs = decoding_graph.Build(run, *inputs)
    self.assertEmpty([v.name for v in task.vars.Flatten() if '/ctc/' in v.name])  # It was for training.
    self.Eval(inputs[0].graph.get_tensor_by_name('global_step:0'))
    decoding_graph.Restore(self._session, task, run.Weights())
    found = []
    for padding in (0.0, np.nan, np.inf):
      batch = np.full([len(audio), max(map(len, audio)) + 777], padding, np.float32)
      for row, waveform in zip(batch, audio):
        row[: len(waveform)] = waveform / 32768
      found.append(self._session.run(outputs, {inputs[0]: batch, inputs[1]: list(map(len, audio))}))
    self.assertTrue(np.isfinite(found[0].scores).all())
    for other in found[1:]:
      for field in ('labels', 'frames', 'lengths', 'scores'):
        np.testing.assert_array_equal(other[field], found[0][field], field)

  def test_the_shortest_recordings_have_a_text(self):
    model = _Recognizer()
    for size in (1, 399, 640, 1000):
      ((best,),) = model.Recognize([np.ones([size], np.int16)])
      self.assertEqual([w.text for w in best.words], best.text.split())
      self.assertTrue(np.isfinite(best.score))
      self.assertTrue(all(w.end <= size / 16000 + 0.04 for w in best.words))

  def test_words_spell_the_text_and_their_times_ascend(self):
    audio = list(run_case.Audio(_folder + '/data').values())
    for waveform, (best,) in zip(audio, _Recognizer().Recognize(audio)):
      self.assertEqual(' '.join(w.text for w in best.words).split(), best.text.split())
      times = [t for w in best.words for t in (w.start, w.end)]
      self.assertLessEqual(max(times), len(waveform) / 16000 + 0.04)
      for word, after in zip(best.words, best.words[1:]):
        self.assertLess(word.start, word.end)
        self.assertLessEqual(word.start, after.start)

  def test_times_are_those_of_the_frames(self):
    surfaces = [b'', b'?', b' ', b'a', b'b', b'\xc3', b'\xa9', b' c']
    words = recognizer.Words(surfaces, [2, 3, 4, 2, 2, 5, 6, 7], [0, 2, 3, 3, 9, 10, 12, 12], 0.04)
    self.assertEqual(
      words, [recognizer.Word('ab', 0.08, 0.16), recognizer.Word('\u00e9', 0.4, 0.48), recognizer.Word('c', 0.48, 0.52)]
    )

  def test_surfaces_join_to_what_the_tokenizer_writes(self):
    tokens = tokenizer.Tokenizer(_GRAPHEMES)
    surfaces = tokens.surfaces
    rng = np.random.RandomState(0)
    for _ in range(50):
      ids = rng.randint(tokens.vocab_size, size=12).tolist()
      joined = b''.join(surfaces[i] for i in ids).decode().strip()
      self.assertEqual(joined, tokens.DecodeIds(ids))

  def test_a_beam_gives_its_best_hypotheses_in_order(self):
    audio = list(run_case.Audio(_folder + '/data').values())[:2]
    model = _Recognizer(n_best=3, beam_size=4)
    greedy = _Recognizer().Recognize(audio)
    for hypotheses, (best,) in zip(model.Recognize(audio), greedy):
      scores = [h.score for h in hypotheses]
      self.assertLen(hypotheses, 3)
      self.assertEqual(scores, sorted(scores, reverse=True))
      self.assertGreaterEqual(scores[0], best.score - 1e-3)
    with self.assertRaisesRegex(errors.ConfigError, 'n_best = 5: expected 1 to 4'):
      recognizer.Recognizer(self._Run(how=search_options.Search(beam_size=4)), n_best=5)

  def test_what_the_beam_has_not_found_is_no_hypothesis(self):
    model = _Recognizer(n_best=3, beam_size=4)
    out = graph_case.py_utils.NestedMap(
      labels=np.full([1, 4, 2], 3),
      frames=np.zeros([1, 4, 2], int),
      lengths=np.array([[2, 0, 1, 1]]),
      scores=np.array([[-1.0, search.NEVER, -2.0, -3.0]], np.float32),
    )
    found = model._Hypotheses(out, 0)
    self.assertEqual([h.score for h in found], [-1.0, -2.0])

  def test_adapters_are_chosen_by_name(self):
    audio = list(run_case.Audio(_folder + '/data').values())[:1]
    runs = {name: self._Run('adapted', adapter=name) for name in (None, 'target', 'other', 'none')}
    self.assertEqual(runs[None], runs['target'])
    del runs[None]
    scores = [recognizer.Recognizer(run).Recognize(audio)[0][0].score for run in runs.values()]
    self.assertLen(set(scores), 3)
    with self.assertRaisesRegex(
      errors.ConfigError,
      "no adapters called 'targte'; expected one of other, "
      r'target, none; did you mean target\?',
    ):
      self._Run('adapted', adapter='targte')
    with self.assertRaisesRegex(errors.ConfigError, 'expected one of none'):
      self._Run(adapter='target')

  def _Copy(self, name):
    folder = os.path.join(self.create_tempdir().full_path, 'run')
    shutil.copytree(f'{_folder}/{name}', folder)
    return folder

  def test_another_tokenizer_is_refused(self):
    import sentencepiece

    folder = self._Copy('supervised')
    path = os.path.join(folder, 'tokenizer_transducer.model')
    texts = [' '.join("abcdefghijklmnopqrstuvwxyz'")] * 20
    for kwargs in (dict(vocab_size=30), dict(vocab_size=20, hard_vocab_limit=False)):
      sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_prefix=path[:-6],
        model_type='char',
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
        use_all_vocab=kwargs['vocab_size'] == 30,
        **{**kwargs, 'vocab_size': 20},
      )
      with self.assertRaisesRegex(errors.ConfigError, 'made with another tokenizer'):
        recognizer.Recognizer(load_run.Load(folder))

  def test_a_run_is_read_where_its_tokenizer_and_parent_are_gone(self):
    folder = self._Copy('adapted')
    config = os.path.join(folder, 'config.gin')
    with open(config, encoding='utf-8') as f:
      text = f.read()
    self.assertIn(_GRAPHEMES, text)
    with open(config, 'w', encoding='utf-8') as f:
      f.write(text.replace(_GRAPHEMES, 'gone.model'))
    recognizer.Recognizer(load_run.Load(folder))

  def test_the_checkpoint_is_the_one_that_later_stages_start_from(self):
    folder = self._Copy('supervised')
    train = os.path.join(folder, 'train')
    named = run_checkpoints.Find(folder)
    for path in glob.glob(
      named + '.*'
    ):  # Newer by its name, but not by the file `checkpoint`: of a run that was set back.
      shutil.copy(path, path.replace('ckpt-00000003', 'ckpt-00000009'))
    self.assertEqual(run_checkpoints.Find(folder), named)
    self.assertEqual(reader.Resolve(folder), named)
    self.assertTrue(os.path.exists(os.path.join(train, 'ckpt-00000009.index')))

  def test_what_cannot_be_used_is_said_in_a_line(self):
    folder = self._Copy('supervised')
    for args, message in (
      (dict(path=folder + '/train'), 'no config.gin in it'),
      (dict(path=folder, checkpoint='ckpt-00000004'), r'no such checkpoint.*did you mean ckpt-00000003\?'),
      (dict(path=folder, how=search_options.Search(beam_size=0)), 'beam_size = 0: expected >= 1'),
    ):
      with self.assertRaisesRegex(errors.ConfigError, message):
        load_run.Load(**args)
    with self.subTest('variables are missing'):
      run = load_run.Load(folder)
      run.params.encoder.num_layers = 2
      with self.assertRaisesRegex(errors.ConfigError, r'of another model: \d+ of the \d+ variables'):
        recognizer.Recognizer(run)
    with self.subTest('no checkpoint'):
      shutil.rmtree(folder + '/train')
      with self.assertRaisesRegex(errors.ConfigError, 'no checkpoint'):
        load_run.Load(folder)
    with self.subTest('nothing decodes'):
      pretrained = self.create_tempdir().full_path + '/run'
      run_case.MakeRun(pretrained, 'asr.BestRqPretrain', 'nowhere')
      with self.assertRaisesRegex(errors.ConfigError, r'has no head that decodes \(heads: best_rq\)'):
        load_run.Load(pretrained)


class LongFormTest(absltest.TestCase):
  def _Speech(self, seconds, pauses):
    """Noise with silence of 0.4 s around the given seconds."""
    wave = np.random.RandomState(0).randn(int(seconds * 16000)) * 3000
    for pause in pauses:
      wave[int((pause - 0.2) * 16000) : int((pause + 0.2) * 16000)] = 0
    return wave.astype(np.int16)

  def test_windows_cover_all_and_are_cut_in_silence(self):
    pauses = [6.0, 12.5, 19.0, 25.0]
    samples = self._Speech(30, pauses)
    windows = long_form.Windows(samples, 10.0)
    self.assertEqual(windows[0].start, 0)
    self.assertEqual(windows[-1].end, len(samples))
    for window, after in zip(windows, windows[1:]):
      self.assertLessEqual(window.end - window.start, 160000)
      self.assertEqual(window.end - window.cut, window.cut - after.start)
      self.assertTrue(any(abs(window.cut / 16000 - p) < 0.2 for p in pauses))
    short = self._Speech(9.9, [])
    self.assertEqual(long_form.Windows(short, 10.0), [long_form.Window(0, len(short), len(short))])

  def test_windows_of_any_length_end(self):
    for seconds in (0.001, 10.0, 10.001, 18.0, 100.0):
      samples = self._Speech(seconds, [])
      windows = long_form.Windows(samples, 10.0)
      cuts = [w.cut for w in windows]
      self.assertEqual(cuts, sorted(set(cuts)))
      self.assertEqual(cuts[-1], len(samples))
      self.assertLessEqual(max(w.end - w.start for w in windows), 160000)

  def test_windows_are_the_same_however_the_recording_is_read(self):
    rng = np.random.RandomState(0)
    for seconds, pauses in ((9.9, []), (10.0, []), (10.01, [5.0]), (47.3, [6.0, 12.5, 19.0, 25.0])):
      samples = self._Speech(seconds, pauses)
      whole = list(long_form.Cut([samples], 10.0))
      for _ in range(3):
        blocks = np.split(samples, np.sort(rng.randint(0, len(samples), 30)))
        for (window, part), (expected, _) in zip(long_form.Cut(blocks, 10.0), whole, strict=True):
          self.assertEqual(window, expected)
          np.testing.assert_array_equal(part, samples[window.start : window.end])

  def test_times_never_go_back(self):
    rng = np.random.RandomState(0)
    for _ in range(300):
      samples = np.zeros([rng.randint(1, 60 * 16000)], np.int16)
      windows = long_form.Windows(samples, rng.choice([2.0, 5.0, 12.0]))
      words = []
      for window in windows:
        length = (window.end - window.start) / 16000
        starts = np.sort(rng.uniform(0, length, rng.randint(0, 12))).tolist()
        words.append([recognizer.Word(rng.choice(['a', 'b']), s, s + rng.uniform(0.04, 0.8)) for s in starts])
      joined = long_form.Join(windows, words)
      for key in ('start', 'end'):
        times = [getattr(w, key) for w in joined]
        self.assertEqual(times, sorted(times))
      self.assertTrue(all(w.start < w.end for w in joined))

  def _Joined(self, words, cut, jitter):
    """Joins two windows in which `words` (text, middle) are recognised, in the second one later."""
    length = int(40 * 16000)
    windows = [
      long_form.Window(0, int((cut + 1) * 16000), int(cut * 16000)),
      long_form.Window(int((cut - 1) * 16000), length, length),
    ]
    recognised = []
    for w, late in zip(windows, (0.0, jitter)):
      low, high = w.start / 16000, w.end / 16000
      recognised.append(
        [
          recognizer.Word(text, middle - 0.1 + late - low, middle + 0.1 + late - low)
          for text, middle in words
          if low < middle < high
        ]
      )
    return [w.text for w in long_form.Join(windows, recognised)]

  def test_no_word_is_lost_or_doubled_where_windows_have_it_at_other_times(self):
    words = [(f'w{i}', 0.5 + 0.5 * i) for i in range(60)]
    for cut in (10.0, 10.2, 10.45, 10.5, 10.6):
      for jitter in (-0.3, -0.1, 0.0, 0.1, 0.3):
        self.assertEqual(self._Joined(words, cut, jitter), [w for w, _ in words])

  def test_a_repeated_word_stays_repeated(self):
    for spacing in (0.3, 0.4, 0.5, 0.6, 0.9):
      for phase in (0.0, 0.07, 0.15, 0.22):
        for jitter in (-0.1, 0.0, 0.1):
          words = [('no', spacing * i + 0.5 + phase) for i in range(40)]
          self.assertEqual(self._Joined(words, 8.0, jitter), ['no'] * 40, (spacing, phase, jitter))
    words = [('a', 9.0), ('two', 9.85), ('two', 10.15), ('b', 10.8)]
    self.assertEqual(self._Joined(words, 10.0, 0.0), ['a', 'two', 'two', 'b'])

  def test_without_a_common_word_each_side_of_the_cut_counts(self):
    windows = [long_form.Window(0, 176000, 160000), long_form.Window(144000, 320000, 320000)]
    first = [recognizer.Word('a', 9.2, 9.4), recognizer.Word('xx', 10.6, 11.0)]
    second = [recognizer.Word('yy', 0.0, 0.2), recognizer.Word('b', 1.7, 1.9)]
    self.assertEqual(
      long_form.Join(windows, [first, second]), [recognizer.Word('a', 9.2, 9.4), recognizer.Word('b', 10.7, 10.9)]
    )


if __name__ == '__main__':
  absltest.main()
