"""Kaldi data directories: what is listed, with which text, part and channel, and what is refused."""

import os

from absl.testing import absltest

from tests import importer_case
from tools.common import exit_codes


class KaldiTest(importer_case.ImporterCase):
  def Write(self, folder, **tables):
    for name, lines in tables.items():
      self.Text(f'{folder}/{"wav.scp" if name == "scp" else name}', ''.join(f'{line}\n' for line in lines))

  def test_files_without_segments(self):
    self.Audio('data/train/wav/a b.wav')
    self.Write(
      'data/train',
      scp=['u1 wav/a b.wav', 'u2\twav/c.flac '],
      text=['u1 HELLO \u2028 there', 'u2 0'],
      utt2spk=['u1 s1', 'u2 s2'],
      utt2lang=['u1 en'],
      spk2gender=['s1 m'],
      feats=['u1 feats.ark:12'],
    )
    listing = self.List('kaldi', 'data/train', languages=('fr',))
    self.assertEqual(
      self.Found(listing), {'u1': ('HELLO \u2028 there', 's1', 'train', 'en'), 'u2': ('0', 's2', 'train', 'fr')}
    )
    self.assertEmpty(listing.rejects)
    self.assertEqual([os.path.basename(u.source) for u in listing.utterances], ['a b.wav', 'c.flac'])

  def test_segments(self):
    self.Write(
      'dev',
      scp=['r1 r1.wav', 'r2 r2.wav'],
      segments=[
        'r1-1 r1 0.5 1.75',
        'r1-2 r1 1.75 -1',
        'r2-1 r2 0 2 1',
        'lost r3 0 1',
        'bad r1 2 1',
        'short r1',
        'x r1 a b',
      ],
      text=['r1-1 ONE', 'r2-1 TWO', 'gone THREE'],
    )
    listing = self.List('kaldi', 'dev')
    parts = {u.utt_id: (u.text, u.offset, u.seconds, u.channel) for u in listing.utterances}
    self.assertEqual(
      parts, {'r1-1': ('ONE', 0.5, 1.25, None), 'r1-2': ('', 1.75, None, None), 'r2-1': ('TWO', 0.0, 2.0, 1)}
    )
    self.assertEqual({u.split for u in listing.utterances}, {'dev'})
    self.assertEqual(
      self.Reasons(listing),
      {'lost': 'no_audio', 'bad': 'bad_entry', 'short': 'bad_entry', 'x': 'bad_entry', 'gone': 'no_audio'},
    )

  def test_commands_and_archives_are_refused_by_name_and_not_run(self):
    made = os.path.join(self.dir, 'made')
    self.Write(
      'data',
      scp=[
        f'u1 touch {made} |',
        'u2 data/wav.ark:1234',
        'u3 -',
        'u4',
        f'u5 | touch {made}',
        'u6 x.ark:12[0:5]',
        'u7 a.wav',
      ],
      text=['u1 A', 'u7 B'],
    )
    listing = self.List('kaldi', 'data')
    self.assertEqual(set(self.Found(listing)), {'u7'})
    self.assertEqual(self.Reasons(listing), {f'u{i}': 'bad_entry' for i in range(1, 7)})
    details = {r.utt_id: r.detail for r in listing.rejects}
    self.assertRegex(details['u1'], r'touch .* \|: a command, which is not run')
    self.assertRegex(details['u2'], r'data/wav.ark:1234: a place in an archive')
    self.assertFalse(os.path.exists(made))

  def test_recordings_that_share_a_file_are_its_channels(self):
    self.Write(
      'data',
      scp=['a-A call.wav', 'a-B call.wav', 'b-A mono_a.wav', 'b-B mono_b.wav', 'c-1 both.wav', 'c-2 both.wav'],
      reco2file_and_channel=['a-A call A', 'a-B call B', 'b-A b A', 'b-B b B', 'c-1 both ?'],
    )
    listing = self.List('kaldi', 'data')
    channels = {u.utt_id: u.channel for u in listing.utterances}
    self.assertEqual(channels, {'a-A': 0, 'a-B': 1, 'b-A': 0, 'b-B': None})
    self.assertEqual(self.Reasons(listing), {'c-1': 'bad_entry', 'c-2': 'bad_entry'})
    self.assertIn('both.wav: recordings share it', listing.rejects[0].detail)

  def test_second_lines_are_named_and_the_first_counts(self):
    self.Write('data', scp=['u a.wav', 'u b.wav'], text=['u ONE', '', 'u TWO'])
    listing = self.List('kaldi', 'data')
    self.assertEqual([(u.text, os.path.basename(u.source)) for u in listing.utterances], [('ONE', 'a.wav')])
    self.assertEqual([r.reason for r in listing.rejects], ['duplicate_id', 'duplicate_id'])
    self.assertEqual([r.source[len(self.dir) :] for r in listing.rejects], ['/data/wav.scp:2', '/data/text:3'])

  def test_several_directories_have_their_splits(self):
    for name in ('train_si284', 'dev_93', 'eval92', 'other'):
      self.Write(name, scp=[f'{name}-1 a.wav'])
    folders = [os.path.join(self.dir, name) for name in ('train_si284', 'dev_93', 'eval92')]
    other = os.path.join(self.dir, 'other')
    splits = {u.utt_id: u.split for u in self.List('kaldi', input=','.join([*folders, f'test={other}'])).utterances}
    self.assertEqual(splits, {'train_si284-1': 'train', 'dev_93-1': 'dev', 'eval92-1': 'test', 'other-1': 'test'})
    self.assertIsNone(self.List('kaldi', 'other').utterances[0].split)

  def test_paths_elsewhere(self):
    absolute = self.Audio('audio/a.wav')
    self.Write('s5/data/train', scp=[f'u1 {absolute}', 'u2 db/b.wav', 'u3 ../../../etc/passwd'])
    self.assertEqual(self.Reasons(self.List('kaldi', 's5/data/train')), {'u1': 'outside', 'u3': 'outside'})
    root = os.path.join(self.dir, 's5')
    listing = self.List('kaldi', 's5/data/train', kaldi_root=root, audio_roots=(os.path.join(self.dir, 'audio'),))
    self.assertEqual([u.source for u in listing.utterances], [absolute, os.path.join(root, 'db/b.wav')])
    self.assertEqual(self.Reasons(listing), {'u3': 'outside'})

  def test_usage(self):
    self.Path('empty/x')
    self.Write('s5/data/train', scp=['u a.wav'])
    for kwargs, message in (
      (dict(input=None, folder='none'), 'no such directory'),
      (dict(input=''), 'kaldi needs --input=DIRECTORY'),
      (dict(folder='empty'), 'no wav.scp in it; expected a Kaldi data directory$'),
      (dict(folder='s5/data'), 'no wav.scp in it; expected a Kaldi data directory, such as its train$'),
      (dict(input=f'trial={self.dir}'), "expected train, dev or test before =, got 'trial'"),
      (dict(folder='empty', kaldi_root='/no/such'), 'no such directory'),
    ):
      with self.subTest(message), self.assertRaisesRegex(exit_codes.UsageError, message):
        self.List('kaldi', **kwargs)


if __name__ == '__main__':
  absltest.main()
