"""Hugging Face data sets, in the layouts that `datasets` 3.6 and 5.2 write: audio as bytes, paths and arrays."""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from absl.testing import absltest

from tests import container_case
from tools.common import exit_codes

Sound = container_case.Sound
_AUDIO = pa.struct([('bytes', pa.binary()), ('path', pa.string())])


def Table(lengths, features=(), **columns):
  """Returns a table with an `audio` of each length in seconds (a string: its path), as `datasets` makes it."""
  audio = [
    {'bytes': None if isinstance(x, str) else Sound(x), 'path': x if isinstance(x, str) else 'a.wav'} for x in lengths
  ]
  table = pa.table({'audio': pa.array(audio, _AUDIO), **columns})
  features = {'audio': {'_type': 'Audio', 'sampling_rate': 16000}, **dict(features)}
  return table.replace_schema_metadata({'huggingface': json.dumps({'info': {'features': features}})})


class HuggingFaceCase(container_case.ContainerCase):
  def Parquet(self, name, table, **kwargs):
    pq.write_table(table, self.Path(name), **kwargs)
    return self.Path(name)

  def Arrow(self, name, table, rows=1000, opener=pa.ipc.new_stream):
    with opener(self.Path(name), table.schema) as writer:
      writer.write_table(table, max_chunksize=rows)
    return self.Path(name)

  def Saved(self, name, *tables):
    """As save_to_disk; returns the folder."""
    files = [f'data-{i:05d}-of-{len(tables):05d}.arrow' for i in range(len(tables))]
    for file, table in zip(files, tables):
      self.Arrow(f'{name}/{file}', table)
    state = {'_data_files': [{'filename': file} for file in files], '_fingerprint': 'f', '_split': None}
    self.Write(f'{name}/state.json', json.dumps(state).encode())
    self.Write(f'{name}/dataset_info.json', b'{"features": {}}')
    return self.Path(name)


class LayoutsTest(HuggingFaceCase):
  def test_hub(self):
    self.Parquet('hub/data/train-00000-of-00002.parquet', Table([0.2, 0.3], text=['a', 'b']), row_group_size=1)
    self.Parquet('hub/data/train-00001-of-00002.parquet', Table([0.4], text=['c']))
    self.Parquet('hub/data/validation-00000-of-00001.parquet', Table([0.5], text=['d']))
    listing = self.List('huggingface', f'{self.dir}/hub')
    self.assertEqual(
      [(u.utt_id, u.text, u.split) for u in listing.utterances],
      [
        ('train-00000-of-00002/0', 'a', 'train'),
        ('train-00000-of-00002/1', 'b', 'train'),
        ('train-00001-of-00002/0', 'c', 'train'),
        ('validation-00000-of-00001/0', 'd', 'dev'),
      ],
    )
    self.assertEqual(list(self.Loaded(listing).values()), [0.2, 0.3, 0.4, 0.5])
    self.assertLen({u.container for u in listing.utterances}, 4)  # One for each row group.

  def test_save_to_disk(self):
    folder = self.Saved('one', Table([0.2], text=['a']), Table([0.3, 0.4], text=['b', 'c']))
    self.assertEqual(list(self.Loaded(self.List('huggingface', f'test={folder}')).values()), [0.2, 0.3, 0.4])
    self.Write('dict/dataset_dict.json', b'{"splits": ["train", "test"]}')
    self.Saved('dict/train', Table([0.2], text=['a']))
    self.Saved('dict/test', Table([0.3], text=['b']))
    listing = self.List('huggingface', f'{self.dir}/dict')
    self.assertEqual([(u.split, u.text) for u in listing.utterances], [('train', 'a'), ('test', 'b')])
    self.assertEqual(list(self.Loaded(listing).values()), [0.3, 0.2])

  def test_splits_are_those_of_files_and_folders(self):
    for name, split in (
      ('x/train.clean.100-00000-of-00001.parquet', 'train'),
      ('default/validation/0000.parquet', 'dev'),
      ('corpus-test.arrow', 'test'),
      ('corpus-other-00000-of-00001.arrow', None),
    ):
      with self.subTest(name):
        write = self.Parquet if name.endswith('parquet') else self.Arrow
        folder = f'{len(name)}/'
        write(folder + name, Table([0.2]))
        [utterance] = self.List('huggingface', self.Path(folder)).utterances
        self.assertEqual(utterance.split, split)

  def test_folders_that_are_not_one_data_set_are_refused(self):
    for name in ('all/train/0.parquet', 'clean/train/0.parquet'):
      self.Parquet(f'two/{name}', Table([0.2]))
    old = self.Saved('old', Table([0.2]))
    self.Write('old/state.json', b'{"_data_files": [], "_indices_data_files": [{"filename": "indices.arrow"}]}')
    lost = self.Saved('lost', Table([0.2]))
    os.remove(f'{lost}/data-00000-of-00001.arrow')
    for path, message in (
      (self.Path('two'), 'has several configurations, all, clean; give the folder of one'),
      (old, 'a selection by indices'),
      (lost, r'data-00000-of-00001\.arrow, named in state\.json, is missing'),
      (self.Path('none/'), r'no \*\.parquet and no \*\.arrow'),
    ):
      with self.subTest(message), self.assertRaisesRegex(exit_codes.UsageError, message):
        self.List('huggingface', path)


