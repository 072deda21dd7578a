"""Hotwords and n-gram models in the beam: exact on toy lattices, as enumeration of all transcripts says."""

import gzip
import itertools
import math
import types

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.data import tokenizer
from fm_lingvo.decoding import arpa
from fm_lingvo.decoding import fusion
from fm_lingvo.decoding import hotwords
from fm_lingvo.decoding import ngram
from fm_lingvo.decoding import search_options
from fm_lingvo.heads import transducer_head
from tests import search_case

_PIECES = ['<pad>', '\u2581', 'a', 'b']
# Labels 1 to 3, once graphemes, and once pieces that begin or are behind a space.
_GRAPHEMES = [b'', b' ', b'a', b'b']
_PIECE_SURFACES = [b'', b' a', b'a', b'ba']
_GRAPHEMES_EN = 'params/tokenizers/graphemes_en.model'


def _Tokenizer(surfaces):
  """What fusion needs of a tokenizer of a's and b's."""
  return types.SimpleNamespace(
    surfaces=surfaces,
    pieces=[surface.decode().replace(' ', '\u2581') or '<pad>' for surface in surfaces],
    vocab_size=len(surfaces),
    unk_id=-1,
    path='toy.model',
    EncodeText=list,
    DecodeIds=''.join,
  )


def _Text(labels, surfaces):
  return ' '.join(b''.join(surfaces[i] for i in labels).decode().split())


def _WriteArpa(path, ngrams, order):
  """Writes {tuple of words: (log10 probability, log10 back-off weight)}."""
  by_length = [[(words, *values) for words, values in ngrams.items() if len(words) == n + 1] for n in range(order)]
  lines = ['Made by a test.', '\\data\\', *(f'ngram {n}={len(rows)}' for n, rows in enumerate(by_length, 1)), '']
  for n, rows in enumerate(by_length, 1):
    lines += [f'\\{n}-grams:']
    lines += [f'{p:.6f}\t{" ".join(words)}' + (f'\t{b:.6f}' if n < order else '') for words, p, b in rows]
  with (gzip.open if path.endswith('.gz') else open)(path, 'wt', encoding='utf-8') as f:
    f.write('\n'.join([*lines, '\\end\\', '']))


def _RandomNgrams(words, order, seed):
  """A model with some of all n-grams; the beginning of each is there, too."""
  rng = np.random.RandomState(seed)
  found = {('<s>',): (-99.0, round(-rng.rand(), 6)), ('</s>',): (-0.7, 0.0), ('<unk>',): (-1.9, 0.0)}
  found.update({(word,): (round(-2 * rng.rand(), 6), round(-rng.rand(), 6)) for word in words})
  for length in range(2, order + 1):
    for context in [c for c in list(found) if len(c) == length - 1 and c[-1] != '</s>']:
      for word in (*words, '</s>'):
        if rng.rand() < 0.5:
          found[(*context, word)] = (round(-2 * rng.rand(), 6), round(-rng.rand(), 6))
  return found


def _Log10(ngrams, order, words):
  """log10 of the probability of a sentence, with its end, by the definition of back-off."""

  def _Next(context, word):
    if (*context, word) in ngrams:
      return ngrams[(*context, word)][0]
    return ngrams.get(context, (0, 0.0))[1] + _Next(context[1:], word) if context else -100.0

  known = [word if (word,) in ngrams else '<unk>' for word in words]
  history, total = ('<s>',), 0.0
  for word in (*known, '</s>'):
    total += _Next(history[max(0, len(history) - order + 1) :], word)
    history += (word,)
  return total


