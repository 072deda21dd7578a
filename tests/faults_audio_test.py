"""Malformed audio: 300 fuzzed files, decoded as the data preparation does it, in processes with limits on memory and time."""

import os
import tempfile

from absl.testing import absltest

from tools.faults import audio_faults
from tools.faults import outcome


class AudioTest(absltest.TestCase):
  def _Folder(self):
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    return folder.name

  def test_every_file_is_rejected_with_a_reason_or_is_audio(self):
    cases = audio_faults.Run(self._Folder(), outcome.Size(full=False))
    self.assertLen(cases, 300)
    self.assertEmpty([case for case in cases if not case.survived])
    seen = {case.name.partition(': ')[2]: case.seen for case in cases}
    for name in ('billion_hertz.wav', 'zero_channels.wav', 'text.wav', 'empty.wav', 'many_bits.wav'):
      self.assertStartsWith(seen[name], 'rejected: ', name)
    self.assertGreater(sum(case.seen.startswith('rejected: ') for case in cases), 150)

  def test_what_is_called_malformed_was_whole_before(self):
    folder = os.path.join(self._Folder(), 'good')
    os.makedirs(folder)
    contents = audio_faults.WriteGood(folder)
    self.assertContainsSubset(['wav', 'flac', 'mp3', 'm4a'], contents)
    for extension, content in contents.items():
      path = os.path.join(folder, f'good.{extension}')
      with open(path, 'wb') as f:
        f.write(content)
      samples = audio_faults.audio.Decode(path)
      self.assertAlmostEqual(len(samples) / 16000, 1.0, delta=0.1, msg=extension)


if __name__ == '__main__':
  absltest.main()
