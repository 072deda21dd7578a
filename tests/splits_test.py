"""tools.prepare.splits: a recording, or a speaker, is on one side of train, dev and test."""

import collections
import random

from absl.testing import absltest

from fm_lingvo.data import dataset
from fm_lingvo.data import importers
from tools.prepare import splits


def _Segments(recordings=200, segments=7, speakers=0):
  """Segments of recordings in a random order; with `speakers` so many, each of all segments of a recording."""
  made = [
    importers.Utterance(
      f'r{r:03d}_{s}', '', f's{r % speakers}' if speakers else 'unknown', 'd', f'/x/r{r:03d}.wav', offset=float(s)
    )
    for r in range(recordings)
    for s in range(segments)
  ]
  random.Random(1).shuffle(made)
  return made


def _Sides(utterances, of, key):
  """Key of an utterance -> splits that it is in."""
  sides = collections.defaultdict(set)
  for utterance in utterances:
    sides[key(utterance)].add(of[utterance.utt_id])
  return sides


class SplitsTest(absltest.TestCase):
  def test_no_recording_is_on_two_sides_and_all_sides_have_some(self):
    utterances = _Segments()
    of = splits.Of(utterances, 'recording', True, 20.0, 20.0)
    sides = _Sides(utterances, of, lambda u: u.source)
    self.assertEqual({len(found) for found in sides.values()}, {1})
    counts = collections.Counter(next(iter(found)) for found in sides.values())
    self.assertBetween(counts['test'], 20, 60)
    self.assertBetween(counts['dev'], 20, 60)
    with self.subTest('whatever the order and the path of the folder'):
      moved = [importers.Utterance(u.utt_id, '', '', 'd', '/else' + u.source) for u in reversed(utterances)]
      self.assertEqual(splits.Of(moved, 'recording', True, 20.0, 20.0), of)

  def test_a_recording_of_one_utterance_has_the_split_of_its_id(self):
    utterances = _Segments(segments=1)
    expected = {u.utt_id: dataset.SplitOf(u.utt_id, 5.0, 30.0) for u in utterances}
    self.assertEqual(splits.Of(utterances, 'recording', True, 5.0, 30.0), expected)

  def test_channels_and_members_of_one_recording_stay_together(self):
    ids = [f'{i}' for i in range(300)]
    channels = [
      importers.Utterance(f'{i}#{c}', '', '', '', f'./a/{i}.wav' if c else f'a/{i}.wav', channel=c)
      for i in ids
      for c in (0, 1)
    ]
    members = [
      importers.Utterance(f'{i}@{s}', '', '', '', 'x', container='tar', member=(i, 0)) for i in ids for s in (0, 1)
    ]
    for utterances in (channels, members):
      of = splits.Of(utterances, 'recording', True, 30.0, 30.0)
      sides = _Sides(utterances, of, lambda u: u.utt_id[:-2])
      self.assertEqual({len(found) for found in sides.values()}, {1})
      self.assertEqual({next(iter(found)) for found in sides.values()}, set(dataset.SPLITS))

  def test_by_speaker_neither_speakers_nor_recordings_are_on_two_sides(self):
    utterances = _Segments(speakers=50)
    # Two speakers talk in one recording, which ties theirs together.
    utterances.append(importers.Utterance('r000_x', '', 's1', 'd', '/x/r000.wav', offset=9.0))
    of = splits.Of(utterances, 'speaker', True, 20.0, 20.0)
    for key in (lambda u: u.speaker, lambda u: u.source):
      self.assertEqual({len(found) for found in _Sides(utterances, of, key).values()}, {1})
    self.assertEqual(of['r000_0'], of['r001_0'])
    self.assertLen(set(of.values()), 3)
    with self.subTest('unknown speakers tie nothing together'):
      self.assertEqual(
        splits.Of(_Segments(), 'speaker', True, 20.0, 20.0), splits.Of(_Segments(), 'recording', True, 20.0, 20.0)
      )

  def test_a_split_of_the_source_goes_before_the_hash_for_the_whole_recording(self):
    utterances = [
      importers.Utterance('a', '', '', '', 'x.wav', offset=1.0),
      importers.Utterance('b', '', '', '', 'x.wav', offset=2.0, split='test'),
    ]
    self.assertEqual(splits.Of(utterances, 'recording', True, 0.0, 0.0), {'a': 'test', 'b': 'test'})
    self.assertEqual(splits.Of(utterances, 'recording', False, 0.0, 0.0), {'a': 'train', 'b': 'train'})


if __name__ == '__main__':
  absltest.main()
