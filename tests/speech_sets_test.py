"""What the peers read of a data set, without TensorFlow, is what is in it."""

import json
import os
import tempfile

import numpy as np
from absl.testing import absltest

from tests import tiny_data
from tools.bench.peers import speech_sets


class SplitTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.enter_context(tempfile.TemporaryDirectory())
    for shard in range(2):
      tiny_data.Write(f'{self.folder}/train-{shard}.tfrecord', 5, seconds=0.1, prefix=f'utt{shard}')
    rows = [
      {
        'utt_id': f'utt{shard}-{i}',
        'split': 'train',
        'text': '' if i == 4 else f' some  {i}',
        'duration': 0.1 + 0.1 * i,
      }
      for i in range(5)
      for shard in range(2)
    ]
    with open(os.path.join(self.folder, 'manifest.jsonl'), 'w', encoding='utf-8') as f:
      f.writelines(json.dumps(row) + '\n' for row in [*rows, {**rows[0], 'split': 'dev'}])

  def test_audio_and_transcripts_are_those_of_the_records(self):
    part = speech_sets.Split(self.folder, 'train')
    self.assertEqual(part.texts, [f'some {i}' for i in range(4) for _ in range(2)])
    for number, seconds in enumerate(part.seconds):
      audio = part.Audio(number)
      self.assertLen(audio, round(seconds * speech_sets.RATE))
      self.assertBetween(np.abs(audio).max(), 0.1, 1.0)
    self.assertFalse(np.array_equal(part.Audio(0), part.Audio(1)))  # The same text, of two shards.

  def test_longer_utterances_and_those_without_a_transcript_are_left_out(self):
    self.assertEqual(speech_sets.Split(self.folder, 'train', longest=0.25).texts, ['some 0'] * 2 + ['some 1'] * 2)


if __name__ == '__main__':
  absltest.main()
