"""tools.transcribe as a user meets it: formats, folders, standard input, long files, errors."""

import contextlib
import io
import json
import os
import re
import shutil
import sys
import tempfile
import threading
import wave
from unittest import mock

import av
import numpy as np
from absl.testing import absltest

import fm_lingvo
from fm_lingvo.data import manifest
from fm_lingvo.inference import recognizer
from fm_lingvo.inference import transcribing
from fm_lingvo.utils import audio_extensions
from tests import graph_case  # noqa: F401 Graph mode.
from tests import run_case
from tests import tiny_data
from tools import transcribe
from tools.common import recordings
from tools.prepare import importers
from tools.prepare import load
from tools.prepare import shards
from tools.prepare.importers import manifest as manifest_importer
from tools.scoring import transcript_files


def _WriteWav(path, samples, rate=16000):
  os.makedirs(os.path.dirname(path), exist_ok=True)
  with wave.open(path, 'wb') as f:
    f.setnchannels(1)
    f.setsampwidth(2)
    f.setframerate(rate)
    f.writeframes(samples.astype('<i2').tobytes())


_built = {}  # Recognisers by what they were built from.


def _Recognizer(run, n_best=1, build=recognizer.Recognizer):
  """As recognizer.Recognizer; the graph of the same run is built once for all tests."""
  key = run.path, run.checkpoint, run.adapter, run.params.ToText(), n_best
  if key not in _built:
    _built[key] = build(run, n_best)
  return _built[key]


def setUpModule():
  global _folder
  _folder = tempfile.mkdtemp()
  run_case.MakeRun(_folder + '/run', 'asr.Supervised', 'nowhere', 'transducer.max_labels_per_frame = 2.0')
  for i, seconds in enumerate((1.5, 2.5, 1.1)):
    _WriteWav(f'{_folder}/audio/{"ab"[i % 2]}/{i}.wav', tiny_data.Waveform(seconds, i))
  with open(f'{_folder}/audio/notes.md', 'w', encoding='utf-8') as f:
    f.write('not audio')
  _WriteWav(
    _folder + '/long.wav',
    np.concatenate([np.concatenate([tiny_data.Waveform(2.0, i), np.zeros([4000])]) for i in range(6)]),
  )


def tearDownModule():
  shutil.rmtree(_folder)


class TranscribeTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(mock.patch.object(recognizer, 'Recognizer', _Recognizer))
    self.enter_context(mock.patch.object(fm_lingvo.Model, 'close'))  # All tests share its recognizer.

  def _Transcribe(self, *args, code=0):
    """Runs the tool here; returns (stdout, stderr)."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
      found = transcribe.Main(['transcribe', *args])
    self.assertEqual(found, code, err.getvalue())
    return out.getvalue(), err.getvalue()

  def _Run(self, *args, code=0):
    return self._Transcribe(_folder + '/run', *args, code=code)

  def test_text_of_one_recording_and_of_a_folder(self):
    out, err = self._Run(_folder + '/audio')
    lines = [line.split('\t') for line in out.splitlines()]
    self.assertEqual([name for name, _ in lines], [f'{_folder}/audio/{n}' for n in ('a/0.wav', 'a/2.wav', 'b/1.wav')])
    self.assertIn('3 of 3 recordings transcribed, 5.1 s of audio', err)
    for _, text in lines:
      self.assertTrue(text)
    looping = self.create_tempdir().full_path
    os.symlink(_folder + '/audio', looping + '/linked')
    os.symlink(looping, looping + '/loop')
    self.assertLen(self._Run(looping)[0].splitlines(), 3)
    alone, err = self._Run(lines[1][0])
    self.assertEqual(alone, lines[1][1] + '\n')
    self.assertEqual(err, '')

  def test_json_has_words_with_times_and_a_score(self):
    out, _ = self._Run(_folder + '/audio/a', '--format=json', '--beam_size=3', '--n_best=2')
    rows = [json.loads(line) for line in out.splitlines()]
    self.assertLen(rows, 2)
    for row, seconds in zip(rows, (1.5, 1.1)):
      self.assertEqual(row['duration'], seconds)
      self.assertEqual(' '.join(w['word'] for w in row['words']).split(), row['text'].split())
      self.assertTrue(all(0 <= w['start'] < w['end'] <= seconds + 0.04 for w in row['words']))
      self.assertLess(row['score'], 0)
      self.assertEqual([h['text'] for h in row['n_best']][0], row['text'])
      self.assertLen(row['n_best'], 2)

  def test_a_manifest_has_what_the_model_is_sure_of_and_the_rest_is_counted(self):
    arguments = (_folder + '/audio', _folder + '/long.wav', '--format=manifest')
    out, err = self._Run(*arguments)
    rows = [json.loads(line) for line in out.splitlines()]
    self.assertEqual([row['duration'] for row in rows], [1.5, 1.1, 2.5])
    self.assertIn('left out: 1 longer than a window', err)
    sure = sorted(rows, key=lambda row: row['confidence'])[-1]
    self.assertBetween(sure['confidence'], 0, 1)
    for row in rows:
      self.assertTrue(os.path.isabs(row['audio_filepath']) and os.path.isfile(row['audio_filepath']))
      self.assertTrue(row['text'])
    out, err = self._Run(*arguments, f'--min_confidence={sure["confidence"] - 1e-4}')
    self.assertIn(sure, [json.loads(line) for line in out.splitlines()])
    out, err = self._Run(*arguments, '--min_confidence=1')
    self.assertEqual(out, '')
    self.assertIn('left out: 1 longer than a window, 3 of confidence < 1', err)
    with self.subTest('an older manifest is no result'):
      path = self.create_tempfile(content='old').full_path
      self._Run(*arguments, '--min_confidence=1', f'--output={path}')
      self.assertEqual(os.path.getsize(path), 0)

  def test_a_confidence_is_for_manifests_and_a_manifest_for_files(self):
    for args, message in (
      (('--min_confidence=0.5',), '--min_confidence=0.5: expected a probability, with --format=manifest only'),
      (('--format=manifest', '--min_confidence=2'), '--min_confidence=2: expected a probability'),
      (('-', '--format=manifest'), '--format=manifest: - is no file that a manifest can name'),
    ):
      self.assertIn(message, self._Run(_folder + '/audio', *args, code=2)[1])

  def test_a_long_recording_is_recognised_in_windows(self):
    out, _ = self._Run(_folder + '/long.wav', '--format=json')
    row = json.loads(out)
    self.assertGreater(row['windows'], 3)
    starts = [w['start'] for w in row['words']]
    self.assertEqual(starts, sorted(starts))
    self.assertEqual(row['text'], ' '.join(w['word'] for w in row['words']))
    self.assertGreater(starts[-1], 10.0)
    whole, _ = self._Run(_folder + '/long.wav', '--format=json', '--window_seconds=60')
    self.assertEqual(json.loads(whole)['windows'], 1)

  def test_subtitles_are_well_formed_and_their_times_ascend(self):
    folder = self.create_tempdir().full_path
    self._Run(_folder + '/long.wav', '--format=srt', f'--output={folder}/long.srt')
    with open(f'{folder}/long.srt', encoding='utf-8') as f:
      text = f.read()
    blocks = text.rstrip('\n').split('\n\n')
    before = 0
    for number, block in enumerate(blocks, 1):
      index, times, *lines = block.split('\n')
      self.assertEqual(index, str(number))
      found = re.fullmatch(r'(\d\d):(\d\d):(\d\d),(\d{3}) --> (\d\d):(\d\d):(\d\d),(\d{3})', times)
      self.assertIsNotNone(found, times)
      h0, m0, s0, f0, h1, m1, s1, f1 = map(int, found.groups())
      start, end = (((h0 * 60) + m0) * 60 + s0) * 1000 + f0, (((h1 * 60) + m1) * 60 + s1) * 1000 + f1
      self.assertLessEqual(before, start)
      self.assertLess(start, end)
      before = end
      self.assertBetween(len(lines), 1, 2)
      self.assertTrue(all(lines))
    self.assertLessEqual(before, 13600)

  def test_a_folder_of_outputs_keeps_the_recordings_apart(self):
    folder = self.create_tempdir().full_path + '/new/'
    self._Run(_folder + '/audio', f'{_folder}/audio/a/0.wav', '--format=srt', f'--output={folder}')
    found = sorted(os.path.relpath(os.path.join(d, n), folder) for d, _, names in os.walk(folder) for n in names)
    self.assertEqual(found, ['0.srt', 'a/0.srt', 'a/2.srt', 'b/1.srt'])

  def test_an_interrupted_call_goes_on_with_what_has_no_transcript(self):
    folder = self.create_tempdir().full_path + '/new/'
    twice = (_folder + '/audio', f'{_folder}/audio/a', f'--output={folder}', '--format=json')
    self._Run(*twice)
    self.assertCountEqual(os.listdir(folder), ['a', 'b', '0.json', '2.json'])
    for name in ('a/2.json', '0.json'):
      os.remove(folder + name)
    with open(folder + 'b/1.json', 'w', encoding='utf-8') as f:
      f.write('kept')
    err = self._Run(*twice, '--resume')[1]
    self.assertRegex(err, '(?m)^transcribe: 3 of 5 recordings have a transcript$')
    self.assertRegex(err, '(?m)^transcribe: 2 of 2 recordings transcribed, ')
    with open(folder + 'a/2.json', encoding='utf-8') as f:
      self.assertEqual(json.load(f)['file'], f'{_folder}/audio/a/2.wav')
    with open(folder + 'b/1.json', encoding='utf-8') as f:
      self.assertEqual(f.read(), 'kept')
    self.assertRegex(self._Run(*twice, '--resume')[1], '(?m)^transcribe: 5 of 5 recordings have a transcript$')
    self.assertCountEqual(os.listdir(folder + 'a'), ['0.json', '2.json'])

  def test_a_text_beside_its_recording_is_not_replaced(self):
    folder = self.create_tempdir().full_path
    shutil.copytree(_folder + '/audio/a', folder + '/a')
    with open(folder + '/a/2.txt', 'w', encoding='utf-8') as f:
      f.write('what was said')
    for given, output in (('', ''), ('/a', '/a/'), ('/a/2.wav', '/a/../a/')):
      err = self._Run(folder + given, f'--output={folder}{output}', code=2)[1]
      self.assertRegex(err, r'^transcribe: --output=.*2\.txt exists, and may be the transcript of .*2\.wav; expected ')
    self.assertFalse(os.path.exists(folder + '/a/0.txt'))
    self._Run(folder + '/a', f'--output={folder}/', '--format=json')
    self._Run(folder + '/a', f'--output={folder}')
    with open(folder + '/a/2.txt', encoding='utf-8') as f:
      self.assertEqual(f.read(), 'what was said')
    self.assertTrue(os.path.exists(folder + '/2.txt'))

  def test_standard_input_of_another_rate_and_format(self):
    samples = tiny_data.Waveform(1.5, 0)
    path = self.create_tempdir().full_path + '/x/y.wav'
    _WriteWav(path, np.repeat(samples, 3), 48000)
    with open(path, 'rb') as f:
      content = bytearray(f.read())
    content[4:8], content[40:44] = b'\x24\xf0\xff\x7f', b'\x00\xf0\xff\x7f'  # As SoX writes into a pipe.
    read, write = os.pipe()  # Which cannot seek.

    def _Write():
      with os.fdopen(write, 'wb') as f:
        f.write(content)

    writer = threading.Thread(target=_Write)
    with os.fdopen(read) as f, mock.patch.object(sys, 'stdin', f):
      writer.start()
      out, _ = self._Run('-', '--format=json')
      writer.join()
    row = json.loads(out)
    self.assertEqual((row['file'], row['duration']), ('-', 1.5))
    self.assertTrue(row['text'])
    self.assertLen(out.splitlines(), 1)

  def test_bad_recordings_are_told_counted_and_left_out(self):
    folder = self.create_tempdir().full_path
    os.makedirs(folder + '/empty')
    with open(folder + '/bad.wav', 'wb') as f:
      f.write(b'nothing of the kind' * 100)
    good = _folder + '/audio/a/0.wav'
    out, err = self._Run(folder + '/bad.wav', good, folder + '/gone.mp3', folder + '/empty', code=1)
    self.assertLen(out.splitlines(), 1)
    self.assertIn(good, out)
    self.assertRegex(err, r'bad\.wav: (not_audio|corrupt)')
    self.assertRegex(err, r'gone\.mp3: missing')
    self.assertIn('empty: no audio file in this folder', err)
    self.assertRegex(err.splitlines()[-1], r'^transcribe: 1 of 4 recordings transcribed, 3 failed, 1\.5 s of audio in ')
    self.assertLen(err.splitlines(), 4)
    out, err = self._Run(folder + '/gone.mp3', code=1)
    self.assertEqual(out, '')

  def test_a_folder_that_cannot_be_read_is_told_and_the_rest_goes_on(self):
    folder = self.create_tempdir().full_path
    os.makedirs(folder + '/closed')
    shutil.copy(_folder + '/audio/a/0.wav', folder)
    scan = os.scandir

    def Scan(path):
      if path == folder + '/closed':
        raise PermissionError(13, 'Permission denied', path)
      return scan(path)

    with mock.patch.object(os, 'scandir', Scan):
      found, missing = recordings.Find([folder], self.fail)
    self.assertEqual(found, [(folder + '/0.wav', '0.wav')])
    self.assertEqual(missing, [(folder + '/closed', 'cannot be read (Permission denied)')])

  def test_a_folder_s_files_of_any_extension_of_sound_are_found_and_the_others_named(self):
    folder = self.create_tempdir().full_path
    sounds = ['a.3gp', 'b.aifc', 'c.mpga', 'd.avi', 'e.OPUS', 'f.webm', 'g.wma', 'h.rf64']
    for name in [*sounds, 'x/notes.txt', 'x/b.json', 'noextension']:
      os.makedirs(os.path.dirname(f'{folder}/{name}'), exist_ok=True)
      with open(f'{folder}/{name}', 'wb'):
        pass
    notes = []
    found, missing = recordings.Find([folder], notes.append)
    self.assertEqual([relative for _, relative in found], sounds)
    self.assertEmpty(missing)
    self.assertLen(notes, 1)
    self.assertEndsWith(notes[0], 'are not of audio: 3, the first of them noextension')
    self.assertEqual(
      recordings.Find([folder + '/x'], notes.append)[1],
      [(folder + '/x', 'no audio file in this folder (2 with other extensions, such as b.json)')],
    )

  def test_every_extension_that_ffmpeg_writes_sound_into_is_one_of_sound(self):
    # Raw samples without a rate, playlists, and containers of games and tapes.
    others = (
      '302 adx aea al amv apm aptxhd ast aud bit cpk cvg dfpwm dvd lbc m3u8 mpd pcm psp roq sb sw tun ub ul uw vag'
    )
    written = set()
    for name in av.formats_available:
      try:
        form = av.format.ContainerFormat(name, 'w')
        with av.open(io.BytesIO(), 'w', format=name) as out:
          if out.default_audio_codec != 'none':
            written |= form.extensions
      except (ValueError, av.error.FFmpegError):
        continue
    self.assertContainsSubset(['wav', 'flac', '3gp', 'aifc', 'avi'], written)
    self.assertEmpty({f'.{e}' for e in written - set(others.split())} - audio_extensions.SOUND)

  def test_a_damaged_recording_is_transcribed_and_its_losses_are_told(self):
    folder = self.create_tempdir().full_path
    with open(_folder + '/long.wav', 'rb') as f:
      content = f.read()
    with open(folder + '/half.wav', 'wb') as f:
      f.write(content[: len(content) // 2])
    out, err = self._Run(folder + '/half.wav', '--format=json')
    self.assertAlmostEqual(json.loads(out)['duration'], 6.75, delta=0.1)
    self.assertRegex(err, r'half\.wav: the file is cut off: \d+ bytes, its data chunk ends at \d+\n')

  def test_a_tilde_is_the_home_folder(self):
    home = self.create_tempdir().full_path
    shutil.copy(_folder + '/audio/a/0.wav', home + '/a.wav')
    with mock.patch.dict(os.environ, {'HOME': home}):
      self._Run('~/a.wav', '--output=~/texts/')
    self.assertEqual(sorted(os.listdir(home)), ['a.wav', 'texts'])
    self.assertEqual(os.listdir(home + '/texts'), ['a.txt'])

  def test_a_file_name_that_is_no_utf_8_is_written_with_escapes(self):
    folder = self.create_tempdir().full_path
    shutil.copy(_folder + '/audio/a/0.wav', os.fsencode(folder) + b'/caf\xe9.wav')
    shutil.copy(_folder + '/audio/a/0.wav', folder + '/ok.wav')
    self._Run(folder, f'--output={folder}/all.txt')
    with open(folder + '/all.txt', encoding='utf-8') as f:
      names = [line.partition('\t')[0] for line in f]
    self.assertEqual(names, [folder + '/caf\\udce9.wav', folder + '/ok.wav'])
    self._Run(folder, f'--output={folder}/out/', '--format=json')
    self.assertLen(os.listdir(folder + '/out'), 2)

  def test_what_is_written_of_a_file_name_that_is_no_utf_8_names_the_file(self):
    folder = self.create_tempdir().full_path
    path = os.fsdecode(os.fsencode(folder) + b'/caf\xe9.wav')
    shutil.copy(_folder + '/audio/a/0.wav', path)
    for kind in ('manifest', 'json'):
      written = f'{folder}/{kind}.json'
      self._Run(path, f'--output={written}', f'--format={kind}')
      options = importers.Options(input=written)
      (utterance,) = manifest_importer.Import(options).utterances
      self.assertEqual(utterance.source, path)
      samples = list(load.Load([utterance], shards.Limits(max_chars_per_second=1e3)))
      self.assertIsNone(samples[0][2])
      self.assertEqual(manifest.Read(written)[0].path, path)
      scored = transcript_files.Read(written, 'hypothesis')
      self.assertEqual(list(scored.texts), [f'{folder}/caf\\udce9'])

  def test_wrong_usage_is_said_in_a_line(self):
    audio = _folder + '/audio'
    for args, message in (
      ((_folder + '/absent', audio), 'absent: no such run or recording'),
      ((_folder + '/run',), '/run: a run alone; expected recordings after it'),
      ((_folder + '/run', audio, '--adapter=target'), "no adapters called 'target'"),
      ((_folder + '/run', audio, '--n_best=2'), 'n_best = 2: expected 1 to 1'),
      ((_folder + '/run', audio, '--window_seconds=1'), '--window_seconds=1: expected >= 2'),
      ((_folder + '/run', audio, '--window_seconds=nan'), '--window_seconds=nan: expected >= 2 and finite'),
      ((_folder + '/run', audio, '--window_seconds=inf'), '--window_seconds=inf: expected >= 2 and finite'),
      ((_folder + '/run', audio, '--max_hours=nan'), '--max_hours=nan: expected > 0'),
      (
        (_folder + '/run', audio, f'--output={audio}/a/0.wav/'),
        r'--output=.*0\.wav/: cannot be written \(.* is not a directory',
      ),
      ((_folder + '/run', '-', '-'), '-: given twice'),
      ((_folder + '/run', audio, '--format=srt'), r'expected --output=FOLDER/'),
      ((_folder + '/run', audio, '--resume'), r'--resume: expected with it --output=FOLDER/'),
      (
        (_folder + '/run', audio, f'--output={_folder}/no/such/file'),
        '--output=.*/no/such/file: no folder .*/no/such; expected one that exists',
      ),
      (
        (_folder + '/run', f'{audio}/a/0.wav', f'--output={audio}/b/../a/0.wav'),
        r'--output=.*0\.wav: is one of the recordings; expected another file',
      ),
    ):
      out, err = self._Transcribe(*args, code=2)
      self.assertEqual(out, '')
      self.assertRegex(err, message)
      self.assertLen(err.splitlines(), 1)

  def test_infinitely_many_hours_are_no_limit(self):
    recording = _folder + '/audio/a/0.wav'
    self.assertEqual(self._Run(recording, '--max_hours=inf'), self._Run(recording))
    out, err = self._Run(recording, '--max_hours=0.0001', code=1)
    self.assertEqual(out, '')
    self.assertIn('too_long: more than 0.36 s', err)

  def test_what_cannot_be_written_is_named_and_ends_with_1(self):
    recording = _folder + '/audio/a/0.wav'
    err = io.StringIO()
    with open('/dev/full', 'w', encoding='utf-8') as full:
      with contextlib.redirect_stdout(full), contextlib.redirect_stderr(err):
        self.assertEqual(transcribe.Main(['transcribe', _folder + '/run', recording]), 1)
    full = 'cannot be written (No space left on device)\n'
    self.assertEqual(err.getvalue(), f'transcribe: standard output: {full}')
    _, err = self._Run(recording, '--output=/dev/full', code=1)
    self.assertEqual(err, f'transcribe: --output=/dev/full: {full}')

  def test_an_old_transcript_is_overwritten_by_a_new_one_only(self):
    path = self.create_tempdir().full_path + '/old.txt'
    audio = _folder + '/audio/a/0.wav'
    with open(path, 'w', encoding='utf-8') as f:
      f.write('old\n' * 100)
    for code, *args in (
      (2, _folder + '/rnu', audio),
      (2, _folder + '/run', audio, '--adapter=targte'),
      (2, _folder + '/run', audio, '--n_best=9'),
      (2, _folder + '/run', audio, '--checkpoint=ckpt-9'),
      (1, _folder + '/run', _folder + '/gone.wav'),
    ):
      self._Transcribe(*args, f'--output={path}', code=code)
      with open(path, encoding='utf-8') as f:
        self.assertEqual(f.read(), 'old\n' * 100, args)
    self._Run(audio, f'--output={path}')
    expected, _ = self._Run(audio)
    with open(path, encoding='utf-8') as f:
      self.assertEqual(f.read(), expected)


class _BurstRecognizer:
  """Recognises each burst of sound as a word, `part` where it is cut off."""

  def Recognize(self, waveforms):
    found = []
    for samples in waveforms:
      edges = np.flatnonzero(np.diff(np.concatenate([[0], samples != 0, [0]])))
      words = tuple(
        recognizer.Word(f'w{samples[start]}' if end - start == _BURST else 'part', start / 16000, end / 16000)
        for start, end in zip(edges[::2], edges[1::2])
      )
      found.append([recognizer.Hypothesis(' '.join(w.text for w in words), -1.0, words)])
    return found


_BURST = 4800


class WindowsTest(absltest.TestCase):
  def test_no_word_of_a_long_recording_is_lost_or_doubled(self):
    rng = np.random.RandomState(0)
    recordings, expected = [], []
    for words in (1, 2, 40, 150, 7):
      parts = [np.zeros([800])]
      for word in range(words):
        parts += [np.full([_BURST], word + 1), np.zeros([rng.randint(800, 8000)])]
      recordings.append((f'{words} words', np.concatenate(parts).astype(np.int16)))
      expected.append(' '.join(f'w{word + 1}' for word in range(words)))
    for max_seconds in (4.0, 16.0):
      sounds = [(name, np.array_split(samples, 1 + len(samples) // 16000)) for name, samples in recordings]
      found = sum(transcribing.Transcribe(_BurstRecognizer(), sounds, max_seconds), [])
      self.assertEqual([t.text for t in found], expected)
      self.assertEqual([t.name for t in found], [name for name, _ in recordings])
      self.assertGreater(found[3].windows, 3)
      for one, (_, samples) in zip(found, recordings):
        for word in one.words:
          self.assertEqual(f'w{samples[round(word.start * 16000) + 10]}', word.text)


if __name__ == '__main__':
  absltest.main()
