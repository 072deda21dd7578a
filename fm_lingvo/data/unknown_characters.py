"""Finds characters of training transcripts that a stream's tokenizer does not know, before anything is trained on them.

Characters are counted, not labels: SentencePiece makes one unknown label of several unknown characters in a row.
"""

import collections
import dataclasses
import json
import os
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

from google.protobuf import message
from lingvo import compat as tf

from fm_lingvo.data import stream_params
from fm_lingvo.data import tokenizer
from fm_lingvo.runtime import session
from fm_lingvo.utils import files
from fm_lingvo.utils import suggest

_PLACES, _LINES = 32, 12  # Where a manifest is read, from its start to its end, and how many lines at each place.
_SHARDS, _RECORDS = 8, 32  # Without a manifest: how many shards are read, and how many records from the start of each.


@dataclasses.dataclass(frozen=True)
class Found:
  """The characters in a sample of the transcripts of a data set.

  Attributes:
    path: Path of the Params of the stream that reads it.
    folder: Of the data set.
    tokenizer_file: The stream's.
    share: Of the characters other than spaces, those that the tokenizer does not know, in [0, 1].
    characters: These, the most frequent first.
  """

  path: str
  folder: str
  tokenizer_file: str
  share: float
  characters: tuple

  @property
  def line(self) -> str:
    """One line that says what is unknown, and what to do."""
    names = suggest.Some([c if c.isprintable() else repr(c) for c in self.characters])
    return (
      f'{self.path}: {self.share:.1%} of the characters in transcripts of {self.folder} are not in the tokenizer '
      f'{self.tokenizer_file}, such as {names}; train one: fm-train-tokenizer --input={self.folder} '
      '--output=FILE.model; or prepare the data with another --normalizer'
    )


def OfInput(p: Any) -> Iterator[Found]:
  """Yields a Found for each data set of the streams with labels of an input; those without transcripts have none.

  Args:
    p: Params of an input; those without streams have no transcripts in shards.
  """
  for name, stream in p.streams.IterParams() if 'streams' in p else ():
    if not ('labeled' in stream and stream.labeled and stream.tokenizer_file):
      continue
    shards = collections.defaultdict(list)  # By folder.
    for pattern in filter(None, stream_params.Patterns(stream)):
      for path in stream_params.Glob(pattern):
        shards[os.path.dirname(path)].append(path)
    model = tokenizer.Tokenizer(stream.tokenizer_file)
    for folder, paths in sorted(shards.items()):
      rows = list(_ManifestRows(folder, {os.path.basename(path) for path in paths})) or list(_ShardRows(sorted(paths)))
      texts = [text for text, _ in _OfDomains(rows, stream.domain_regex)]
      total = sum(_Counts(texts).values())
      if total:
        unknown = _Unknown(model, texts)
        share = sum(unknown.values()) / total
        characters = tuple(character for character, _ in unknown.most_common())
        yield Found(f'{p.name}.streams.{name}', folder, stream.tokenizer_file, share, characters)


def _Counts(texts: Iterable[str]) -> collections.Counter:
  return collections.Counter(character for text in texts for character in text if not character.isspace())


def _Unknown(model: tokenizer.Tokenizer, texts: list[str]) -> collections.Counter:
  """Returns character -> count of those that a tokenizer does not know."""
  # Only where the whole text has some: parts of a character, such as accents, may have no piece of their own.
  found = [text for text, labels in zip(texts, model.EncodeTexts(texts)) if model.unk_id in labels]
  counts = _Counts(found)
  return collections.Counter({c: n for c, n in counts.items() if model.unk_id in model.EncodeText(c)})


def _ManifestRows(folder: str, shards: Collection[str]) -> Iterator[tuple[str, str]]:
  """Yields (text, domain) of a sample of the transcripts in a data set's manifest.

  Training does not need the manifest, so a line that is no row of one is left out here.

  Args:
    folder: Of the data set.
    shards: Names of the shards that count.
  """
  path = os.path.join(folder, 'manifest.jsonl')
  if not files.Exists(path):
    return
  size, end = files.FileSize(path), 0
  with files.Open(path, 'rb') as f:
    for place in range(_PLACES):
      start = max(end, size * place // _PLACES)
      f.seek(start)
      if start > end:
        f.readline()  # The rest of a line.
      for _ in range(_LINES):
        row = _Row(f.readline())
        if row.get('shard') in shards and isinstance(row.get('text'), str):
          yield row['text'], str(row.get('domain'))
      end = f.tell()


def _Row(line: bytes) -> dict[str, Any]:
  try:
    row = json.loads(line)
  except (RecursionError, ValueError):
    return {}
  return row if isinstance(row, dict) else {}


def _ShardRows(paths: list[str]) -> Iterator[tuple[str, str]]:
  """Yields (text, domain) of the first records of some shards."""
  for path in paths[:: -(-len(paths) // _SHARDS)]:
    try:
      for number, record in enumerate(tf.tf1.io.tf_record_iterator(path)):
        if number == _RECORDS:
          break
        feature = tf.train.Example.FromString(record).features.feature
        text, domain = (b''.join(feature[key].bytes_list.value).decode(errors='ignore') for key in ('text', 'domain'))
        yield text, domain
    except (message.DecodeError, tf.errors.DataLossError):
      pass  # The run itself names what is damaged (shard_integrity), and counts what it cannot parse.


def _OfDomains(rows: list[tuple[str, str]], regex: str) -> list[tuple[str, str]]:
  """Returns the rows whose whole domain matches the RE2 expression of a stream; '' matches all."""
  domains = sorted({domain for _, domain in rows})
  if not regex or not domains:
    return rows
  with tf.Graph().as_default(), tf.Session(config=session.Config()) as sess:
    matches = dict(zip(domains, sess.run(tf.strings.regex_full_match(domains, regex))))
  return [row for row in rows if matches[row[1]]]
