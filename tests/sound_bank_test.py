"""Folders of recordings -> sounds in memory: any layout and format, a limit, errors in one line."""

import contextlib
import io
import os
import tempfile

import numpy as np
from absl.testing import absltest

from fm_lingvo import errors
from fm_lingvo.data import sound_bank
from tests import sounds_case

RATE = sounds_case.RATE


class SoundBankTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = folder.name

  def _Load(self, load, minutes=60.0):
    """(list of the sounds, what was printed)."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
      bank = load(self.folder, minutes)
    return [bank.samples[start : start + size] for start, size in zip(bank.starts, bank.sizes)], out.getvalue()

  def test_all_files_below_a_folder_are_noise_whatever_their_format(self):
    sounds_case.WriteNoise(self.folder)
    sounds, printed = self._Load(sound_bank.LoadNoise)
    self.assertCountEqual([len(s) for s in sounds], [3 * RATE, 2 * RATE])
    self.assertEqual({s.dtype for s in sounds}, {np.dtype(np.int16)})
    self.assertEqual([np.abs(s).max() for s in sounds], [32767] * 2)  # The level of noise means nothing.
    self.assertEqual(printed, f'noise: 2 of 2 files in {self.folder}, 0.1 min in memory\n')

  def test_another_rate_is_converted_and_the_first_channel_is_taken(self):
    left = sounds_case.Tone(1000, 1.0, rate=44100)
    sounds_case.WriteWav(f'{self.folder}/a.wav', np.stack([left, -left], axis=1), rate=44100)  # Their sum is silent.
    ((sound,), _) = self._Load(sound_bank.LoadNoise)
    self.assertAlmostEqual(len(sound), RATE, delta=40)
    spectrum = np.abs(np.fft.rfft(sound[:RATE] / 32767.0))
    self.assertAlmostEqual(int(np.argmax(spectrum)), 1000, delta=2)

  def test_a_folder_larger_than_the_limit_gives_excerpts_of_many_files_always_the_same(self):
    for i in range(40):
      sounds_case.WriteWav(f'{self.folder}/{i:02d}.wav', sounds_case.Tone(100 + i, 7.0))
    sounds, printed = self._Load(sound_bank.LoadNoise, 1.0)
    self.assertLen(sounds, 12)  # Of 5 s.
    self.assertIn('12 of 40 files', printed)
    sound_bank.LoadNoise.cache_clear()
    again, _ = self._Load(sound_bank.LoadNoise, 1.0)
    np.testing.assert_array_equal(np.concatenate(sounds), np.concatenate(again))

  def test_file_names_that_are_not_utf_8_are_read_too(self):
    sounds_case.WriteWav(f'{self.folder}/a.wav', sounds_case.Tone(100, 1.0))
    os.rename(f'{self.folder}/a.wav', os.fsencode(self.folder) + b'/caf\xe9.wav')
    sound_bank.CheckFolder('noise.folder', self.folder)
    sounds, _ = self._Load(sound_bank.LoadNoise)
    self.assertEqual([len(s) for s in sounds], [RATE])
    with open(os.fsencode(self.folder) + b'/caf\xe9.wav', 'wb') as f:
      f.write(b'no audio')
    sound_bank.LoadNoise.cache_clear()
    with self.assertRaisesRegex(errors.ConfigError, 'caf.*wav: cannot be decoded'):
      self._Load(sound_bank.LoadNoise)

  def test_a_link_to_a_folder_above_gives_each_file_once(self):
    sounds_case.WriteWav(f'{self.folder}/a.wav', sounds_case.Tone(100, 1.0))
    os.symlink(self.folder, f'{self.folder}/above')
    sounds, printed = self._Load(sound_bank.LoadNoise)
    self.assertEqual([len(s) for s in sounds], [RATE])
    self.assertIn('1 of 1 files', printed)

  def test_a_folder_is_loaded_once(self):
    sounds_case.WriteNoise(self.folder)
    self._Load(sound_bank.LoadNoise)
    self.assertEqual(self._Load(sound_bank.LoadNoise)[1], '')

  def test_rooms_have_energy_one_and_their_direct_sound_at_one_place(self):
    sounds_case.WriteRooms(self.folder)
    sounds_case.WriteWav(f'{self.folder}/long.wav', (sounds_case.Room(20, 3, 40000) * 20000).astype(np.int16))
    rooms, _ = self._Load(sound_bank.LoadRooms)
    self.assertLen(rooms, 4)
    for room in rooms:
      self.assertEqual(np.argmax(np.abs(room)), sound_bank.ROOM_DELAY)
      self.assertAlmostEqual(float(np.sum(room.astype(np.float64) ** 2)), 1.0, delta=1e-4)
      self.assertLessEqual(len(room), sound_bank.MAX_ROOM_SAMPLES)

  def test_silent_files_are_counted_and_nothing_but_silence_is_refused(self):
    sounds_case.WriteWav(f'{self.folder}/silent.wav', np.zeros([RATE], np.int16))
    for load, what in ((sound_bank.LoadNoise, 'noise'), (sound_bank.LoadRooms, 'rooms')):
      with self.assertRaisesRegex(errors.ConfigError, f'expected recordings of {what}; all .* of 1 files is silent'):
        self._Load(load)
    sounds_case.WriteNoise(self.folder)
    self.assertIn(', 1 silent', self._Load(sound_bank.LoadNoise)[1])

  def test_a_file_that_cannot_be_decoded_is_named(self):
    for name, content in (('text.wav', b'no audio at all'), ('empty.flac', b'')):
      path = os.path.join(self.folder, name)
      with open(path, 'wb') as f:
        f.write(content)
      with self.assertRaises(errors.ConfigError) as caught:
        self._Load(sound_bank.LoadNoise)
      self.assertStartsWith(str(caught.exception), f'{path}: cannot be decoded (')
      os.remove(path)

  def test_a_folder_that_cannot_be_used_is_refused_in_one_line(self):
    missing = f'{self.folder}/no/such'
    with self.assertRaises(errors.ConfigError) as caught:
      sound_bank.CheckFolder('x.noise_dir', missing)
    self.assertEqual(
      str(caught.exception), f'x.noise_dir = {missing!r}: no such folder; the nearest that exists is {self.folder}'
    )
    os.makedirs(f'{self.folder}/below')
    with open(f'{self.folder}/below/README.txt', 'w', encoding='utf-8') as f:
      f.write('text')
    with self.assertRaisesRegex(errors.ConfigError, '^x.noise_dir = .*: no audio file in this folder or below it'):
      sound_bank.CheckFolder('x.noise_dir', self.folder)
    sounds_case.WriteNoise(self.folder)
    sound_bank.CheckFolder('x.noise_dir', self.folder)


if __name__ == '__main__':
  absltest.main()
