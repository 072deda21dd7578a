"""tools.score: files of all formats, matching by id, the command line."""

import contextlib
import io
import json
import os

from absl.testing import absltest

from fm_lingvo import errors
from tests import score_case
from tools import score
from tools.scoring import matching
from tools.scoring import speakers
from tools.scoring import transcript_files


class ReadTest(score_case.FilesCase):
  def test_tables_are_read_by_the_names_of_their_columns(self):
    for name, separator in (('a.csv', ','), ('b.tsv', '\t'), ('c.CSV', ';')):
      rows = (['Path', 'client_id', 'Sentence', 'locale', 'votes'], ['x/u1.wav', 'ann', 'one two', 'en', '1'])
      lines = [separator.join(row) for row in (*rows, ['u2.mp3', '', '', '', ''])]
      found = self.Read(name, *lines)
      self.assertEqual((found.format, found.texts), ('table', {'x/u1': 'one two', 'u2': ''}))
      self.assertEqual((found.speakers, found.languages), ({'x/u1': 'ann'}, {'x/u1': 'en'}))
    parts = self.Read('d.csv', 'wav,offset,duration,text', 'a.wav,0,1.5,"one, two"', 'a.wav,1.5,1,three')
    self.assertEqual(parts.texts, {'a@0-1500': 'one, two', 'a@1500-2500': 'three'})
    both = 'e.csv', 'id,reference,pred_text', '1,one,won'
    self.assertTrue(transcript_files.HasBoth(self.Write(*both)))
    self.assertEqual(
      [self.Read(*both, role=role).texts for role in ('reference', 'hypothesis')], [{'1': 'one'}, {'1': 'won'}]
    )

  def test_what_is_no_table_of_texts_is_refused_in_one_line(self):
    for lines, problem in (
      (
        ('u1,one two', 'u2,three'),
        'expected a table whose first line names its columns, such as utt_id and text; found',
      ),
      (('id,hyp', 'u1,one'), r':2: no hypothesis or pred_text or text; found id, hyp'),
      (('text,votes', 'one,1'), r':2: no utt_id and no audio_filepath; found text, votes'),
      (('id,text', 'u1,one, two'), r':2: 3 fields, expected 2 \(id, text\)'),
      (('id,text',), 'no utterances; read as table'),
    ):
      with self.assertRaisesRegex(errors.DatasetError, f'a.csv.*{problem}'):
        self.Read('a.csv', *lines)
    self.assertEqual(self.Read('a.csv', 'u1 one, two', kind='text').texts, {'u1': 'one, two'})
    for name in ('a.srt', 'b.vtt', 'c.TextGrid', 'd.srt.gz'):
      with self.assertRaisesRegex(
        errors.ConfigError, f'{name}: .* is not a format that can be scored; expected one of'
      ):
        self.Read(name, '1')

  def test_formats_are_told_by_extension_and_content(self):
    for name, lines, kind, texts in (
      ('a.txt', ['u1 one two', '', 'u2', 'u3  x\u2028y'], 'text', {'u1': 'one two', 'u2': '', 'u3': 'x\u2028y'}),
      ('b.txt', ['the cat', '', 'a dog'], 'lines', {'1': 'the cat', '2': '', '3': 'a dog'}),
      ('c.txt', ['rec a.wav\tone two'], 'text', {'rec a.wav': 'one two'}),
      ('d.txt', ['u1 x', 'u1 y'], 'lines', {'1': 'u1 x', '2': 'u1 y'}),
      ('e.trn', [';; c', 'one (really) two (spk-1)', '(spk-2)'], 'trn', {'spk-1': 'one (really) two', 'spk-2': ''}),
      ('f.stm', [';; c', 'f 1 s 0 1.5 <o,f0> hi you'], 'stm', {'f#1@0-1500': 'hi you'}),
      ('g.ctm', ['f 1 1.0 .2 you .9', 'f 1 0.5 .2 hi', 'f 2 0 1 so'], 'ctm', {'f': 'hi you', 'f#2': 'so'}),
      ('h.jsonl', [{'utt_id': 'u', 'reference': 'r', 'hypothesis': 'h'}], 'jsonl', {'u': 'h'}),
      ('i.json', [{'audio_filepath': 'x/a.wav', 'text': 'r', 'pred_text': ''}], 'jsonl', {'x/a': ''}),
      ('j.json', [{'file': 'a.wav', 'text': 't', 'score': -1.0}], 'jsonl', {'a': 't'}),
      ('k.json', [{'audio_filepath': 'a.wav', 'offset': 1, 'duration': 2, 'text': 0}], 'jsonl', {'a@1000-3000': '0'}),
      ('l.json', [{'path': 'a.wav', 'end': 2, 'channel': 1, 'text': ''}], 'jsonl', {'a@0-2000#1': ''}),
      ('m.json', [{'id': 7, 'utt_id': 'u', 'text': 't'}], 'jsonl', {'u': 't'}),
    ):
      with self.subTest(name):
        read = self.Read(name, *lines)
        self.assertEqual((read.format, read.texts), (kind, texts))

  def test_the_role_chooses_the_text(self):
    row = {'utt_id': 'u', 'text': 'r', 'pred_text': 'h', 'speaker': 'ann', 'lang': 'en'}
    read = self.Read('a.jsonl', row, role='reference')
    self.assertEqual((read.texts, read.speakers, read.languages), ({'u': 'r'}, {'u': 'ann'}, {'u': 'en'}))

  def test_errors_name_the_line(self):
    for name, lines, message in (
      ('a.trn', ['one (a)', 'two'], r'a\.trn:2: expected TEXT \(ID\)'),
      ('b.trn', ['one (a)', 'two (a)'], r'b\.trn:2: a appears twice'),
      ('c.stm', ['f 1 s 2 1 x'], r'c\.stm:1: from 2 to 1'),
      ('d.ctm', ['f 1 zero 1 x'], r'd\.ctm:1: expected FILE CHANNEL'),
      (
        'e.jsonl',
        [{'utt_id': 'u', 'hypothesis': 'x'}, {'utt_id': 'v', 'hypothesi': 'x'}],
        'e.jsonl:2: no hypothesis; .*did',
      ),
      ('f.jsonl', ['['], r'f\.jsonl:1: expected a JSON object'),
      ('g.jsonl', [{'utt_id': 'u', 'hypothesis': None}], 'hypothesis = null: expected a string'),
      ('h.jsonl', [{'hypothesis': 'x'}], 'no utt_id and no audio_filepath'),
      ('i.trn', [], 'no utterances; read as trn'),
      (
        'j.json',
        [{'id': 'u', 'key': 'v', 'text': ''}],
        r'j\.json:1: id and key are both utt_id, with different values',
      ),
    ):
      with self.subTest(name), self.assertRaisesRegex(errors.ConfigError, message):
        self.Read(name, *lines)
    with self.assertRaisesRegex(errors.ConfigError, r'a\.tr: no such file; did you mean a\.trn'):
      transcript_files.Read(os.path.join(self.folder, 'a.tr'), 'reference')


