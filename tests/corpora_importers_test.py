"""Published corpora and folders of audio: utterances, splits, speakers, languages, rejects and messages."""

import json
import os
import sys

import numpy as np
import soundfile
from absl.testing import absltest

from fm_lingvo import audio
from fm_lingvo.data import dataset
from tests import importer_case
from tools.common import exit_codes
from tools.prepare import importers
from tools.prepare import pieces
from tools.prepare.import_helpers import stm


class FolderTest(importer_case.ImporterCase):
  def test_texts_splits_and_speakers(self):
    self.Audio('set/train/alice/1.wav')
    self.Text('set/train/alice/1.txt', '\ufeff0\r\n\r\n second\u2028line \n')
    self.Audio('set/train/alice/ch1/2.flac')
    self.Text('set/train/alice/ch1/2.lab', 'two')
    self.Audio('set/validation/wavs/3.wav')
    self.Audio('set/bob/rec.001.wav')
    self.Text('set/bob/rec.001.wav.txt', 'four')
    self.Audio('set/5.wav')
    listing = self.List('folder', 'set', languages=('en',))
    expected = {
      'train/alice/1': ('0 second\u2028line', 'alice', 'train', 'en'),
      'train/alice/ch1/2': ('two', 'alice', 'train', 'en'),
      'validation/wavs/3': ('', 'unknown', 'dev', 'en'),
      'bob/rec.001': ('four', 'bob', None, 'en'),
      '5': ('', 'unknown', None, 'en'),
    }
    self.assertEqual(self.Found(listing), expected)
    self.assertEmpty(listing.rejects)
    self.AssertSourcesExist(listing)

  def test_nothing_is_left_out_unnamed(self):
    for name in ('a.3gp', 'b.mpga', 'c.AVI', 'd.unknown', 'e.AIFC', 'rec.001', 'rec.002'):
      self.Text(f'set/{name}', 'x')
    for name in ('README', 'notes.md', 'x.TextGrid', 'y.json', 'z.json', '.hidden'):
      self.Text(f'set/{name}', 'x')
    self.Text('set/a.txt', 'of a')
    self.Text('set/lost.txt', 'of none')
    listing = self.List('folder', 'set')
    self.assertEqual({u.utt_id for u in listing.utterances}, {'a', 'b', 'c', 'd.unknown', 'e', 'rec.001', 'rec.002'})
    self.assertEqual(listing.notes['folder']['other_files'], {'.json': 2, '.md': 1, '.textgrid': 1, 'README': 1})
    self.assertEqual(self.Reasons(listing), {'lost.txt': 'no_audio'})

  def test_two_recordings_or_texts_of_one_name(self):
    for name in ('a.wav', 'a.flac', 'b.wav', 'c.wav'):
      self.Audio(name)
    for name, text in (('b.txt', 'one'), ('b.lab', 'other'), ('c.txt', 'same'), ('c.lab', 'same')):
      self.Text(name, text)
    listing = self.List('folder')
    self.assertEqual({u.utt_id: u.text for u in listing.utterances}, {'a': '', 'c': 'same'})
    self.assertEqual(self.Reasons(listing), {'a': 'duplicate_id', 'b': 'bad_entry'})

  def test_a_text_that_is_not_utf_8_rejects_its_recording_alone(self):
    for name in 'ab':
      self.Audio(f'{name}.wav')
    self.Text('a.txt', 'caf\xe9', 'latin-1')
    self.Text('b.txt', 'two')
    listing = self.List('folder')
    self.assertEqual({u.utt_id: u.text for u in listing.utterances}, {'b': 'two'})
    self.assertEqual(self.Reasons(listing), {'a': 'bad_entry'})
    self.assertIn('a.txt:1: expected text in UTF-8', listing.rejects[0].detail)

  def test_folders_with_the_same_names_in_them(self):
    self.Audio('x/1.wav')
    self.Audio('y/1.wav')
    x, y = (os.path.join(self.dir, name) for name in 'xy')
    listing = self.List('folder', input=f'train={x},test={y}')
    self.assertEqual([u.split for u in listing.utterances], ['train', 'test'])
    self.Found(listing)

  def test_usage(self):
    self.Text('texts/a.txt', 'x')
    for kwargs, message in (
      (dict(folder='none'), 'no such directory'),
      (dict(input=''), 'folder needs --input=DIRECTORY'),
      (dict(folder='texts'), 'no audio files below it'),
    ):
      with self.subTest(message), self.assertRaisesRegex(exit_codes.UsageError, message):
        self.List('folder', **kwargs)


