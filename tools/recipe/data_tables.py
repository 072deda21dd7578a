"""What the data sets of the recipe hold, as a Markdown table: hours, words, voices; what test shares with training."""

import itertools
from collections.abc import Iterable

from fm_lingvo.data import dataset

from ..figures import tables

_LONGEST = 3  # Words of the longest n-gram.


def Table(paths: Iterable[str]) -> str:
  """Markdown with a line for each data set, and what its last column means.

  Args:
    paths: Folders of data sets.
  """
  lines = [_Line(path) for path in paths]
  headers = ['data set', 'hours train', 'dev', 'test', 'utterances', 'voices', 'words train', 'dev', 'test',
             'transcripts, 1-, 2-, 3-grams of test that are in train']  # fmt: skip
  note = 'Words of 0: no transcripts. The last column is in % of those that occur in the test set, repetitions counted.'
  return f'{tables.Markdown(headers, lines)}\n\n{note}'


def Overlap(train: Iterable[str], test: Iterable[str]) -> list[float]:
  """Shares of the test texts that occur in training, whole and as n-grams of 1 to 3 words; nan without any.

  Args:
    train: Texts.
    test: Texts; each occurrence of an n-gram counts.
  """
  train, test = [[text.split() for text in texts if text.strip()] for texts in (train, test)]
  shares = [_Share(map(tuple, train), map(tuple, test))]
  return shares + [_Share(_NGrams(train, n), _NGrams(test, n)) for n in range(1, _LONGEST + 1)]


def _NGrams(texts, n):
  """The n-grams of lists of words, tuples."""
  return itertools.chain.from_iterable(zip(*(words[i:] for i in range(n))) for words in texts)


def _Share(known, items):
  known, items = {*known}, [*items]
  return sum(item in known for item in items) / len(items) if items else float('nan')


def _Line(path):
  """Cells of a data set's line."""
  made = dataset.ReadDataset(path)
  rows = list(dataset.ReadManifest(path))
  texts = {split: [row['text'] for row in rows if row['split'] == split] for split in dataset.SPLITS}
  words = [sum(len(text.split()) for text in texts[split]) for split in dataset.SPLITS]
  overlap = ', '.join(f'{100 * share:.0f}' for share in Overlap(texts['train'], texts['test'])) if words[-1] else '-'
  return [
    f'`{path.rpartition("/")[2]}`',
    *(f'{made.hours[split]:.2f}' for split in dataset.SPLITS),
    f'{len(rows):,}',
    str(len({row['speaker'] for row in rows})),
    *(f'{count:,}' for count in words),
    overlap,
  ]
