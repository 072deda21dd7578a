"""Malformed audio: 300 files, decoded as the data preparation does it, in a process with limits on memory and time."""

import os
import tempfile

from absl.testing import absltest

from fm_lingvo import audio as audio_lib
from tests.faults import audio
from tests.faults import isolated
from tests.faults import suite


class AudioTest(absltest.TestCase):
  def _Folder(self):
    return self.enter_context(tempfile.TemporaryDirectory())

  def test_every_file_is_rejected_with_a_reason_or_is_audio(self):
    cases = list(audio.Run(suite.Suite(self._Folder())))
    self.assertLen(cases, 300)
    self.assertEmpty([case for case in cases if not case.survived])
    seen = {case.name.partition(': ')[2]: case.seen for case in cases}
    for name in ('billion_hertz.wav', 'zero_channels.wav', 'text.wav', 'empty.wav', 'many_bits.wav'):
      self.assertStartsWith(seen[name], 'rejected: ', name)
    self.assertGreater(sum(case.seen.startswith('rejected: ') for case in cases), 150)

  def test_the_files_are_whole_before_they_are_changed(self):
    folder, contents = self._Folder(), audio.WholeFiles()
    self.assertContainsSubset(['wav', 'flac', 'mp3', 'm4a'], contents)
    for extension, content in contents.items():
      path = os.path.join(folder, f'good.{extension}')
      with open(path, 'wb') as f:
        f.write(content)
      samples = audio_lib.Decode(path)
      self.assertAlmostEqual(len(samples) / 16000, 1.0, delta=0.1, msg=extension)

  def test_a_call_that_crashes_hangs_or_fills_memory_spares_the_others(self):
    calls = {
      '"first"': 'first',
      '__import__("os").abort()': 'ended its process, exit code -6',
      '"second"': 'second',
      '__import__("time").sleep(60)': 'ended its process, exit code -14',
      'bytearray(2**31)': 'raised MemoryError: ',
      '"last"': 'last',
    }
    self.assertEqual(isolated.Results(eval, list(calls), memory_gb=1, seconds=2), list(calls.values()))


if __name__ == '__main__':
  absltest.main()
