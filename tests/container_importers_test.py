"""Data sets in tars: every member is an utterance or named, and damage costs only what lies behind it."""

import os
import pickle
import tarfile
from unittest import mock

import pyarrow as pa
from absl.testing import absltest

from tests import container_case
from tools.common import exit_codes
from tools.prepare.import_helpers import inputs
from tools.prepare.import_helpers import patterns
from tools.prepare.import_helpers import tars

Sound = container_case.Sound


class PatternsTest(container_case.ContainerCase):
  def test_braces(self):
    for pattern, expected in (
      ('a', ['a']),
      ('a{08..10}.tar', ['a08.tar', 'a09.tar', 'a10.tar']),
      ('a{8..10}', ['a8', 'a9', 'a10']),
      ('{x,y}/{0..1}', ['x/0', 'x/1', 'y/0', 'y/1']),
      ('a{b}', ['a{b}']),
    ):
      self.assertEqual(list(patterns.Expand(pattern)), expected)

  def test_commas_in_braces_do_not_separate_and_nemo_has_braces_of_its_own(self):
    self.assertEqual(patterns.Parts('a{0,1},b_OP_0..7_CL_'), ['a{0,1}', 'b{0..7}'])

  def test_missing_files_are_named(self):
    self.Tar('s-0.tar')
    for value, message in (
      (f'{self.dir}/s-{{0..2}}.tar', r's-1\.tar and 1 more; expected shards'),
      (f'tran={self.dir}/s-0.tar', "expected train, dev or test before =, got 'tran'"),
      (f'{self.dir}/t-*.tar', r'no such file: .*t-\*\.tar'),
      ('x{5..2}', r'expected a range such as'),
      (None, '--importer=webdataset needs --input=shards'),
    ):
      with self.subTest(value), self.assertRaisesRegex(exit_codes.UsageError, message):
        patterns.Files('webdataset', value, 'shards')

  def test_split_is_a_word_of_the_name_unless_there_are_two(self):
    names = ('cuts_train.jsonl.gz', 'cuts_dev-clean', 'val/cuts', 'cuts_contest', 'train_dev_cuts', 'cv_validated')
    self.assertEqual([inputs.SplitOfName(name) for name in names], ['train', 'dev', None, None, None, None])

  def test_files_named_for_a_split_are_in_it_whatever_their_format(self):
    audio = self.Write('a.wav', Sound(0.2))
    listings = [
      self.List('manifest', self.JsonLines('nemo_val.json', {'wav': audio}), audio_roots=(self.dir,)),
      self.List('table', self.Text('val.csv', f'wav,wrd\n{audio},HO\n')),
      self.List('webdataset', self.Tar('val-000.tar', ('a.wav', Sound(0.2)))),
    ]
    self.assertEqual([u.split for listing in listings for u in listing.utterances], ['dev'] * 3)
    listing = self.List('table', 'train=' + self.Text('test.csv', f'wav,wrd\n{audio},HO\n'))
    self.assertEqual([(u.split, u.text) for u in listing.utterances], [('train', 'HO')])