class MlsTest(importer_case.ImporterCase):
  def test_languages_splits_and_formats(self):
    for folder, extension in (('mls_german', 'flac'), ('mls_polish_opus', 'opus')):
      for split in ('train', 'test'):
        self.Text(f'all/{folder}/{split}/transcripts.txt', f'10_20_{split}\t0 ja "so\n')
        self.Text(f'all/{folder}/{split}/audio/10/20/10_20_{split}.{extension}', '')
        self.Text(f'all/{folder}/{split}/segments.txt', f'10_20_{split}\thttp://x.y/z.mp3\t1.0\t2.0\n')
    listing = self.List('mls', 'all/mls_german')
    self.assertEqual(
      self.Found(listing), {f'10_20_{split}': ('0 ja "so', '10', split, 'de') for split in ('train', 'test')}
    )
    self.AssertSourcesExist(listing)
    both = self.List('mls', 'all')
    self.assertEqual([u.domain for u in both.utterances], ['mls/german'] * 2 + ['mls/polish'] * 2)
    self.AssertSourcesExist(both)
    self.assertEndsWith(self.List('mls', 'all', audio_format='opus').utterances[0].source, '.opus')

  def test_bad_lines_and_usage(self):
    self.Text('mls_dutch/dev/transcripts.txt', 'x\ttext\n1_2_3 no tab\n')
    listing = self.List('mls', 'mls_dutch')
    self.assertEmpty(listing.utterances)
    self.assertEqual([r.reason for r in listing.rejects], ['bad_entry'] * 2)
    self.Path('empty/x')
    with self.assertRaisesRegex(exit_codes.UsageError, 'no train/transcripts.txt or .* expected the layout of mls'):
      self.List('mls', 'empty')


class VoxPopuliTest(importer_case.ImporterCase):
  def test_texts(self):
    utt_id = '20180417-0900-PLENARY-3-en_20180417'
    header = 'id\traw_text\tnormalized_text\tspeaker_id\tsplit\tgender\n'
    self.Text('transcribed_data/en/asr_train.tsv', f'{header}{utt_id}\t"Mr 1.\tmister one\t77\ttrain\tmale\n')
    self.Text('transcribed_data/en/asr_dev.tsv', f'{header}{utt_id}x\t\t\t\tdev\t\n')
    self.Audio(f'transcribed_data/en/2018/{utt_id}.ogg')
    for text, expected in (('normalized', 'mister one'), ('raw', '"Mr 1.')):
      listing = self.List('voxpopuli', 'transcribed_data', text=text)
      self.assertEqual(
        self.Found(listing), {utt_id: (expected, '77', 'train', 'en'), f'{utt_id}x': ('', 'unknown', 'dev', 'en')}
      )
    self.assertTrue(os.path.exists(listing.utterances[0].source))
    with self.assertRaisesRegex(exit_codes.UsageError, 'no asr_train.tsv or asr_dev.tsv or asr_test.tsv in it'):
      self.List('voxpopuli', 'transcribed_data/en/2018')
    self.Text('transcribed_data/en/asr_train.tsv', 'id\ttext\na\tb\n')
    with self.assertRaisesRegex(exit_codes.UsageError, 'no column normalized_text; found id, text'):
      self.List('voxpopuli', 'transcribed_data')


