"""Data sets in containers for tests: sounds told apart by their length, tars, and what becomes of utterances."""

import gzip
import io
import json
import tarfile

import numpy as np
import soundfile

from tests import importer_case
from tools.prepare import importers
from tools.prepare import load
from tools.prepare import shards

RATE = 16000


def Sound(seconds, file_format='WAV', channels=1):
  """Returns an audio file of `seconds`, a tone; further channels are longer waves."""
  tones = np.stack([0.3 * np.sin(np.arange(round(seconds * RATE)) * 0.2 / (c + 1)) for c in range(channels)], 1)
  f = io.BytesIO()
  soundfile.write(f, tones, RATE, format=file_format)
  return f.getvalue()


class ContainerCase(importer_case.ImporterCase):
  def Write(self, name, content):
    with open(self.Path(name), 'wb') as f:
      f.write(content)
    return self.Path(name)

  def JsonLines(self, name, *objects):
    text = ''.join(json.dumps(o) + '\n' for o in objects).encode()
    return self.Write(name, gzip.compress(text) if name.endswith('.gz') else text)

  def Tar(self, name, *members, mode='w', **kwargs):
    """Writes a tar of (name, bytes)."""
    path = self.Path(name)
    with tarfile.open(path, mode, **kwargs) as tar:
      for member, content in members:
        info = tarfile.TarInfo(member)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return path

  def Cut(self, path, size):
    """Keeps the first `size` bytes of a file, all but the last -size if it is negative."""
    with open(path, 'rb') as f:
      content = f.read()
    self.Write(path, content[:size])

  def List(self, name, path, **options):
    """Returns the listing of an importer; further arguments are own options."""
    importer = importers.GetImporter(name)
    own = {option.name: options.pop(option.name, option.default) for option in importer.own_options}
    return importer.function(importers.Options(input=path, own=own, **options))

  def Reasons(self, listing):
    return [r.reason for r in listing.rejects]

  def Loaded(self, listing):
    """Returns {id: seconds rounded to 0.01, or the reason for the reject}."""
    limits = shards.Limits(min_duration=0.05, max_chars_per_second=1000, normalizer='none')
    return {
      utterance.utt_id: rejected.reason if rejected else round(record['duration'], 2)
      for utterance, record, rejected in load.Load(listing.utterances, limits)
    }