class TarsTest(container_case.ContainerCase):
  def _Read(self, contents):
    found = {}
    for container in dict.fromkeys(m.container for m in contents.members):
      spans = [m.span for m in contents.members if m.container == container]
      found.update({str(span): data for span, data in pickle.loads(pickle.dumps(container)).Read(spans)})
    return found

  def test_all_formats_and_compressions_are_read_alike(self):
    members = {'a.wav': b'1' * 512, 'b' * 200 + '/ü.wav': b'2' * 700, 'empty.wav': b'', 'c.wav': b'3' * 3000}
    for mode, form in (
      ('w', tarfile.GNU_FORMAT),
      ('w', tarfile.PAX_FORMAT),
      ('w:gz', tarfile.GNU_FORMAT),
      ('w:bz2', tarfile.PAX_FORMAT),
      ('w:xz', tarfile.GNU_FORMAT),
    ):
      with self.subTest(mode, form=form):
        path = self.Tar('x', *members.items(), mode=mode, format=form)
        contents = tars.List(path)
        self.assertEqual((contents.damage, contents.refused), ('', []))
        self.assertEqual(self._Read(contents), members)
        self.assertEqual({m.name: m.text for m in tars.List(path, lambda name: True).members}, members)

  def test_parts_of_a_tar_are_containers_of_their_own(self):
    members = {f'{i}.wav': bytes([i]) * 1000 for i in range(20)}
    with mock.patch.object(tars, '_PART_BYTES', 4096):
      contents = tars.List(self.Tar('x.tar', *members.items()))
    self.assertGreater(len({m.container for m in contents.members}), 5)
    self.assertEqual(self._Read(contents), members)

  def test_what_is_cut_off_is_reported_and_the_rest_kept(self):
    members = {f'{i}.wav': bytes([i]) * 1000 for i in range(5)}
    for mode in ('w', 'w:gz'):
      path = self.Tar('x', *members.items(), mode=mode)
      with open(path, 'rb') as f:
        whole = f.read()
      for size in range(1, 5 * 1536 if mode == 'w' else len(whole) - 12, 97 if mode == 'w' else 11):
        contents = tars.List(self.Write('x', whole[:size]))
        if size % 1536 or mode != 'w':  # At the start of a header, nothing shows that more should follow.
          self.assertTrue(contents.damage, size)
        try:
          self._Read(contents)
        except tars.DAMAGE:
          pass
        complete = size // 1536 if mode == 'w' else 0
        self.assertGreaterEqual(len(contents.members), complete)
        self.assertEqual(
          self._Read(tars.Contents(contents.members[:complete], [])), dict(list(members.items())[:complete])
        )

  def test_zeros_behind_the_last_member_need_not_be_whole_blocks(self):
    with open(self.Tar('x.tar', ('a.wav', b'1')), 'rb') as f:
      whole = f.read()
    for size in range(1024, 3000, 300):
      contents = tars.List(self.Write('x.tar', whole[:size]))
      self.assertLen(contents.members, 1)
      self.assertEmpty(contents.damage)

  def test_a_damaged_header_is_no_end(self):
    path = self.Tar('x.tar', *((f'{i}.wav', b'1' * 1000) for i in range(5)))
    with open(path, 'r+b') as f:
      f.seek(2 * 1536 + 148)
      f.write(b'garbage!')
    contents = tars.List(path)
    self.assertLen(contents.members, 2)
    self.assertRegex(contents.damage, r'damaged after byte 3048 \(.*header.*\); what follows is lost')

  def test_several_tars_in_one_file_are_read(self):
    first, second = self.Tar('a', ('a.wav', b'1')), self.Tar('b', ('b.wav', b'2'))
    with open(first, 'ab') as f, open(second, 'rb') as g:
      f.write(g.read())
    self.assertEqual(self._Read(tars.List(first)), {'a.wav': b'1', 'b.wav': b'2'})

  def test_links_and_oversized_members_are_refused(self):
    path = self.Tar('x.tar', ('big.wav', b'1' * 3000), ('long.txt', b'1' * 200), ('ok.wav', b'1'))
    with tarfile.open(path, 'a') as tar:
      link = tarfile.TarInfo('passwd.wav')
      link.type, link.linkname = tarfile.SYMTYPE, '/etc/passwd'
      tar.addfile(link)
    with mock.patch.object(tars, 'MAX_BYTES', 2000), mock.patch.object(tars, 'MAX_TEXT_BYTES', 100):
      contents = tars.List(path, lambda name: name.endswith('.txt'))
    self.assertEqual([m.name for m in contents.members], ['ok.wav'])
    self.assertEqual(
      contents.refused,
      [
        ('big.wav', '3000 bytes, expected at most 2000'),
        ('long.txt', '200 bytes, expected at most 100'),
        ('passwd.wav', 'a link, a device or a sparse file, which are not read'),
      ],
    )

  def test_hostile_sizes_end_the_listing(self):
    for size, kind in ((-512, tarfile.REGTYPE), (-1536, tarfile.XHDTYPE), (1 << 40, tarfile.XHDTYPE)):
      info = tarfile.TarInfo('a.wav')
      info.size, info.type = size, kind
      contents = tars.List(self.Write('x.tar', info.tobuf(tarfile.GNU_FORMAT) + b'1' * 1024))
      self.assertTrue(contents.damage, (size, kind))
      self.assertEmpty(contents.members)

  def test_zstd_is_read_and_a_cut_one_is_damaged(self):
    with open(self.Tar('x.tar', ('a.wav', bytes(range(256)) * 9000), ('b.wav', b'2'), ('c.txt', b'x')), 'rb') as f:
      plain = f.read()
    half = len(plain) // 1024 * 512
    frames = [pa.compress(part, codec='zstd', asbytes=True) for part in (plain[:half], plain[half:])]
    contents = tars.List(self.Write('x.tar.zst', b''.join(frames)), lambda name: name.endswith('.txt'))
    self.assertEqual(self._Read(contents), {'a.wav': bytes(range(256)) * 9000, 'b.wav': b'2', 'c.txt': b'x'})
    self.assertEqual((contents.members[2].text, contents.damage), (b'x', ''))
    self.assertLen({m.container for m in contents.members}, 1)  # It is read in one pass.
    for cut in (frames[0][:-9], frames[0] + frames[1][:-3], b'\x28\xb5\x2f\xfd' + bytes(100)):
      self.assertIn('what follows is lost', tars.List(self.Write('cut.tar.zst', cut)).damage)