class FusionTest(search_case.DecodingCase):
  def _CheckBeam(self, scorer, expected_bonus, surfaces, seeds=(2, 5)):
    """The beam finds all transcripts of a toy lattice, in their order, with their scores.

    Args:
      scorer: Function: () -> the scorer.
      expected_bonus: Function: text -> what it adds.
      surfaces: Of the labels.
      seeds: Of the transducers.

    Returns:
      The number of lattices whose best transcript is another one because of the scorer.
    """
    changed = 0
    for seed in seeds:
      with self.subTest(seed), self.NewGraph():
        model, enc = search_case.Model(seed, blank_bias=-1.0), self.Enc(1, 3, 6, seed=seed)
        plain = search_case.AllTranscripts(model, enc[0], 2, 4)
        expected = {labels: score + expected_bonus(_Text(labels, surfaces)) for labels, score in plain.items()}
        found = self.Hypotheses(self.Run(model, enc, [3], 2, 4, beam_size=600, scorer=scorer()))
        self.assertLen(found, len(plain))
        for labels, _, score in found:
          self.assertAlmostEqual(score, expected[labels], delta=1e-4)
        scores = [expected[labels] for labels, *_ in found]
        np.testing.assert_allclose(scores, sorted(expected.values(), reverse=True), atol=1e-4)
        changed += found[0][0] != max(plain, key=plain.get)
    return changed

  def test_a_phrase_adds_its_boost_for_each_occurrence_as_whole_words_and_nothing_otherwise(self):
    phrases = [('a b', 6.0), ('ab', 4.0), ('b', 2.0), ('a b a', 3.0), ('aa', -5.0)]

    def Bonus(text):
      padded = f' {text} '
      return sum(
        boost * sum(padded.startswith(f' {phrase} ', i) for i in range(len(padded))) for phrase, boost in phrases
      )

    changed = 0
    for surfaces in (_GRAPHEMES, _PIECE_SURFACES):
      words = hotwords.Hotwords(phrases, 0.0, _Tokenizer(surfaces))
      changed += self._CheckBeam(words.Scorer, Bonus, surfaces)
    self.assertGreater(changed, 0)

  def test_n_grams_of_words_are_scored_where_words_end(self):
    for order, surfaces in ((1, _GRAPHEMES), (4, _GRAPHEMES), (2, _PIECE_SURFACES)):
      path = f'{self.create_tempdir().full_path}/words.arpa.gz'
      ngrams = _RandomNgrams(['a', 'b', 'ab', 'aba'], order, seed=order)
      _WriteArpa(path, ngrams, order)
      model = ngram.Model(path, _Tokenizer(surfaces))
      self.assertEqual(model.unit, 'word')
      for weight, bonus in ((1.0, 0.0), (0.5, 2.0)):

        def Bonus(text):
          return weight * math.log(10) * _Log10(ngrams, order, text.split()) + bonus * len(text.split())

        self._CheckBeam(lambda: model.Scorer(weight, bonus), Bonus, surfaces, seeds=(2,))

  def test_n_grams_of_pieces_are_scored_with_each_label(self):
    path = f'{self.create_tempdir().full_path}/pieces.arpa'
    order = 3
    ngrams = _RandomNgrams(_PIECES[1:], order, seed=4)
    _WriteArpa(path, ngrams, order)
    model = ngram.Model(path, _Tokenizer(_GRAPHEMES))
    self.assertEqual(model.unit, 'label')
    lattice, enc = search_case.Model(2, blank_bias=-1.0), self.Enc(1, 3, 6)
    plain = search_case.AllTranscripts(lattice, enc[0], 2, 4)
    found = self.Hypotheses(self.Run(lattice, enc, [3], 2, 4, beam_size=600, scorer=model.Scorer(0.7, 0.3)))
    self.assertLen(found, len(plain))
    for labels, _, score in found:
      wanted = 0.7 * math.log(10) * _Log10(ngrams, order, [_PIECES[i] for i in labels]) + 0.3 * len(labels)
      self.assertAlmostEqual(score, plain[labels] + wanted, delta=1e-4)

  def test_several_scorers_add_up_and_a_search_can_stop_and_go_on(self):
    words = hotwords.Hotwords(['a b'], 5.0, _Tokenizer(_GRAPHEMES)).Scorer()
    path = f'{self.create_tempdir().full_path}/words.arpa'
    _WriteArpa(path, _RandomNgrams(['a', 'b'], 2, seed=0), 2)
    both = fusion.Sum([words, ngram.Model(path, _Tokenizer(_GRAPHEMES)).Scorer(1.0, 0.0)])
    labels = list(itertools.product([1, 2, 3], repeat=3))  # 27 hypotheses of 3 labels.
    state, scores = both.ZeroState(27), []
    for ids in np.array([(0, *row) for row in labels], np.int32).T:
      step, state = both.Step(tf.constant(ids), state.Transform(tf.identity))
      scores.append(step)
    steps, final = self.Eval(tf.stack(scores, 1), both.Final(state))
    self.assertFalse(steps[..., 0].any())  # Blank.
    total = {row: sum(steps[i, u, label] for u, label in enumerate(row)) + final[i] for i, row in enumerate(labels)}
    self.assertGreater(total[2, 1, 3] - total[3, 1, 2], 2.0)  # `a b`, `b a`.

  def test_compiles_under_xla(self):
    path = f'{self.create_tempdir().full_path}/words.arpa'
    _WriteArpa(path, _RandomNgrams(['a', 'b', 'ab'], 2, seed=0), 2)
    model, enc = search_case.Model(0, blank_bias=1.0), self.Enc(2, 8, 6)
    toy = _Tokenizer(_GRAPHEMES)

    def Decode():
      scorer = fusion.Sum([hotwords.Hotwords(['a b'], 5.0, toy).Scorer(), ngram.Model(path, toy).Scorer(0.5, 0.1)])
      out = self.Decode(model, enc, [8, 5], beam_size=3, scorer=scorer)
      return [out[field] for field in search_case.FIELDS]

    compiled = dict(zip(search_case.FIELDS, self.Eval(*tf.function(Decode, jit_compile=True)())))
    self.AssertSame(compiled, dict(zip(search_case.FIELDS, self.Eval(*Decode()))))


class FilesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.tokenizer = tokenizer.Tokenizer(_GRAPHEMES_EN)

  def _File(self, text, name='x.arpa'):
    return self.create_tempfile(name, text).full_path

  def test_surfaces_join_to_what_the_tokenizer_writes(self):
    labels = self.tokenizer.EncodeText("it's a word")
    self.assertEqual(b''.join(self.tokenizer.surfaces[i] for i in labels).decode().strip(), "it's a word")

  def test_hotwords_are_read_with_and_without_boosts(self):
    path = self._File('Ann Lee\n\njoe\t7.5\n', 'words.txt')
    self.assertEqual(search_options.ReadHotwords(path), ['Ann Lee', ('joe', 7.5)])

  def test_what_is_no_hotword_is_said_in_a_line(self):
    for phrases, message in (
      (['Ann Lee'], r"hotword 'Ann Lee': the tokenizer has no 'AL'; expected the spelling of the transcripts"),
      (['ann', ('ann', 2.0)], "hotword 'ann': appears twice"),
      ([' '], "hotword ' ': expected a word or more"),
      ([('ann', math.inf)], "hotword 'ann': boost = inf: expected a finite number"),
      ([('ann', '2')], r"hotword \('ann', '2'\): expected a phrase, or a pair \(phrase, boost in nats\)"),
      ([5], 'hotword 5: expected a phrase, or a pair'),
      (['a' * 4_000_000], '1 hotwords of 4000003 bytes, with .* labels: expected at most'),
    ):
      with self.assertRaisesRegex(errors.ConfigError, message):
        hotwords.Hotwords(phrases, 5.0, self.tokenizer)
    with self.assertRaisesRegex(errors.ConfigError, r"hotwords = 'dog': expected a list of phrases, such as \['dog'\]"):
      search_options.Search(hotwords='dog').ApplyTo(transducer_head.TransducerHead.Params(), 'transducer')
    with self.assertRaisesRegex(errors.ConfigError, r"w.txt:1: boost 'x': expected PHRASE<tab>NATS"):
      search_options.ReadHotwords(self._File('a\tx\n', 'w.txt'))
    with self.assertRaisesRegex(errors.ConfigError, r'w.txt: no phrases'):
      search_options.ReadHotwords(self._File('\n', 'w.txt'))

  def test_what_is_no_n_gram_model_is_said_in_a_line_with_its_place(self):
    head = '\\data\\\nngram 1=2\nngram 2=1\n\n\\1-grams:\n-1\ta\t-0.5\n'
    for text, message in (
      ('words\n', r'x.arpa: no line \\data\\; expected an n-gram model in ARPA format'),
      ('\\data\\\nngram 2=1\n', r'x.arpa:2: expected ngram 1=COUNT'),
      (head + '-1\ta\t0\n', r"x.arpa:7: 'a' appears twice"),
      (head + '\\2-grams:\n', r'x.arpa:7: 1 1-grams, expected 2 as the header says'),
      (head + '-1\tb\n\\2-grams:\n-1\ta c\n', r"x.arpa:9: 'c' is no 1-gram"),
      (head + '-1\tb\n\\2-grams:\nx\ta b\n', r'x.arpa:9: expected numbers before and after the words'),
      (head + '-1\tb\n\\2-grams:\n-1\ta\n', r'x.arpa:9: expected a number, 2 words and perhaps'),
      (head + '-1\tb\n\\2-grams:\n-1\ta b\n', r'x.arpa: cut off: no line \\end\\'),
      (head + '-1\tb\n\\end\\\n', r'x.arpa: ends before \\2-grams:'),
      (
        '\\data\\\nngram 1=1\nngram 2=0\nngram 3=1\n\\1-grams:\n-1 a\n\\2-grams:\n\\3-grams:\n-1 a a a\n\\end\\\n',
        'x.arpa:9: the n-gram without its last word is missing',
      ),
    ):
      with self.subTest(message), self.assertRaisesRegex(errors.DatasetError, message):
        arpa.Read(self._File(text))
    with self.assertRaisesRegex(errors.ConfigError, 'absent.arpa: no such language model'):
      ngram.Model('absent.arpa', self.tokenizer)
    with self.assertRaisesRegex(errors.ConfigError, "of pieces of another tokenizer than .*, which has no '\u2581the'"):
      ngram.Model(self._File('\\data\\\nngram 1=1\n\\1-grams:\n-1 \u2581the\n\\end\\\n'), self.tokenizer)

  def test_words_that_a_file_has_not_are_as_unlikely_as_in_kenlm(self):
    found = arpa.Read(self._File('\\data\\\nngram 1=1\n\\1-grams:\n-1 a\n\\end\\\n'))
    self.assertAlmostEqual(found.scores[found.words['<unk>']], -100 * math.log(10), places=3)


if __name__ == '__main__':
  absltest.main()