class MatchTest(score_case.FilesCase):
  def _Match(self, ref, *hyps, speakers=None, **options):
    return matching.Match(ref, hyps, matching.Options(**options), speakers)

  def test_a_word_belongs_to_the_segment_that_ends_after_its_middle(self):
    ref = self.Read('r.stm', 'f 1 s 0 1 a', 'f 1 s 2 3 ignore_time_segment_in_scoring', 'f 1 s 3 4 b')
    hyp = self.Read('h.ctm', 'f 1 .8 .4 x', 'f 1 .9 .4 gone', 'f 1 3.5 .1 y', 'f 1 9 1 late')
    matched = self._Match(ref, hyp)
    self.assertEqual(matched.hypotheses, [{'f#1@0-1000': 'x', 'f#1@3000-4000': 'y late'}])

  def test_segments_without_words_are_deleted_and_other_recordings_are_an_error(self):
    ref = self.Read('r.stm', 'f 1 s 0 1 a', 'f 1 s 1 2 b')
    matched = self._Match(ref, self.Read('h.ctm', 'f 1 .1 .2 a'))
    self.assertEqual(matched.hypotheses, [{'f#1@0-1000': 'a', 'f#1@1000-2000': ''}])
    with self.assertRaisesRegex(errors.ConfigError, '1 not in the reference, such as g'):
      self._Match(ref, self.Read('h.ctm', 'f 1 .1 .2 a', 'g 1 .1 .2 a'))

  def test_segments_can_be_joined(self):
    ref = self.Read('r.stm', 'f 1 s 1 2 b', 'f 1 s 0 1 a')
    hyp = self.Read('h.json', {'file': 'f.wav', 'text': 'a b'})
    with self.assertRaisesRegex(errors.ConfigError, '--by_recording joins'):
      self._Match(ref, hyp)
    matched = self._Match(ref, hyp, by_recording=True)
    self.assertEqual((matched.references, matched.speakers), ({'f': 'a b'}, {'f': 's'}))

  def test_words_in_segments_that_are_not_scored_are_left_out_of_joined_ones_too(self):
    ref = self.Read('r.stm', 'f 1 s 0 1 a', 'f 1 s 1 2 ignore_time_segment_in_scoring', 'f 1 s 2 3 b', 'f 2 s 0 1 c')
    hyp = self.Read('h.ctm', 'f 1 .5 .1 a', 'f 1 1.5 .1 gone', 'f 1 2.5 .1 b', 'f 2 0 1 c', 'g 1 0 1 x')
    matched = self._Match(ref, hyp, by_recording=True, ignore_missing=True)
    self.assertEqual(matched.references, {'f': 'a b', 'f#2': 'c'})
    self.assertEqual(matched.hypotheses, [{'f': 'a b', 'f#2': 'c'}])

  def test_lines_must_be_as_many_on_both_sides(self):
    ref = self.Read('r.txt', 'a b', 'c d')
    with self.assertRaisesRegex(errors.ConfigError, 'has 2 lines, .* 1: expected'):
      self._Match(ref, self.Read('h.txt', 'a b'), ignore_missing=True)
    with self.assertRaisesRegex(errors.ConfigError, 'expected ids in both or in none'):
      self._Match(ref, self.Read('h.trn', 'a (1)'))

  def test_folders_and_extensions_of_audio_can_be_left_out(self):
    ref, hyp = self.Read('r.trn', 'a (u1)'), self.Read('h.txt', 'x/u1.wav\ta')
    self.assertEqual(self._Match(ref, hyp, basename=True).hypotheses, [{'u1': 'a'}])
    with self.assertRaisesRegex(errors.ConfigError, r'h.txt: none of the ids of .*, such as u1; --basename matches'):
      self._Match(ref, hyp)
    with self.assertRaisesRegex(errors.ConfigError, 'x/u1.wav and y/u1.wav are both u1'):
      self._Match(ref, self.Read('h.txt', 'x/u1.wav\ta', 'y/u1.wav\ta'), basename=True)

  def test_only_what_all_have_is_scored_and_the_rest_is_named(self):
    ref = self.Read('r.trn', *(f'a ({i})' for i in 'pqr'))
    systems = self.Read('a.trn', 'a (p)', 'a (q)'), self.Read('b.trn', 'a (q)', 'a (r)')
    matched = self._Match(ref, *systems, ignore_missing=True)
    self.assertEqual([list(h) for h in (matched.references, *matched.hypotheses)], [['q']] * 3)
    self.assertRegex(matched.notes[0], r'a\.trn: no hypothesis for 1 of 3 utterances, such as r; left out')
    self.assertRegex(matched.notes[1], r'b\.trn: no hypothesis for 1 of 3 utterances, such as p; left out')

  def test_both_sides_are_normalised(self):
    ref, hyp = self.Read('r.trn', 'Twenty-one, yes! (u)'), self.Read('h.trn', '21 yes (u)')
    matched = self._Match(ref, hyp, normalizer='english')
    self.assertEqual([matched.references], matched.hypotheses)
    with self.assertRaisesRegex(errors.ConfigError, 'did you mean english'):
      self._Match(ref, hyp, normalizer='englsh')