class WebDatasetTest(container_case.ContainerCase):
  def test_samples_of_several_shards_and_splits(self):
    self.Tar('t-000000.tar', ('spk/a.wav', Sound(0.2)), ('spk/a.txt', b'\xef\xbb\xbfHello\n'))
    self.Tar('t-000001.tar', ('a.FLAC', Sound(0.3, 'FLAC')), ('a.json', b'{"text": 0, "speaker": 0, "lang": "de-DE"}'))
    self.Tar('d.tar.gz', ('a.b.wav', Sound(0.4)), ('a.b.json', b'{"text": "x"}'), ('a.b.txt', b'y'), mode='w:gz')
    listing = self.List('webdataset', f'train={self.dir}/t-{{000000..000001}}.tar,dev={self.dir}/d.tar.gz')
    self.assertEmpty(listing.rejects)
    self.assertEqual(
      [(u.utt_id, u.text, u.speaker, u.split, u.language) for u in listing.utterances],
      [
        ('t-000000/spk/a', 'Hello', 'unknown', 'train', None),
        ('t-000001/a', '0', '0', 'train', 'de'),
        ('d/a.b', 'y', 'unknown', 'dev', None),
      ],
    )
    self.assertEqual(self.Loaded(listing), {'t-000000/spk/a': 0.2, 't-000001/a': 0.3, 'd/a.b': 0.4})

  def test_shards_of_the_same_name_in_two_folders_have_different_ids(self):
    paths = [self.Tar(f'{split}/s.tar', ('a.wav', Sound(0.2))) for split in ('train', 'test')]
    ids = [u.utt_id for u in self.List('webdataset', ','.join(paths)).utterances]
    self.assertEqual(ids, ['train/s/a', 'test/s/a'])

  def test_what_does_not_fit_is_rejected(self):
    class Evil:
      def __reduce__(self):
        return os.abort, ()

    path = self.Tar(
      's.tar',
      ('a.wav', Sound(0.2)),
      ('twice.wav', Sound(0.2)),
      ('a.txt', b'far behind its recording'),
      ('twice.txt', b'one'),
      ('twice.txt', b'two'),
      ('twice.flac', b'another recording'),
      ('alone.txt', b'text'),
      ('list.wav', Sound(0.2)),
      ('list.json', b'[1]'),
      ('latin.wav', Sound(0.2)),
      ('latin.txt', 'é'.encode('latin-1')),
      ('a.pyd', pickle.dumps(Evil())),
      ('a.pt', pickle.dumps(Evil())),
    )
    listing = self.List('webdataset', path)
    self.assertEqual(
      {u.utt_id: u.text for u in listing.utterances}, {'s/a': 'far behind its recording', 's/twice': 'one'}
    )
    self.assertEqual(self.Reasons(listing), ['duplicate_id', 'duplicate_id', 'no_audio', 'bad_entry', 'bad_entry'])
    self.assertEqual(listing.ignored, {'.pyd': 1, '.pt': 1})
    self.assertEqual(self.Loaded(listing), {'s/a': 0.2, 's/twice': 0.2})

  def test_times_of_the_source_say_how_long_the_recording_must_be(self):
    good = b'{"start": 7.0, "end": 8.0, "text": "x"}'
    path = self.Tar('s.tar', *((f'{s}.{e}', d) for s in (1, 3) for e, d in (('wav', Sound(s)), ('json', good))))
    self.assertEqual(self.Loaded(self.List('webdataset', path)), {'s/1': 1.0, 's/3': 'mislabelled'})

  def test_no_recording_loses_its_transcript_to_damage(self):
    wavs = [(f'{i}.wav', Sound(0.2)) for i in range(4)]
    texts = [(f'{i}.txt', b'text') for i in range(4)]
    path = self.Tar('s.tar', *wavs, *texts)
    with tarfile.open(path) as tar:
      self.Cut(path, tar.getmember('2.txt').offset_data + 1)
    listing = self.List('webdataset', path)
    self.assertEqual({u.utt_id: u.text for u in listing.utterances}, {'s/0': 'text', 's/1': 'text'})
    self.assertEqual(self.Reasons(listing), ['corrupt'] * 3)  # The tar, and two recordings.
    self.assertIn('its transcript is missing', listing.rejects[-1].detail)
    self.assertEqual(self.Loaded(listing), {'s/0': 0.2, 's/1': 0.2})

  def test_a_recording_that_is_cut_off_is_rejected(self):
    path = self.Tar('s.tar', *((f'{i}.wav', Sound(0.2)) for i in range(4)))
    with tarfile.open(path) as tar:
      self.Cut(path, tar.getmember('2.wav').offset_data + 100)
    self.assertEqual(self.Loaded(self.List('webdataset', path)), {'s/0': 0.2, 's/1': 0.2, 's/2': 'corrupt'})


