"""Data as users have them: unusual names, numbers and files are read, or rejected one by one with a reason."""

import io
import json
import os
import tarfile
import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from absl.testing import absltest

from fm_lingvo import audio
from fm_lingvo import errors
from fm_lingvo.data import manifest as manifest_lib
from tests import importer_case
from tools.common import exit_codes
from tools.prepare import load
from tools.prepare import pipeline
from tools.prepare import shards
from tools.prepare.import_helpers import inputs
from tools.prepare.import_helpers import rows
from tools.scoring import transcript_files

# Values that no key expects, or that overflow as a float or as a number of samples.
_ODD = (None, True, -1, 1e306, 10**400, float('nan'), float('inf'), '', ' ', 'x', '\ud800', 'a\0b', [], [1], [[]], {})
_RECORDING = {'id': 'r', 'sources': [{'type': 'file', 'channels': [0], 'source': 'a.wav'}], 'duration': 1.0}
_SUPERVISION = {'id': 's', 'recording_id': 'r', 'start': 0.0, 'duration': 1.0, 'channel': 0, 'text': 'hi', 'custom': {}}


def _Odd(value):
  """Yields JSON values like this one, with each of _ODD at each place, and without each key."""
  yield from _ODD
  if isinstance(value, dict):
    for key, part in value.items():
      yield from ({**value, key: odd} for odd in _Odd(part))
      yield {name: other for name, other in value.items() if name != key}
  elif isinstance(value, list):
    for i, part in enumerate(value):
      yield from ([*value[:i], odd, *value[i + 1 :]] for odd in _Odd(part))


class OddDataTest(importer_case.ImporterCase):
  def _Lines(self, name, entries):
    return self.Text(name, ''.join(json.dumps(entry) + '\n' for entry in entries))

  def _Load(self, listing):
    """Returns {id: the reason of its reject, or None}."""
    loaded = load.Load(listing.utterances, shards.Limits())
    return {utterance.utt_id: rejected and rejected.reason for utterance, _, rejected in loaded}


class NamesTest(OddDataTest):
  def test_a_transcript_belongs_to_the_recording_that_its_name_looks_like(self):
    composed, separate = (unicodedata.normalize(form, 'café') for form in ('NFC', 'NFD'))
    for recording, transcript in (('1.WAV', '1.TXT'), ('2.wav', '2.wav.Lab'), (f'{composed}.wav', f'{separate}.txt')):
      self.Audio(f'in/{recording}')
      self.Text(f'in/{transcript}', f'text of {transcript}')
    listing = self.List('folder', 'in')
    self.assertEqual(self.Reasons(listing), {})
    self.assertEqual(
      {utt_id: text for utt_id, (text, *_) in self.Found(listing).items()},
      {'1': 'text of 1.TXT', '2': 'text of 2.wav.Lab', composed: f'text of {separate}.txt'},
    )

  def test_names_that_are_not_utf8_are_read_and_can_be_written(self):
    name = os.fsdecode(b'caf\xe9')
    self.Audio('in/a.wav')
    for path in (f'{name}.wav', f'{name}/1.wav', f'{name}.txt.{name}'):
      os.makedirs(os.path.dirname(os.path.join(self.dir, 'in', path)), exist_ok=True)
      os.link(os.path.join(self.dir, 'in/a.wav'), os.path.join(self.dir, 'in', path))
    listing = self.List('folder', 'in')
    listing.Reject(name, name, 'missing', name)
    listing.utterances = pipeline._WithUniqueIds(listing)
    self.assertEqual(
      {u.utt_id: u.speaker for u in listing.utterances},
      {
        'a': 'unknown',
        'caf\\udce9': 'unknown',
        'caf\\udce9/1': 'caf\\udce9',
        'caf\\udce9.txt.caf\\udce9': 'unknown',
      },
    )
    self.assertEqual(listing.rejects[0].source, 'caf\\udce9')
    self.assertEqual(set(self._Load(listing).values()), {None})

  def test_a_language_is_not_taken_for_a_split(self):
    for name, split in (('tr-TR', None), ('tt-RU', None), ('cv-corpus-17', None), ('tr', None), ('dev-clean', 'dev')):
      with self.subTest(name):
        self.Audio(f'{name}/{name}/x.wav')
        (utterance,) = self.List('folder', name).utterances
        self.assertEqual(utterance.split, split)
    self.assertEqual(
      [rows.SplitName(name) for name in ('tr', 'cv', 'tt', 'Validation')], ['train', 'dev', 'test', 'dev']
    )

  def test_a_file_instead_of_a_folder(self):
    path = self.Audio('a.wav')
    with self.assertRaisesRegex(exit_codes.UsageError, 'a.wav: a file; expected a directory'):
      self.List('folder', input=path)

  def test_a_folder_may_have_an_equals_sign(self):
    self.assertEqual(inputs.SplitOf('data/lang=en/*.tar'), (None, 'data/lang=en/*.tar'))
    self.assertEqual(inputs.SplitOf('test=data/lang=en/*.tar'), ('test', 'data/lang=en/*.tar'))

  def test_special_characters_of_a_folder_that_exists_are_literal(self):
    wav = self.Audio('a.wav')
    for name in ('b.tar', 'c.tar'):
      with tarfile.open(self.Path(f'Take [1]*/{name}'), 'w') as tar:
        tar.add(wav, f'{name}.wav')
    found = self.Found(self.List('webdataset', 'Take [1]*/*.tar'))
    self.assertEqual(set(found), {'b/b.tar', 'c/c.tar'})
    with self.assertRaisesRegex(exit_codes.UsageError, 'no such file'):
      self.List('webdataset', 'Take [2]*/*.tar')


