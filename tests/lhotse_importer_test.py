"""Lhotse's manifests and Shar: every supervision is the right part and channel of its recording, or named."""

import tarfile

from absl.testing import absltest

from tests import container_case
from tools.common import exit_codes

Sound = container_case.Sound


def Recording(name, seconds, *, channels=(0,), kind='file', source=None, **more):
  sources = [{'type': kind, 'channels': list(channels), 'source': f'wav/{name}.wav' if source is None else source}]
  return {'id': name, 'sources': sources, 'sampling_rate': 16000, 'duration': seconds, **more}


def Supervision(name, start, duration, channel=0, **more):
  return {'id': name, 'recording_id': name[0], 'start': start, 'duration': duration, 'channel': channel, **more}


def Cut(recording, start, duration, *supervisions, channel=0, **more):
  cut = {'id': f'cut-{recording["id"]}', 'start': start, 'duration': duration, 'channel': channel}
  kind = 'MultiCut' if isinstance(channel, list) else 'MonoCut'
  return {**cut, 'supervisions': list(supervisions), 'recording': recording, 'type': kind, **more}


def Placeholder(recording, seconds):
  """The recording as it is in Shar."""
  return {**recording, 'sources': [{**recording['sources'][0], 'type': 'shar', 'source': ''}], 'duration': seconds}


class ManifestsTest(container_case.ContainerCase):
  def setUp(self):
    super().setUp()
    self.Write('wav/a.wav', Sound(4.0))
    self.Write('wav/b.wav', Sound(6.0, channels=2))
    self.a, self.b = Recording('a', 4.0), Recording('b', 6.0, channels=(0, 1))

  def _Parts(self, listing):
    return {u.utt_id: (u.text, u.offset, u.seconds, u.channel) for u in listing.utterances}

  def test_supervisions_of_cuts_count_from_the_start_of_the_cut(self):
    both = Supervision('b-3', 4.0, 1.5, [0, 1], text='both')
    path = self.JsonLines(
      'cuts_train.jsonl.gz',
      Cut(self.a, 0, 4.0, Supervision('a-1', 0.5, 1.5, text='one', speaker='s', language='English', custom={'snr': 3})),
      Cut(self.a, 2.0, 2.0, Supervision('a-2', 0.5, 1.0, text='two'), Supervision('a-3', -0.5, 1.0, text='three')),
      Cut(self.b, 0, 6.0, Supervision('b-1', 1, 2, 0, text=1), Supervision('b-2', 1, 2, 1), both, channel=[0, 1]),
      Cut(self.b, 1.0, 2.0, Supervision('b-4', 0, 2.0, text='right'), channel=1),
      Cut(self.a, 0, 4.0, features={'type': 'fbank'}, custom=None),
    )
    listing = self.List('lhotse', path)
    self.assertEmpty(listing.rejects)
    self.assertEqual(
      self._Parts(listing),
      {
        'a-1': ('one', 0.5, 1.5, None),
        'a-2': ('two', 2.5, 1.0, None),
        'a-3': ('three', 1.5, 1.0, None),
        'b-1': ('1', 1.0, 2.0, 0),
        'b-2': ('', 1.0, 2.0, 1),
        'b-3': ('both', 4.0, 1.5, None),
        'b-4': ('right', 1.0, 2.0, 1),
        'cut-a': ('', 0.0, None, None),
      },
    )
    first = listing.utterances[0]
    self.assertEqual((first.speaker, first.language, first.split), ('s', 'en', 'train'))
    self.assertEqual(listing.ignored, {'custom.snr': 1, 'features': 1})
    self.assertEqual(self.Loaded(listing)['cut-a'], 4.0)
    self.assertEqual(self.Loaded(listing)['b-2'], 2.0)

  def test_recordings_and_supervisions(self):
    recordings = self.JsonLines('recordings.jsonl.gz', self.a, self.b)
    supervisions = self.JsonLines('sups_dev.jsonl', Supervision('a-1', 1, 2, text='x'), Supervision('z-1', 0, 1))
    listing = self.List('lhotse', f'{supervisions},{recordings}')
    self.assertEqual(self._Parts(listing), {'a-1': ('x', 1.0, 2.0, None)})
    self.assertEqual(listing.utterances[0].split, 'dev')
    self.assertEqual(self.Reasons(listing), ['bad_entry', 'no_text'])
    self.assertIn('recording_id = z: no such recording', listing.rejects[0].detail)
    alone = self.List('lhotse', recordings)
    self.assertEqual(self.Loaded(alone), {'a': 4.0, 'b': 6.0})

  def test_what_cannot_be_read_is_named(self):
    two = {**self.b, 'sources': [{'type': 'file', 'channels': [c], 'source': 'wav/a.wav'} for c in (0, 1)]}
    four = Recording('b', 6.0, channels=(0, 1, 2, 3))
    for cut, message in (
      ({'id': 'x', 'type': 'MixedCut', 'tracks': []}, 'MixedCut: mixtures and padding are not read'),
      ({'id': 'x', 'type': 'PaddingCut'}, 'PaddingCut: mixtures'),
      ({'id': 'x', 'start': 0, 'duration': 1}, 'a cut without a recording'),
      (Cut(Recording('a', 4.0, kind='command', source='rm -rf /'), 0, 1), 'type command: .*commands are never run'),
      (Cut(Recording('a', 4.0, kind='url', source='http://x/y'), 0, 1), 'type url: expected file'),
      (Cut(Recording('a', 4.0, transforms=[{'name': 'Speed'}]), 0, 1), 'transforms .* not applied: Speed'),
      (Cut(two, 0, 1, channel=[0, 1]), r'channel = \[0, 1\]: expected those of one file, of 2'),
      (Cut(four, 0, 1, channel=[0, 1]), r'expected one or all of \[0, 1, 2, 3\]'),
      (Cut(self.a, '0', 1), 'start = "0": expected seconds'),
      (Cut(self.a, 0, None), 'duration = null: expected seconds'),
      (Cut(self.a, -3, 1), 'offset = -3'),
      ({**Cut(self.a, 0, 1), 'recording': {'id': 'a'}}, 'a recording without sources'),
    ):
      with self.subTest(message):
        listing = self.List('lhotse', self.JsonLines('cuts.jsonl', cut))
        self.assertEmpty(listing.utterances)
        self.assertEqual(self.Reasons(listing), ['bad_entry'])
        self.assertRegex(listing.rejects[0].detail, message)

  def test_one_bad_supervision_does_not_cost_the_others(self):
    path = self.JsonLines('c.jsonl', Cut(self.a, 0, 4, Supervision('a-1', None, 1), Supervision('a-2', 1, 1)))
    listing = self.List('lhotse', path)
    self.assertEqual([u.utt_id for u in listing.utterances], ['a-2'])
    self.assertEqual([r.utt_id for r in listing.rejects], ['a-1'])

  def test_resampling_changes_nothing_here(self):
    path = self.JsonLines('c.jsonl', Cut(Recording('a', 4.0, transforms=[{'name': 'Resample'}]), 0, 4.0))
    self.assertEqual(self.Loaded(self.List('lhotse', path)), {'cut-a': 4.0})