class CommandTest(score_case.FilesCase):
  def _Run(self, *args):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
      code = score.Main(['score', *args])
    return code, out.getvalue(), err.getvalue()

  def _Hypotheses(self, name, *hyps, reference='one two'):
    return self.Write(name, *({'utt_id': f'u{i}', 'reference': reference, 'hypothesis': h} for i, h in enumerate(hyps)))

  def test_one_file_of_a_run(self):
    code, out, err = self._Run(self._Hypotheses('a.jsonl', 'one two', 'one too'), '--worst=3')
    self.assertEqual((code, err), (0, ''))
    self.assertIn('WER 25.00% (0.00% to 50.00%): 1 errors (1 substitutions, 0 deletions, 0 insertions) in 4 words', out)
    self.assertIn('\nREF:  one TWO\nHYP:  one TOO\nEval:     S\n', out)

  def test_two_files_of_runs_are_two_systems_and_json_says_the_same(self):
    a, b = self._Hypotheses('a.jsonl', 'one two', 'one too'), self._Hypotheses('b.jsonl', 'one', 'too')
    code, out, _ = self._Run(a, b)
    self.assertEqual(code, 0)
    self.assertIn('WER of A - WER of B: -50.00%', out)
    self.assertIn('MAPSSWE', out)
    code, out, _ = self._Run(a, b, '--format=json', '--worst=1')
    row = json.loads(out)
    self.assertEqual([s['wer']['errors'] for s in row['systems']], [1, 3])
    self.assertEqual(row['comparison']['difference'], -0.5)
    self.assertEqual(row['systems'][0]['worst'][0]['alignment'], [['one', 'one'], ['two', 'too']])
    code, _, err = self._Run(a, self._Hypotheses('c.jsonl', 'one', 'too', reference='three'))
    self.assertEqual(code, 2)
    self.assertIn('different references for u0', err)

  def test_hypotheses_of_several_branches_are_scored_one_by_one_or_as_two_systems(self):
    rows = [{'utt_id': f'u{i}', 'reference': 'one two', 'hypothesis': 'one two', 'branch': 'labeled'} for i in (0, 1)]
    path = self.Write('a.jsonl', *rows, *({**row, 'branch': 'ctc', 'hypothesis': 'too'} for row in rows))
    for branch, errors_found in (('labeled', 0), ('ctc', 4)):
      code, out, err = self._Run(path, f'--branch={branch}', '--format=json')
      self.assertEqual((code, err), (0, ''))
      self.assertEqual(json.loads(out)['systems'][0]['wer']['errors'], errors_found)
    code, out, _ = self._Run(path, '--branch=labeled,ctc')
    self.assertIn(f'A ({path}, labeled)\n', out)
    self.assertIn('WER of A - WER of B: -100.00%', out)
    for args, message in (
      ((path,), 'a.jsonl: hypotheses of 2 branches; --branch selects one of ctc, labeled'),
      ((path, '--branch=ctcc'), 'a.jsonl: no hypotheses of the branch ctcc; there are ctc, labeled; did you mean ctc?'),
      ((path, path, '--branch=ctc,labeled'), '--branch=ctc,labeled: expected one branch, or two of one file'),
      ((self._Hypotheses('b.jsonl', 'one'), '--branch=ctc'), 'no hypotheses of the branch ctc; its lines name none'),
    ):
      code, out, err = self._Run(*args)
      self.assertEqual((code, out, err.count('\n')), (2, '', 1), err)
      self.assertIn(message, err)

  def test_speakers(self):
    ref, hyp = self.Write('r.txt', 'u1 one', 'u2 two'), self.Write('h.txt', 'u1 one', 'u2 too')
    code, out, _ = self._Run(ref, hyp, '--by=speaker', f'--speakers={self.Write("utt2spk", "u1 ann", "u2 bob")}')
    self.assertEqual(code, 0)
    self.assertRegex(out, r'(?m)^bob +1 +1 +100\.00% +1 +1 +0 +0 +33\.33%$')
    self.assertEqual(self._Run(ref, hyp, '--by=speaker')[0], 2)
    manifest = self.Write(
      'manifest.jsonl', *(f'{{"utt_id": "{u}", "speaker": "{s}"}}' for u, s in (('u1', 'ann'), ('u2', 'bob')))
    )
    self.assertEqual(self._Run(ref, hyp, '--by=speaker', f'--speakers={manifest}')[1], out)

  def test_speakers_of_another_form(self):
    for name, lines, message in (
      ('utt2spk', ['u1 ann b'], 'utt2spk:1: 3 fields, expected ID SPEAKER'),
      ('utt2spk', ['u1 ann', 'u1 bob'], 'utt2spk:2: u1 appears twice, with different speakers'),
      ('a.jsonl', ['{"id": "u1", "spkr": "ann"}'], 'a.jsonl:1: expected utt_id and speaker, found id, spkr'),
    ):
      with self.subTest(message), self.assertRaisesRegex(errors.DatasetError, message):
        speakers.Read(self.Write(name, *lines))
    self.assertEqual(speakers.Read(self.Write('b.jsonl', '{"id": "u1", "speaker": "unknown"}')), {})

  def test_errors_are_one_line(self):
    path = self._Hypotheses('a.jsonl', 'one')
    for args, message in (
      ((path + 'x',), 'no such file; did you mean a.jsonl?'),
      ((self.Write('r.trn', 'a (b)'),), 'expected HYP too'),
      ((path, '--language=de'), '--language=de: not used without --normalizer'),
      ((path, '--worst=-1'), '--worst=-1: expected >= 0'),
      ((path, self.Write('h.trn', 'a (u9)')), 'no hypothesis for 1 of 1'),
    ):
      code, out, err = self._Run(*args)
      self.assertEqual((code, out, err.count('\n')), (2, '', 1), err)
      self.assertIn(message, err)


if __name__ == '__main__':
  absltest.main()