class FleursTest(importer_case.ImporterCase):
  def test_texts_lengths_and_languages(self):
    row = '7\t123.wav\t"Hi," he said.\thi he said\th i | h e |\t8000\tMALE\n'
    self.Text('en_us/train.tsv', row + '7\t124.wav\tshort\n')
    self.Text('cmn_hans_cn/dev.tsv', row)
    self.Audio('en_us/audio/train/123.wav')
    listing = self.List('fleurs', 'en_us')
    self.assertEqual(self.Found(listing), {'en_us/123': ('"Hi," he said.', 'unknown', 'train', 'en')})
    self.assertEqual(listing.utterances[0].declared_duration, 0.5)
    self.AssertSourcesExist(listing)
    self.assertEqual([r.reason for r in listing.rejects], ['bad_entry'])
    both = self.Found(self.List('fleurs', text='normalized'))
    self.assertEqual(both['cmn_hans_cn/123'], ('hi he said', 'unknown', 'dev', 'zh'))
    self.Path('empty/x')
    with self.assertRaisesRegex(exit_codes.UsageError, 'no train.tsv or dev.tsv or test.tsv in it'):
      self.List('fleurs', 'empty')


class StmTest(importer_case.ImporterCase):
  def test_lines(self):
    for line, expected in (
      ('T 1 S 0.5 2 <o,f0,male> a b', ('T', '1', 'S', 0.5, 2.0, '<o,f0,male>', 'a b')),
      ('T A S 0 2 <F0_M>  a\u2028b ', ('T', 'A', 'S', 0.0, 2.0, '<F0_M>', 'a\u2028b')),
      ('T\t1  S 0 2 <unk> a', ('T', '1', 'S', 0.0, 2.0, '', '<unk> a')),
      ('T 1 S 0 2', ('T', '1', 'S', 0.0, 2.0, '', '')),
    ):
      self.assertEqual(stm.Parse(line), stm.Segment(*expected))
    for line in ('', ' ', ';; LABEL "o"'):
      self.assertIsNone(stm.Parse(line))
    for line, message in (
      ('T 1 S 0', '4 fields'),
      ('T 1 S 2 1 x', 'from 2 to 1'),
      ('T 1 S a nan x', 'expected seconds'),
    ):
      with self.assertRaisesRegex(ValueError, message):
        stm.Parse(line)


class TedliumTest(importer_case.ImporterCase):
  TALK = (
    ";; comment\nTalk 1 Speaker 0.5 2.0 <o,f0,male> it 's <unk> we 're {NOISE} a(2) <sil> rock 'n' (Talk-0.5-2.0)\n"
    'Talk 1 Speaker 2.0 3.25 <F0_M> 0\nTalk 1 inter 3.25 4 <o,,> ignore_time_segment_in_scoring\nTalk 1 broken\n'
  )

  def setUp(self):
    super().setUp()
    self.Text('TEDLIUM_release-3/legacy/train/stm/Talk.stm', self.TALK)
    self.Text('TEDLIUM_release-3/legacy/train/sph/Talk.sph', '')
    self.Text('TEDLIUM_release-3/legacy/test/stm/Other.stm', self.TALK.replace('Talk', 'Other'))
    self.Text('TEDLIUM_release-3/legacy/test/sph/Other.sph', '')

  def test_segments(self):
    listing = self.List('tedlium', 'TEDLIUM_release-3')
    expected = {}
    for talk, split in (('Talk', 'train'), ('Other', 'test')):
      expected[f'{talk}@500-2000'] = ("it's we're a rock'n'", 'Speaker', split, 'en')
      expected[f'{talk}@2000-3250'] = ('0', 'Speaker', split, 'en')
    self.assertEqual(self.Found(listing), expected)
    self.assertEqual({(u.offset, u.seconds) for u in listing.utterances}, {(0.5, 1.5), (2.0, 1.25)})
    self.AssertSourcesExist(listing)
    self.assertEqual(sorted(r.reason for r in listing.rejects), ['bad_entry'] * 2 + ['not_speech'] * 2)
    self.assertEqual(listing.notes['tedlium'], {'texts_without_their_unknown_words': 2})

  def test_a_talk_that_is_not_utf_8_leaves_the_others(self):
    self.Text('TEDLIUM_release-3/legacy/train/stm/Bad.stm', 'Bad 1 S 0 1 <o,,> caf\xe9\n', 'latin-1')
    listing = self.List('tedlium', 'TEDLIUM_release-3')
    self.assertLen(listing.utterances, 4)
    self.assertIn('Bad.stm:1: expected text in UTF-8', next(r.detail for r in listing.rejects if 'Bad' in r.source))

  def test_unknown_words_can_be_rejected(self):
    listing = self.List('tedlium', 'TEDLIUM_release-3', unknown_words='reject')
    self.assertLen(listing.utterances, 2)
    self.assertEqual(self.Reasons(listing)['Talk@500-2000'], 'no_text')

  def test_release_2_and_usage(self):
    listing = self.List('tedlium', 'TEDLIUM_release-3/legacy')
    self.assertLen(listing.utterances, 4)
    with self.assertRaisesRegex(exit_codes.UsageError, 'no legacy/train/stm or .* expected the layout of tedlium'):
      self.List('tedlium', 'TEDLIUM_release-3/legacy/train/stm')