class ColumnsTest(HuggingFaceCase):
  def test_names_of_classes_numbers_and_missing_values(self):
    languages = {'lang_id': {'_type': 'ClassLabel', 'names': ['af_za', 'en_us']}}
    table = Table(
      [0.2] * 3, languages, lang_id=[1, 0, -1], text=pa.array([1.5, float('nan'), None]), speaker_id=[0, 1, None]
    )
    utterances = self.List('huggingface', self.Parquet('x.parquet', table)).utterances
    self.assertEqual(
      [(u.language, u.text, u.speaker) for u in utterances],
      [('en', '1.5', '0'), ('af', '', '1'), (None, '', 'unknown')],
    )

  def test_columns_can_be_chosen_and_others_are_counted(self):
    table = Table([0.2], id=[7], normalized_text=['x'], raw_text=['y'], text=['z'], vector=[[1.0]], lang_id=[3])
    table = table.append_column('language', [['English']]).rename_columns({'audio': 'sound'})
    path = self.Parquet('x.parquet', table.replace_schema_metadata())
    chosen = dict(audio_column='sound', text_column='normalized_text', language_column='language', id_column='id')
    listing = self.List('huggingface', path, **chosen)
    [utterance] = listing.utterances
    self.assertEqual((utterance.utt_id, utterance.text, utterance.language), ('7', 'x', 'en'))
    self.assertEqual(listing.ignored, {'raw_text': 1, 'text': 1, 'vector': 1, 'lang_id': 1})
    for options, message in (
      ({}, 'no column audio; name that of the audio by --audio_column: sound, id'),
      (dict(chosen, text_column='normalised_text'), 'no column normalised_text; .*did you mean normalized_text'),
      (dict(chosen, audio_column='vector'), r'column vector is list<.*; expected a struct with bytes, path or array'),
    ):
      with self.subTest(message), self.assertRaisesRegex(exit_codes.UsageError, message):
        self.List('huggingface', path, **options)

  def test_a_text_that_is_no_text_is_refused(self):
    with self.assertRaisesRegex(exit_codes.UsageError, r'column text is list<.*choose one by --text_column'):
      self.List('huggingface', self.Parquet('x.parquet', Table([0.2], text=[['a', 'b']])))

  def test_times_of_the_source_say_how_long_the_recording_must_be(self):
    table = Table([1.0, 3.0], begin_time=[7.0, 7.0], end_time=[8.0, 8.0])
    found = self.Loaded(self.List('huggingface', self.Parquet('x.parquet', table)))
    self.assertEqual(found, {'x/0': 1.0, 'x/1': 'mislabelled'})

  def test_paths_are_relative_to_the_data_set_and_stay_in_it(self):
    self.Write('set/clips/a.wav', Sound(0.3))
    self.Write('secret.wav', Sound(0.3))
    table = Table(['clips/a.wav', 0.2, '../secret.wav', ''], text=list('abcd'))
    for write in (self.Parquet, self.Arrow):
      path = write('set/data/train.parquet', table)
      listing = self.List('huggingface', f'{self.dir}/set')
      self.assertEqual(self.Loaded(listing), {'train/0': 0.3, 'train/1': 0.2})
      self.assertEqual(self.Reasons(listing), ['outside', 'no_audio'])
      os.remove(path)

  def test_a_column_of_paths_or_of_bytes(self):
    self.Write('a.wav', Sound(0.3))
    paths = self.Parquet('p.parquet', pa.table({'file': ['a.wav'], 'text': ['x']}))
    self.assertEqual(self.Loaded(self.List('huggingface', paths, audio_column='file')), {'p/0': 0.3})
    data = self.Parquet('b.parquet', pa.table({'audio': pa.array([Sound(0.2)], pa.large_binary())}))
    self.assertEqual(self.Loaded(self.List('huggingface', data)), {'b/0': 0.2})

  def test_decoded_arrays(self):
    wave = np.sin(np.arange(1600) * 0.2).astype(np.float32) * 0.3
    audio = [{'array': wave, 'sampling_rate': 8000, 'path': None}, {'array': None, 'sampling_rate': 8000, 'path': None}]
    kind = pa.struct([('path', pa.string()), ('array', pa.list_(pa.float32())), ('sampling_rate', pa.int64())])
    for write in (self.Parquet, self.Arrow):
      listing = self.List('huggingface', write('x.parquet', pa.table({'audio': pa.array(audio, kind)})))
      self.assertEqual(self.Loaded(listing), {'x/0': 0.2})
      self.assertEqual(self.Reasons(listing), ['no_audio'])


