"""Tables, Common Voice's and LJ Speech's: every row is one utterance or is named; quotation marks are read right."""

import os

from absl.testing import absltest

from fm_lingvo.data import dataset
from tests import importer_case
from tools.common import exit_codes
from tools.prepare import importers
from tools.prepare.import_helpers import tables


class TableTest(importer_case.ImporterCase):
  def Table(self, name, text, **own):
    return self.List('table', input=self.Text(name, text), **own)

  def Texts(self, listing):
    return [u.text for u in listing.utterances]

  def test_usual_names_delimiters_and_byte_order_marks(self):
    for name, delimiter in (('a.csv', ','), ('b.csv', ';'), ('c.tsv', '\t'), ('d.txt', '\t'), ('e.csv', '|')):
      lines = ['Path,Sentence,client_id,locale,partition', 'x.mp3,0,s,pt-BR,valid', '', 'y.mp3,,,,']
      listing = self.Table(name, '\ufeff' + '\r\n'.join(lines).replace(',', delimiter))
      with self.subTest(name):
        self.assertEqual(self.Found(listing), {'x': ('0', 's', 'dev', 'pt'), 'y': ('', 'unknown', None, None)})

  def test_named_columns(self):
    text = 'text,wav,words,start,end,who,side\nnot this,a.wav,this,1.5,2,me,1\n'
    own = dict(text_column='words', speaker_column='who', id_column='side')
    (found,) = self.Table('a.csv', text, **own).utterances
    self.assertEqual((found.text, found.speaker, found.utt_id), ('this', 'me', '1'))
    self.assertEqual((found.offset, found.seconds), (1.5, 0.5))
    with self.assertRaisesRegex(
      exit_codes.UsageError, '--text_column=word: not a column of .*, did you mean words|words'
    ):
      self.Table('a.csv', text, text_column='word')
    with self.assertRaisesRegex(exit_codes.UsageError, '--id_column=words: the column is (text|utt_id) already'):
      self.Table('a.csv', text, text_column='words', id_column='words')
    with self.assertRaisesRegex(
      exit_codes.UsageError, '--audio_column is needed .*: expected audio_filepath, .*; found a, b'
    ):
      self.Table('b.csv', 'a,b\n1,2\n')
    with self.assertRaisesRegex(exit_codes.UsageError, 'columns path and audio may both have it'):
      self.Table('c.csv', 'path,audio\n1,2\n')
    self.assertLen(self.Table('c.csv', 'path,audio\n1,2\n', audio_column='audio').utterances, 1)

  def test_quotation_marks_that_enclose_fields(self):
    text = 'path,text\na,"one, ""two"""\nb,"three\nfour\u2028five"\nc,5" pipe\n'
    for name in ('a.csv', 'a.tsv'):
      listing = self.Table(name, text if name == 'a.csv' else text.replace(',', '\t').replace('one\t', 'one,'))
      self.assertEqual(self.Texts(listing), ['one, "two"', 'three\nfour\u2028five', '5" pipe'])
      self.assertEmpty(listing.rejects)

  def test_quotation_marks_that_are_text(self):
    rows = ['path\ttext', 'a\t"Hello', 'b\tnothing', 'c\tWorld"', 'd\t"Hi" he said', "e\t'tis"]
    listing = self.Table('a.tsv', '\n'.join(rows))
    self.assertEqual(self.Texts(listing), ['"Hello', 'nothing', 'World"', '"Hi" he said', "'tis"])
    swallowing = '\n'.join(['path\ttext', 'a\t"Hello', 'b\tnothing', 'c\tWorld"'])
    self.assertEqual(self.Texts(self.Table('b.tsv', swallowing)), ['"Hello', 'nothing', 'World"'])
    self.assertEqual(self.Texts(self.Table('c.tsv', 'path\ttext\na\t"whole"\n', quotes='no')), ['"whole"'])

  def test_unmatched_quotation_marks_in_a_csv_are_an_error(self):
    path = self.Text('a.csv', 'path,text\na,"one, two"\nb,"three\nc,"four, five"\n')
    with self.assertRaisesRegex(dataset.DatasetError, r"a\.csv:4: .* expected after '\"'; --quotes=no"):
      self.List('table', input=path)

  def test_rows_of_another_length_are_rejected(self):
    listing = self.Table('a.tsv', 'path\ttext\na\tone\nb\ttwo\tthree\nc\n')
    self.assertEqual(self.Texts(listing), ['one'])
    self.assertEqual([r.source[-7:] for r in listing.rejects], ['a.tsv:3', 'a.tsv:4'])
    self.assertIn('3 fields, expected 2 (path, text)', listing.rejects[0].detail)

  def test_unknown_columns_are_counted(self):
    listing = self.Table('a.csv', 'path,txet,age\na.wav,one,\nb.wav,two,\n')
    self.assertEqual(dict(listing.ignored), {'txet': 2})

  def test_audio_folder(self):
    self.Audio('clips/a.wav')
    text = 'path\na.wav\n../x.wav\n'
    folder = os.path.join(self.dir, 'clips')
    listing = self.Table('sets/a.csv', text, audio_folder=folder)
    self.assertEqual(self.Found(listing), {'../clips/a': ('', 'unknown', None, None)})
    self.AssertSourcesExist(listing)
    self.assertEqual([r.reason for r in listing.rejects], ['outside'])

  def test_splits_and_usage(self):
    train, dev = self.Text('t.csv', 'path\na\n'), self.Text('d.csv', 'path\nb\n')
    listing = self.List('table', input=f'train={train},dev={dev}')
    self.assertEqual([u.split for u in listing.utterances], ['train', 'dev'])
    for own, message in (
      (dict(input=''), 'needs --input=TABLE.csv'),
      (dict(input='/no/such.csv'), '/no/such.csv: expected a table, found no such file'),
      (dict(delimiter='tabs', input=train), '--delimiter=tabs: expected auto or tab or'),
    ):
      with self.subTest(message), self.assertRaisesRegex(exit_codes.UsageError, message):
        self.List('table', **own)
    with self.assertRaisesRegex(dataset.DatasetError, r"two columns are named 'path'"):
      self.Table('b.csv', 'path,path\na,b\n')

  def test_quoted_is_what_the_whole_table_shows(self):
    for text, delimiter, quoted in (
      ('a\tb\n"x"\t"y"\n', '\t', True),
      ('a\tb\n"x" y\tz\n', '\t', False),
      ('a\tb\n1\t"x\n2\ty"\n', '\t', False),
      ('a\tb\n1\t"x\ty"\n', '\t', True),
      ('a,b\n1,"x\ny"\n', ',', True),
      ('a,b\n1,"x" y\n', ',', False),
    ):
      with self.subTest(text):
        self.assertEqual(tables.IsQuoted(self.Text('a', text), delimiter), quoted)


