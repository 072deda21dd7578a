"""model.score: what it accepts, and that it equals tools.score on the same transcripts. Builds a graph: recognition."""

import contextlib
import io
import json
import os
import shutil
import tempfile
import wave

import numpy as np
from absl.testing import absltest

import fm_lingvo
from fm_lingvo import errors
from fm_lingvo.data import transcripts
from fm_lingvo.inference import graph_mode
from tests import run_case
from tests import tiny_data
from tools import score

_TEXTS = ('Turn left!', 'one 2 three', 'go')


def setUpModule():
  global _folder, _model, _sounds
  _folder = tempfile.mkdtemp()
  with graph_mode.GraphMode():
    run_case.MakeRun(_folder + '/run', 'asr.Supervised', 'nowhere', 'transducer.max_labels_per_frame = 2.0')
  transcripts.Record(_folder + '/run', {'labeled': {'english': 'data'}}, is_resumed=False)
  _sounds = [tiny_data.Waveform(seconds, i) for i, seconds in enumerate((1.5, 2.5, 1.1))]
  for i, samples in enumerate(_sounds):
    _Write(f'{_folder}/{i}.wav', samples)
  _model = fm_lingvo.load(_folder + '/run')


def tearDownModule():
  _model.close()
  shutil.rmtree(_folder)


def _Write(path, *channels):
  with wave.open(path, 'wb') as f:
    f.setparams((len(channels), 2, 16000, 0, 'NONE', ''))
    f.writeframes(np.stack(channels, axis=1).astype('<i2').tobytes())