class NemoTarredTest(container_case.ContainerCase):
  def _Shards(self):
    self.Tar('audio_0.tar', ('a.wav', Sound(2.0)), ('b.opus', Sound(0.3, 'FLAC')))
    self.Tar('audio_1.tar', ('a.wav', Sound(0.4)), ('unused.wav', Sound(0.2)))

  def test_shard_ids_further_entries_and_extensions(self):
    self._Shards()
    path = self.JsonLines(
      'tarred_audio_manifest.json',
      {'audio_filepath': 'a.wav', 'text': 'one', 'offset': 0.5, 'duration': 1.0, 'shard_id': 0},
      {'audio_filepath': 'a-sub1.wav', 'text': 'two', 'offset': 1.5, 'duration': 0.5, 'shard_id': 0},
      {'audio_filepath': 'b.wav', 'text': 'three', 'duration': 0.3, 'shard_id': 0},
      {'audio_filepath': 'a.wav', 'text': 'four', 'duration': 0.4, 'shard_id': 1},
    )
    listing = self.List('nemo_tarred', f'dev={path}')
    self.assertEqual({u.split for u in listing.utterances}, {'dev'})
    self.assertEqual(
      self.Loaded(listing),
      {'audio_0/a@500-1500': 1.0, 'audio_0/a-sub1@1500-2000': 0.5, 'audio_0/b': 0.3, 'audio_1/a': 0.4},
    )
    self.assertEqual(self.Reasons(listing), ['no_text'])
    self.assertIn('unused.wav', listing.rejects[0].source)

  def test_entries_without_a_member_are_rejected(self):
    self._Shards()
    for entry, reason, detail in (
      ({'audio_filepath': 'a.wav'}, 'bad_entry', 'a shard_id would say which'),
      ({'audio_filepath': 'c.wav', 'shard_id': 1}, 'missing', r'not in .*audio_1\.tar$'),
      ({'audio_filepath': 'a.wav', 'shard_id': 7}, 'missing', 'no tar with the number 7'),
      ({'text': 'x'}, 'bad_entry', 'no audio_filepath'),
    ):
      with self.subTest(detail):
        listing = self.List('nemo_tarred', self.JsonLines('m.json', entry))
        self.assertEmpty(listing.utterances)
        self.assertEqual(listing.rejects[0].reason, reason)
        self.assertRegex(listing.rejects[0].detail, detail)

  def test_sharded_manifests_and_tars_by_patterns(self):
    self._Shards()
    for i, name in enumerate(('b.wav', 'a.wav')):
      self.JsonLines(f'sharded_manifests/manifest_{i}.json', {'audio_filepath': name, 'shard_id': i})
    pattern = f'{self.dir}/sharded_manifests/manifest__OP_0..1_CL_.json'
    for tar_pattern in (None, f'{self.dir}/audio__OP_0..1_CL_.tar'):
      listing = self.List('nemo_tarred', pattern, tars=tar_pattern)
      self.assertEqual(self.Loaded(listing), {'audio_0/b': 0.3, 'audio_1/a': 0.4})
    with self.assertRaisesRegex(exit_codes.UsageError, r'^--tars=.*x\.tar; expected tar files'):
      self.List('nemo_tarred', pattern, tars=f'{self.dir}/x.tar')

  def test_entries_behind_damage_are_rejected_as_corrupt(self):
    names = [f'{i}.wav' for i in range(4)]
    tar = self.Tar('audio_0.tar', *((name, Sound(0.2)) for name in names))
    with tarfile.open(tar) as f:
      self.Cut(tar, f.getmember('2.wav').offset_data + 100)
    path = self.JsonLines('m.json', *({'audio_filepath': n, 'text': n, 'shard_id': 0} for n in names))
    listing = self.List('nemo_tarred', path)
    self.assertEqual(self.Loaded(listing), {'audio_0/0': 0.2, 'audio_0/1': 0.2, 'audio_0/2': 'corrupt'})
    self.assertEqual(self.Reasons(listing), ['corrupt', 'corrupt'])  # The tar, and 3.wav.

  def test_a_manifest_without_tars_is_refused(self):
    with self.assertRaisesRegex(exit_codes.UsageError, r'no \*\.tar beside it'):
      self.List('nemo_tarred', self.JsonLines('x/y/m.json', {}))


if __name__ == '__main__':
  absltest.main()