class ValuesTest(OddDataTest):
  def test_a_list_instead_of_lines_is_one_error(self):
    path = self.Text('m.json', json.dumps([{'audio_filepath': 'a.wav'}], indent=1))
    with self.assertRaisesRegex(errors.DatasetError, 'm.json: a JSON list; expected an object a line, as jq'):
      self.List('manifest', input=path)

  def test_nan_is_a_missing_text(self):
    self.Audio('a.wav')
    nan = dict.fromkeys(('text', 'speaker', 'utt_id', 'lang', 'split', 'domain'), float('nan'))
    (utterance,) = self.List('manifest', input=self._Lines('m.jsonl', [{'audio_filepath': 'a.wav', **nan}])).utterances
    self.assertEqual((utterance.utt_id, utterance.text, utterance.speaker), ('a', '', 'unknown'))
    (entry,) = manifest_lib.Read(self._Lines('m.jsonl', [{'path': 'a.wav', **nan, 'text': 'hi'}]))
    self.assertEqual((entry.utt_id, entry.speaker, entry.language), ('a.wav', '', ''))
    path = self._Lines('hyp.jsonl', [{'utt_id': 'a', 'text': 'a', 'pred_text': float('nan')}])
    with self.assertRaisesRegex(errors.DatasetError, 'hyp.jsonl:1: pred_text = NaN: expected a string'):
      transcript_files.Read(path, 'hypothesis')

  def test_a_table_with_1_0_for_a_channel(self):
    self.Audio('a.wav', channels=2)
    path = self.Text('t.csv', 'path,channel\na.wav,1.0\na.wav,\n')
    self.assertEqual([u.channel for u in self.List('table', input=path).utterances], [1, None])

  def test_no_value_of_an_entry_ends_an_import(self):
    self.Audio('a.wav')
    cut = {'id': 'c', 'start': 0.0, 'duration': 1.0, 'channel': 0, 'recording': _RECORDING}
    cut['supervisions'] = [_SUPERVISION]
    entry = {'path': 'a.wav', 'text': 'hi', 'offset': 0.0, 'end': 1.0, 'channel': 0, 'id': 'u', 'lang': 'en'}
    recording = self._Lines('recording.jsonl', [_RECORDING])
    for importer, template, more in (
      ('manifest', entry, ''),
      ('lhotse', cut, ''),
      ('lhotse', _SUPERVISION, f'{recording},'),
    ):
      with self.subTest(f'{importer}: {template}'):
        entries = list(_Odd(template))
        listing = self.List(importer, input=more + self._Lines('m.jsonl', entries))
        self.assertLen(listing.utterances + listing.rejects, len(entries))
        self._CheckWritable(listing)

  def test_no_value_in_a_tar_ends_an_import(self):
    wav = self.Audio('a.wav')
    entries = list(_Odd({'text': 'hi', 'offset': 0.0, 'end': 1.0}))
    with tarfile.open(self.Path('w.tar'), 'w') as tar:
      for number, odd in enumerate(entries):
        text = json.dumps(odd).encode()
        info = tarfile.TarInfo(f'{number}.json')
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text))
        tar.add(wav, f'{number}.wav')
    listing = self.List('webdataset', 'w.tar')
    self.assertLen(listing.utterances + listing.rejects, len(entries))
    self._CheckWritable(listing)

  def _CheckWritable(self, listing):
    for row in (*listing.rejects, *pipeline._WithUniqueIds(listing)):
      for value in vars(row).values():
        if isinstance(value, str):
          value.encode()

  def test_times_that_overflow_as_samples(self):
    path = self.Audio('a.wav')
    for offset, seconds in ((1e306, None), (0.0, 1e306), (float('nan'), None), (float('inf'), None)):
      with self.assertRaises(audio.Rejected) as raised:
        audio.Decode(path, offset=offset, seconds=seconds)
      self.assertEqual(raised.exception.reason, 'bad_entry')
    with self.assertRaisesRegex(errors.DatasetError, r'a.stm:1: from 0 to 1e306: expected seconds, 0 <= START < END'):
      transcript_files.Read(self.Text('a.stm', 'f 1 s 0 1e306 hi\n'), 'reference')

  def test_a_wrong_time_in_segments_is_named_there(self):
    self.Audio('kaldi/r.wav')
    self.Text('kaldi/wav.scp', 'rec1 r.wav\n')
    self.Text('kaldi/segments', 'u1 rec1 0 0.2\nu2 rec1 0.5 0.2\n')
    (reject,) = self.List('kaldi', 'kaldi').rejects
    self.assertEqual(
      (reject.source, reject.detail), (self.Path('kaldi/segments:2'), 'end = 0.2: expected more than offset = 0.5')
    )