class SharTest(container_case.ContainerCase):
  def _Shard(self, number=0):
    a, b = Recording('a', 4.0), Recording('b', 6.0, channels=(0, 1))
    self.JsonLines(
      f'train/cuts.{number:06d}.jsonl.gz',
      {**Cut(Placeholder(a, 1.5), 0, 1.5, Supervision('a-1', 0, 1.5, text='one')), 'id': 'a-1'},
      Cut(Placeholder(b, 2.0), 0, 2.0, Supervision('b-1', 0.5, 1.0, 1, text='two'), channel=[0, 1]),
      {**Cut(Placeholder(a, 1.0), 0, 1.0, Supervision('a-2', 0, 2.0, text='beyond')), 'id': 'a-2'},
      {'id': 'absent', 'start': 0, 'duration': 1.0, 'channel': 0},
    )
    return self.Tar(
      f'train/recording.{number:06d}.tar',
      ('a-1.flac', Sound(1.5, 'FLAC')),
      ('a-1.json', b'{}'),
      ('cut-b.original', Sound(2.0, channels=2)),
      ('cut-b.json', b'{}'),
      ('a-2.flac', Sound(1.0, 'FLAC')),
      ('a-2.json', b'{}'),
      ('absent.nodata', b''),
      ('absent.nometa', b''),
      ('extra.flac', b'1'),
      ('extra.json', b'{}'),
    )

  def test_cuts_find_their_audio(self):
    self._Shard()
    listing = self.List('lhotse', f'{self.dir}/train')
    self.assertEqual(
      {u.utt_id: (u.text, u.offset, u.seconds, u.channel, u.split) for u in listing.utterances},
      {'a-1': ('one', 0.0, None, None, 'train'), 'b-1': ('two', 0.5, 1.0, 1, 'train')},
    )
    self.assertEqual(
      [(r.utt_id, r.reason) for r in listing.rejects],
      [('a-2', 'bad_entry'), ('absent', 'no_audio'), ('extra', 'no_text')],
    )
    self.assertIn('reaches beyond the cut', listing.rejects[0].detail)
    self.assertEqual(self.Loaded(listing), {'a-1': 1.5, 'b-1': 1.0})

  def test_damage_costs_what_is_behind_it(self):
    tar = self._Shard()
    with tarfile.open(tar) as f:
      self.Cut(tar, f.getmember('cut-b.original').offset_data + 100)
    listing = self.List('lhotse', f'{self.dir}/train')
    self.assertEqual(self.Loaded(listing), {'a-1': 1.5, 'b-1': 'corrupt'})
    self.assertEqual(self.Reasons(listing), ['corrupt'] * 3)

  def test_other_folders_are_refused(self):
    with self.assertRaisesRegex(exit_codes.UsageError, r'no cuts\.\*\.jsonl\.gz with recording'):
      self.List('lhotse', self.dir)
    self.JsonLines('x/cuts.000000.jsonl.gz')
    with self.assertRaisesRegex(exit_codes.UsageError, r'cuts\.000000\.jsonl\.gz without recording\.000000\.tar'):
      self.List('lhotse', f'{self.dir}/x')


if __name__ == '__main__':
  absltest.main()
