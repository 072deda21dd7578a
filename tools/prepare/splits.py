"""Which split an utterance is in: that of the source, or one by a hash, with a whole recording on one side."""

import os

from fm_lingvo.data import dataset
from fm_lingvo.utils import files as file_system

BY = ('recording', 'speaker')
_UNKNOWN = ('', 'unknown')  # Speakers.


def Of(utterances, by, official, dev_percent, test_percent):
  """Chooses the split of each utterance.

  Utterances of one recording are in one split, which a hash of the first of their ids, in alphabetical order, decides;
  if the source has a split for one of them, that decides about those without one. By speaker, the same holds for all
  recordings that have a speaker in common. Pieces that an unlabeled recording is cut into keep its split.

  Args:
    utterances: List of importers.Utterance with different ids.
    by: One of BY.
    official: Whether splits of the source go before the hash.
    dev_percent: See dataset.SplitOf.
    test_percent: See dataset.SplitOf.

  Returns:
    dict: id -> one of dataset.SPLITS.
  """
  found = {}
  for group in _Groups(utterances, by):
    named = next((u.split for u in group if u.split), None) if official else None
    common = named or dataset.SplitOf(group[0].utt_id, dev_percent, test_percent)
    found.update({u.utt_id: (u.split if official else None) or common for u in group})
  return found


def _Groups(utterances, by):
  """Lists of utterances that belong together, sorted by id."""
  group_of = {}  # Recording or speaker -> its group; groups that meet become one.
  for utterance in sorted(utterances, key=lambda u: u.utt_id):
    keys = [_Recording(utterance)]
    if by == 'speaker' and utterance.speaker not in _UNKNOWN:
      keys.append(('speaker', utterance.speaker))
    met = {id(group_of[key]): group_of[key] for key in keys if key in group_of}
    group = max(met.values(), key=lambda g: len(g.keys), default=_Group())
    for other in met.values():
      if other is not group:
        group.utterances += other.utterances
        group.keys += other.keys
        group_of.update(dict.fromkeys(other.keys, group))
    group.utterances.append(utterance)
    group.keys += [key for key in keys if key not in group_of]
    group_of.update(dict.fromkeys(keys, group))
  groups = {id(group): group for group in group_of.values()}
  return [sorted(group.utterances, key=lambda u: u.utt_id) for group in groups.values()]


class _Group:
  """Utterances, and the recordings and speakers that they are of."""

  def __init__(self):
    self.utterances, self.keys = [], []


def _Recording(utterance):
  """What is equal for utterances of one recording."""
  if utterance.load is not None:
    return 'load', utterance.utt_id
  if utterance.container is not None:
    return 'member', utterance.container, repr(utterance.member)
  source = utterance.source
  return 'file', source if file_system.IsRemote(source) else os.path.normpath(source)
