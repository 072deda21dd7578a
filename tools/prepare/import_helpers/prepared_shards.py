"""Shards of prepared data sets as containers of recordings (fm_lingvo/data/importers.py)."""

import dataclasses
import io
from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np
import soundfile

from fm_lingvo.data import dataset
from fm_lingvo.utils import audio


@dataclasses.dataclass(frozen=True)
class Shard:
  """A shard; its members are ids of utterances."""

  path: str

  def Read(self, members: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yields (id, WAV file) of the given utterances."""
    wanted = set(members)
    for record in dataset.ReadShard(self.path):
      if record['utt_id'] in wanted:
        wav = io.BytesIO()
        soundfile.write(wav, np.frombuffer(record['audio'], '<i2'), audio.SAMPLE_RATE, 'PCM_16', format='WAV')
        yield record['utt_id'], wav.getvalue()