class LibriLightTest(importer_case.ImporterCase):
  def test_recordings_are_whole_so_that_the_pipeline_can_cut_them(self):
    self.Audio('small/100/a_book/01.flac')
    self.Text('small/100/a_book/01.json', '{"voice_activity": [[0.1, 0.2], [0.3, 44.8]]}')
    self.Audio('small/100/a_book/02.flac')
    listing = self.List('librilight', 'small')
    self.assertEqual(self.Found(listing), {f'small/100/a_book/{i}': ('', '100', None, 'en') for i in ('01', '02')})
    self.assertEmpty(listing.rejects)
    self.assertEqual({u.domain for u in listing.utterances}, {'librilight/small'})
    self.assertTrue(all(pieces.CanCut(utterance) for utterance in listing.utterances))

  def test_usage(self):
    self.Text('small/1/b/x.mp3', '')
    with self.assertRaisesRegex(exit_codes.UsageError, r'no \*\.flac below it; expected the layout of Libri-Light'):
      self.List('librilight')


class LibriTtsTest(importer_case.ImporterCase):
  def test_texts(self):
    stem = 'LibriTTS/dev-clean/84/121123/84_121123_000007_00000'
    self.Audio(f'{stem}1.wav')
    self.Text(f'{stem}1.normalized.txt', 'Chapter one.\n')
    self.Text(f'{stem}1.original.txt', 'Chapter 1.')
    self.Audio(f'{stem}2.wav')
    self.Text(f'{stem}3.normalized.txt', 'No audio.')
    self.Audio(f'{stem}4.wav')
    for kind in ('normalized', 'original'):
      self.Text(f'{stem}4.{kind}.txt', 'caf\xe9', 'latin-1')
    self.Text('LibriTTS/dev-clean/84/121123/84_121123.trans.tsv', 'x')
    for text, expected in (('normalized', 'Chapter one.'), ('original', 'Chapter 1.')):
      listing = self.List('libritts', 'LibriTTS', text=text)
      self.assertEqual(self.Found(listing), {'84_121123_000007_000001': (expected, '84', 'dev', 'en')})
    listing = self.List('libritts', 'LibriTTS/dev-clean')
    self.assertEqual(listing.utterances[0].domain, 'libritts/dev-clean')
    self.assertEqual(
      self.Reasons(listing),
      {f'84_121123_000007_00000{i}': reason for i, reason in ((2, 'no_text'), (3, 'no_audio'), (4, 'bad_entry'))},
    )
    self.Path('empty/x')
    with self.assertRaisesRegex(
      exit_codes.UsageError, r'no \*\.normalized\.txt below it; expected the layout of LibriTTS'
    ):
      self.List('libritts', 'empty')