class RecordingsTest(OddDataTest):
  def _Table(self, values, kind):
    path = self.Path('in/a.parquet')
    pq.write_table(pa.table({'audio': pa.array(values, kind), 'text': ['a word'] * len(values)}), path)
    return self._Load(self.List('huggingface', input=path))

  def test_a_row_that_is_no_sound_does_not_cost_the_others(self):
    tone = (np.sin(np.arange(16000) * 0.2) * 9000).astype(int).tolist()
    good = {'array': tone, 'sampling_rate': 16000}
    whole = pa.struct([('array', pa.list_(pa.int32())), ('sampling_rate', pa.float64())])
    bad = [{**good, 'sampling_rate': rate} for rate in (None, 0, -1, 1e9, float('nan'))]
    bad.append({**good, 'array': [65536 * value for value in tone]})  # 32 bits.
    found = self._Table([good, *bad, good], whole)
    self.assertEqual(list(found.values()), [None, *['corrupt'] * len(bad), None])
    stereo = pa.struct([('array', pa.list_(pa.list_(pa.int32()))), ('sampling_rate', pa.int32())])
    found = self._Table([{**good, 'array': [tone, other]} for other in (tone, tone[:9], tone)], stereo)
    self.assertEqual(list(found.values()), [None, 'corrupt', None])

  def test_a_text_in_place_of_bytes_is_not_opened_as_a_path(self):
    secret = self.Audio('elsewhere/secret.wav')
    self.assertEqual(self._Table([{'bytes': secret}], pa.struct([('bytes', pa.string())])), {'a/0': 'corrupt'})

  def test_a_path_that_is_no_text_is_none(self):
    path = self.Path('in/a.parquet')
    pq.write_table(pa.table({'audio': pa.array([{'path': 5}], pa.struct([('path', pa.int32())]))}), path)
    self.assertEqual(self.Reasons(self.List('huggingface', input=path)), {'a/0': 'no_audio'})

  def test_a_file_with_a_header_is_not_decoded_as_raw_audio(self):
    path = self.Path('a.g722')
    soundfile.write(path, np.zeros(8000), 16000, format='WAV')
    self.assertLen(audio.Decode(path), 8000)

  def test_hypotheses_of_any_name_may_have_their_references(self):
    path = self._Lines('hyp.txt', [{'utt_id': 'a', 'text': 'a', 'pred_text': 'b'}])
    self.assertTrue(transcript_files.HasBoth(path, 'jsonl'))
    self.assertFalse(transcript_files.HasBoth(path))
    self.assertFalse(transcript_files.HasBoth(self.Text('ref.txt', 'a b\n'), 'jsonl'))


if __name__ == '__main__':
  absltest.main()