class ScoreTest(absltest.TestCase):
  def _Manifest(self, rows, name='refs.jsonl'):
    path = os.path.join(_folder, name)
    with open(path, 'w', encoding='utf-8') as f:
      f.writelines(json.dumps(row) + '\n' for row in rows)
    return path

  def test_equals_the_command_with_the_run_s_normaliser(self):
    rows = [
      {'audio_filepath': f'{i}.wav', 'text': text, 'speaker': 'ab'[i % 2], 'utt_id': f'u{i}'}
      for i, text in enumerate(_TEXTS)
    ]
    refs = self._Manifest(rows)
    found = _model.score(refs)
    self.assertEqual(found.normalizer, 'english')
    hyps = [{'utt_id': f'u{i}', 'text': t.text} for i, t in enumerate(found.transcripts)]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
      arguments = [refs, self._Manifest(hyps, 'hyps.jsonl'), '--normalizer=english', '--by=speaker', '--format=json']
      self.assertEqual(score.Main(['score', *arguments, '--worst=2']), 0)
    (system,) = json.loads(out.getvalue())['systems']
    self.assertEqual((found.wer, *found.wer_interval), tuple(system['wer'][k] for k in ('rate', 'low', 'high')))
    self.assertEqual((found.cer, *found.cer_interval), tuple(system['cer'][k] for k in ('rate', 'low', 'high')))
    self.assertEqual(found.words.errors, system['wer']['errors'])
    self.assertEqual(
      {k: t.words.rate for k, t in found.speakers.items()}, {k: t['wer']['rate'] for k, t in system['speakers'].items()}
    )
    self.assertEqual([u.utt_id for u in found.worst(2)], [u['utt_id'] for u in system['worst']])
    self.assertRegex(str(found), r'^WER \d+\.\d+% \(.*\), CER .*, 3 utterances, normalizer english$')
    self.assertEqual(found.words.units, 6)  # `2` is a word.

  def test_pairs_of_all_kinds_of_recordings_give_the_same(self):
    expected = _model.score([(f'{_folder}/{i}.wav', text) for i, text in enumerate(_TEXTS)])
    arrays = (((s, 16000), text, 'ann') for s, text in zip(_sounds, _TEXTS))
    for refs in (arrays, [(_Bytes(i), text) for i, text in enumerate(_TEXTS)]):
      found = _model.score(refs)
      self.assertEqual((found.wer, found.cer), (expected.wer, expected.cer))
    doubled = _model.score([(f'{_folder}/0.wav', 'go')] * 2)
    self.assertEqual(doubled.words.units, 2)

  def test_parts_of_a_recording_are_cut_out(self):
    _Write(f'{_folder}/long.wav', np.concatenate(_sounds))
    offsets = np.cumsum([0] + [len(s) / 16000 for s in _sounds]).tolist()
    rows = [
      {'audio_filepath': 'long.wav', 'text': text, 'offset': offsets[i], 'duration': len(_sounds[i]) / 16000}
      for i, text in enumerate(_TEXTS)
    ]
    found = _model.score(self._Manifest(rows, 'parts.jsonl'))
    whole = _model.score([(f'{_folder}/{i}.wav', text) for i, text in enumerate(_TEXTS)])
    self.assertEqual([t.text for t in found.transcripts], [t.text for t in whole.transcripts])
    self.assertEqual(found.wer, whole.wer)

  def test_a_channel_of_a_recording_is_scored_alone(self):
    size = len(_sounds[0])
    _Write(f'{_folder}/call.wav', _sounds[0], _sounds[1][:size])
    _Write(f'{_folder}/second.wav', _sounds[1][:size])
    rows = [{'audio_filepath': 'call.wav', 'text': text, 'channel': i} for i, text in enumerate(_TEXTS[:2])]
    found = _model.score(self._Manifest(rows, 'channels.jsonl'))
    alone = _model.score([(f'{_folder}/0.wav', _TEXTS[0]), (f'{_folder}/second.wav', _TEXTS[1])])
    self.assertEqual([t.score for t in found.transcripts], [t.score for t in alone.transcripts])
    self.assertEqual([u.utt_id for u in found.result.utterances], ['call.wav#0', 'call.wav#1'])

  def test_what_cannot_be_scored_is_said_in_a_line(self):
    a = {'path': 'a.wav', 'text': 'a'}
    for refs, options, message in (
      ('absent.jsonl', {}, 'absent.jsonl: no such manifest'),
      (
        self._Manifest([{'audio_filepath': 'a.wav'}], 'b.jsonl'),
        {},
        r'b.jsonl:1: text: expected a string; found audio_filepath',
      ),
      (self._Manifest([a] * 2, 'c.jsonl'), {}, r'c.jsonl:2: a.wav appears twice'),
      (
        self._Manifest([{**a, 'channel': 'left'}], 'd.jsonl'),
        {},
        'd.jsonl:1: channel = left: expected a channel',
      ),
      (
        self._Manifest([{**a, 'start': 2, 'end': 1}], 'e.jsonl'),
        {},
        'e.jsonl:1: end = 1: expected more than offset',
      ),
      (
        self._Manifest([{**a, 'file': 'b.wav'}], 'f.jsonl'),
        {},
        'f.jsonl:1: path and file are both audio_file',
      ),
      (
        self._Manifest([{**a, 'start': 1, 'end': 2, 'duration': 3}], 'g.jsonl'),
        {},
        'g.jsonl:1: duration = 3, but end - offset = 1',
      ),
      (
        self._Manifest([{**a, 'start': 1, 'duration': 0}], 'h.jsonl'),
        {},
        'h.jsonl:1: duration = 0: expected seconds > 0',
      ),
      (5, {}, 'references of type int: expected a manifest, or pairs'),
      ([('a.wav',)], {}, 'reference 1: expected a manifest, or pairs .*, got tuple'),
      ([], {}, 'no references; expected a manifest'),
      ([(_folder + '/0.wav', 'a')], {'normalizer': 'englsh'}, 'did you mean english'),
      ([(_folder + '/9.wav', 'a')], {}, '9.wav: missing'),
    ):
      with self.subTest(message), self.assertRaisesRegex(errors.ConfigError, message):
        _model.score(refs, **options)


def _Bytes(i):
  with open(f'{_folder}/{i}.wav', 'rb') as f:
    return f.read()


if __name__ == '__main__':
  absltest.main()