class GigaSpeechTest(importer_case.ImporterCase):
  def Segment(self, number, text, subsets, **kwargs):
    times = {'begin_time': 1.5 * number, 'end_time': 1.5 * number + 1}
    return {'sid': f'POD_S{number}', 'speaker': 'N/A', **times, 'subsets': subsets, 'text_tn': text, **kwargs}

  def Write(self, *segments):
    recording = {'aid': 'POD', 'path': 'audio/podcast/P0001/POD.opus', 'subsets': ['{XL}', '{S}', '{DEV}']}
    self.Text('giga/GigaSpeech.json', json.dumps({'audios': [{**recording, 'segments': segments}]}))

  def test_subsets_punctuation_and_tags(self):
    self.Write(
      self.Segment(0, "IT'S <COMMA> YES <QUESTIONMARK>", ['{XL}', '{S}']),
      self.Segment(1, 'ONLY XL <PERIOD>', ['{XL}'], speaker='X'),
      self.Segment(2, 'DEV TEXT', ['{DEV}']),
      self.Segment(3, '<MUSIC>', ['{DEV}']),
      self.Segment(4, 'A <LAUGH> B', ['{XL}']),
      self.Segment(5, 'BACKWARDS', ['{XL}'], end_time=0.5),
    )
    everything = {
      'POD_S0': ("IT'S, YES?", 'unknown', 'train', 'en'),
      'POD_S1': ('ONLY XL.', 'X', 'train', 'en'),
      'POD_S2': ('DEV TEXT', 'unknown', 'dev', 'en'),
    }
    listing = self.List('gigaspeech', 'giga')
    self.assertEqual(self.Found(listing), everything)
    self.assertEqual((listing.utterances[1].offset, listing.utterances[1].seconds), (1.5, 1.0))
    self.assertEqual(listing.utterances[1].domain, 'gigaspeech/podcast')
    self.assertEqual(self.Reasons(listing), {'POD_S3': 'not_speech', 'POD_S4': 'bad_entry', 'POD_S5': 'bad_entry'})
    del everything['POD_S1']
    self.assertEqual(self.Found(self.List('gigaspeech', 'giga', subset='S')), everything)

  def test_usage(self):
    with self.assertRaisesRegex(exit_codes.UsageError, 'no GigaSpeech.json in it'):
      self.List('gigaspeech')
    self.Write()
    with self.assertRaisesRegex(exit_codes.UsageError, '--subset=XXL: expected XL or L or M or S or XS'):
      self.List('gigaspeech', 'giga', subset='XXL')
    for content, message in (('{"audios": [{"x": 1}]}', "KeyError: 'subsets'"), ('[', 'JSONDecodeError')):
      self.Text('giga/GigaSpeech.json', content)
      with self.assertRaisesRegex(dataset.DatasetError, f'GigaSpeech.json: not in the format of GigaSpeech .{message}'):
        self.List('gigaspeech', 'giga')


class An4Test(importer_case.ImporterCase):
  def setUp(self):
    super().setUp()
    self.Text('an4/etc/an4_train.fileids', 'an4_clstk/fash/an251-fash-b\nan4_clstk/fash/an253-fash-b\nan4_clstk/x/y\n')
    self.Text(
      'an4/etc/an4_train.transcription',
      '<s> yes </s> (an251-fash-b)\n<s> GO </s> (an253-fash-b)\n<s> go </s> (lost)\nno id\n',
    )
    self.Text('an4/etc/an4_test.fileids', 'an4test_clstk/fcaw/an406-fcaw-b\n')
    self.Text('an4/etc/an4_test.transcription', 'RUBOUT G M E F THREE NINE (an406-fcaw-b)\n')
    self.tone = (8000 * np.sin(np.arange(8000) * 0.2)).astype(np.int16)

  def test_texts_speakers_splits_and_rejects(self):
    listing = self.List('an4')
    self.assertEqual(
      self.Found(listing),
      {
        'an251-fash-b': ('yes', 'fash', 'train', 'en'),
        'an253-fash-b': ('GO', 'fash', 'train', 'en'),
        'an406-fcaw-b': ('RUBOUT G M E F THREE NINE', 'fcaw', 'test', 'en'),
      },
    )
    self.assertEqual(self.Reasons(listing), {'lost': 'no_audio', '': 'bad_entry', 'y': 'no_text'})
    self.assertEndsWith(listing.utterances[0].source, 'an251-fash-b.sph')
    self.Path('empty/x')
    with self.assertRaisesRegex(
      exit_codes.UsageError, 'no etc/an4_train.transcription or .* expected the layout of an4'
    ):
      self.List('an4', 'empty')

  def test_sphere_and_raw_of_either_byte_order_have_the_same_samples(self):
    path = self.Path('an4/wav/an4_clstk/fash/an251-fash-b.sph')
    soundfile.write(path, self.tone, 16000, format='NIST')
    np.testing.assert_array_equal(audio.Decode(self.List('an4', 'an4').utterances[0].source, 30.0), self.tone)
    os.remove(path)
    for order in ('>i2', '<i2'):
      with open(path.replace('.sph', '.raw'), 'wb') as f:
        f.write(self.tone.astype(order).tobytes())
      found = self.List('an4', 'an4').utterances[0]
      np.testing.assert_array_equal(found.load(30.0), self.tone)
      self.assertEqual(found.load(30.0).dtype, np.int16)
    with self.assertRaisesRegex(audio.Rejected, 'too_long: more than 0.1 s'):
      found.load(0.1)
    for content, message in ((b'', 'empty: 0 bytes'), (b'abc', 'corrupt: 3 bytes')):
      with open(found.source, 'wb') as f:
        f.write(content)
      with self.assertRaisesRegex(audio.Rejected, message):
        found.load(30.0)