class CommonVoiceTest(importer_case.ImporterCase):
  HEADER = 'client_id\tpath\tsentence_id\tsentence\tup_votes\tage\tlocale\n'

  def setUp(self):
    super().setUp()
    for name, rows in (
      ('train', ['s1\ta.mp3\th\t"Olá," disse.\t2\t\tpt', 's1\tb.mp3\th\tDois "três.\t2\t\tpt']),
      ('test', ['s2\told\th\t0\t2\t\t']),
      ('validated', ['s1\ta.mp3\th\t"Olá," disse.\t2\t\tpt', 's3\tc.mp3\th\tMais.\t2\t\tzh-CN']),
    ):
      self.Text(f'cv/pt/{name}.tsv', self.HEADER + '\n'.join(rows) + '\n')

  def test_splits_speakers_and_texts_as_published(self):
    expected = {
      'a': ('"Olá," disse.', 's1', 'train', 'pt'),
      'b': ('Dois "três.', 's1', 'train', 'pt'),
      'old': ('0', 's2', 'test', 'pt'),
    }
    for folder in ('cv', 'cv/pt', 'cv/pt/'):
      listing = self.List('common_voice', folder)
      self.assertEqual(self.Found(listing), expected)
      self.assertEmpty(listing.rejects)
      self.assertEmpty(listing.ignored)
    self.assertEqual(listing.utterances[2].source, os.path.join(self.dir, 'cv/pt/clips/old.mp3'))
    self.assertEqual(listing.utterances[2].domain, 'common_voice/pt')

  def test_other_tables(self):
    found = self.Found(self.List('common_voice', 'cv', tables='validated'))
    self.assertEqual(found['c'], ('Mais.', 's3', None, 'zh'))
    with self.assertRaisesRegex(
      exit_codes.UsageError, r'no other\.tsv in it or its folders; expected the layout of comm'
    ):
      self.List('common_voice', 'cv', tables='other')

  def test_a_table_of_another_kind(self):
    self.Text('cv/pt/train.tsv', 'path\ttext\na\tb\n')
    with self.assertRaisesRegex(exit_codes.UsageError, r'train\.tsv: no column sentence; found path, text'):
      self.List('common_voice', 'cv')


class LjSpeechTest(importer_case.ImporterCase):
  def test_both_texts(self):
    self.Audio('LJ/wavs/LJ001-0001.wav')
    self.Text('LJ/metadata.csv', 'LJ001-0001|"Dr. 1|Doctor one\nLJ001-0002|only two\n')
    for text, expected in (('original', '"Dr. 1'), ('normalized', 'Doctor one')):
      listing = self.List('ljspeech', 'LJ', text=text)
      self.assertEqual(self.Found(listing), {'LJ001-0001': (expected, 'LJ', None, 'en')})
      self.AssertSourcesExist(listing)
      self.assertEqual([r.reason for r in listing.rejects], ['bad_entry'])
    with self.assertRaisesRegex(exit_codes.UsageError, '--text=spoken: expected original or normalized'):
      self.List('ljspeech', 'LJ', text='spoken')

  def test_usage(self):
    with self.assertRaisesRegex(exit_codes.UsageError, 'no metadata.csv in it or its folders'):
      self.List('ljspeech')
    with self.assertRaisesRegex(exit_codes.UsageError, 'ljspeech needs --input=DIRECTORY'):
      importers.GetImporter('ljspeech').function(importers.Options())


if __name__ == '__main__':
  absltest.main()