class DamageTest(HuggingFaceCase):
  def _Damage(self, path, content, by=b'\xff' * 64):
    with open(path, 'r+b') as f:
      f.seek(f.read().index(content))
      f.write(by)

  def test_listing_reads_no_audio(self):
    for path in (
      self.Parquet('x.parquet', Table([0.2], text=['a']), compression='none'),
      self.Arrow('x.arrow', Table([0.2], text=['a'])),
    ):
      self._Damage(path, b'RIFF', bytes(64))
      listing = self.List('huggingface', path)
      self.assertEqual([u.text for u in listing.utterances], ['a'])
      self.assertEqual(self.Loaded(listing), {'x/0': 'not_audio'})

  def test_an_arrow_file_keeps_the_batches_before_its_damage(self):
    for opener in (pa.ipc.new_stream, pa.ipc.new_file):
      path = self.Arrow('x.arrow', Table([0.2] * 6, text=list('abcdef')), rows=2, opener=opener)
      self.assertLen(self.List('huggingface', path).utterances, 6)
      self.Cut(path, 2 * os.path.getsize(path) // 3 - 2000)
      listing = self.List('huggingface', path)
      self.assertEqual(self.Loaded(listing), {'x/0': 0.2, 'x/1': 0.2})
      self.assertRegex(listing.rejects[0].detail, 'damaged after row 2 .*; what follows is lost')

  def test_a_parquet_file_without_its_end_is_rejected_and_others_kept(self):
    first, second = (self.Parquet(f'{name}.parquet', Table([0.2], text=['a'])) for name in 'xy')
    self.Cut(first, -10)
    listing = self.List('huggingface', f'{first},{second}')
    self.assertEqual(self.Loaded(listing), {'y/0': 0.2})
    self.assertEqual([(r.source, r.reason) for r in listing.rejects], [(first, 'corrupt')])

  def test_damaged_audio_costs_its_row_group(self):
    table = Table([0.2] * 6, text=list('abcdef'))
    for column, listed in (('audio.bytes', 6), ('text', 4)):
      path = self.Parquet('x.parquet', table, row_group_size=2, compression='none', use_dictionary=False)
      group = pq.read_metadata(path).row_group(1)
      [chunk] = [group.column(i) for i in range(3) if group.column(i).path_in_schema == column]
      with open(path, 'r+b') as f:
        f.seek(chunk.data_page_offset)
        f.write(b'\xff' * 20)
      listing = self.List('huggingface', path)
      self.assertLen(listing.utterances, listed)
      found = {**self.Loaded(listing), **{'x/' + r.source.rpartition(':')[2]: r.reason for r in listing.rejects}}
      self.assertEqual(found, {f'x/{i}': 'corrupt' if i in (2, 3) else 0.2 for i in range(6)}, msg=column)

  def test_offsets_that_lead_out_of_the_buffer_are_found(self):
    path = self.Arrow('x.arrow', Table([0.2] * 2, text=['first', 'second']))
    offsets = np.array([0, 5, 11], np.int32).tobytes()
    self._Damage(path, offsets, np.array([0, 5, 1 << 30], np.int32).tobytes())
    listing = self.List('huggingface', path)
    self.assertEqual((listing.utterances, self.Reasons(listing)), ([], ['corrupt']))

  def test_other_files_are_named(self):
    listing = self.List('huggingface', self.Write('x.parquet', b'version https://git-lfs.github.com/spec/v1\n' * 3))
    self.assertEqual(self.Reasons(listing), ['corrupt'])


if __name__ == '__main__':
  absltest.main()