class EveryImporterTest(importer_case.ImporterCase):
  def test_one_line_says_what_it_reads_and_it_is_short(self):
    for name in importers.BUILT_IN:
      with self.subTest(name):
        module = importers.Module(name)
        first, _, rest = module.__doc__.partition('\n')
        self.assertRegex(first, r'^\S.*[.]$')
        self.assertTrue(not rest or rest.startswith('\n'), 'the description is one line')
        with open(module.__file__, encoding='utf-8') as f:
          self.assertLessEqual(len(f.readlines()), 80)

  def test_own_options_are_described_and_hide_no_shared_one(self):
    shared = set(importers.Options.__dataclass_fields__)
    for name in importers.BUILT_IN:
      for option in importers.GetImporter(name).own_options:
        with self.subTest(f'{name} --{option.name}'):
          self.assertNotIn(option.name, shared)
          self.assertRegex(option.help, r'\S[.)]?$')

  def test_missing_input_is_said(self):
    for name in importers.BUILT_IN:
      used = importers.GetImporter(name)
      if 'input' not in used.shared_options or name in (
        'prompts',
        'synth',
        'general_speech',
        'games',
        'fillets',
        'tuxpaint',
      ):
        continue
      with self.subTest(name):
        with self.assertRaisesRegex(exit_codes.UsageError, f'--importer={name} needs --input='):
          used.function(importers.Options())

  def test_an_importer_of_an_installed_package_is_found(self):
    self.Text('radio_package/__init__.py', '')
    self.Text(
      'radio_package/importer.py',
      'from fm_lingvo.data import importers\n'
      "OPTIONS = ('input', importers.Option('station', None, 'A station.'))\n"
      "def Import(options):\n  return importers.Listing(notes={'station': options.own['station']})\n",
    )
    self.Text('radio-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\nName: radio\nVersion: 1.0\n')
    self.Text(
      'radio-1.0.dist-info/entry_points.txt',
      '[fm_lingvo.importers]\nradio = radio_package.importer\nbroken = radio_package.nothing\n',
    )
    sys.path.insert(0, self.dir)
    self.addCleanup(sys.path.remove, self.dir)
    self.addCleanup(lambda: [sys.modules.pop(name) for name in list(sys.modules) if name.startswith('radio_package')])
    self.assertIn('radio', importers.Names())
    self.assertEqual(self.List('radio', station='one').notes, {'station': 'one'})
    self.assertEqual([o.name for o in importers.GetImporter('radio').own_options], ['station'])
    with self.assertRaisesRegex(
      exit_codes.UsageError, '--importer=broken: the entry point radio_package.nothing is not'
    ):
      importers.GetImporter('broken')


if __name__ == '__main__':
  absltest.main()
