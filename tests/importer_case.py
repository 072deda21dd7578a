"""A test of importers: files in a temporary folder, and what an importer lists of them."""

import gzip
import os
import tempfile

import numpy as np
import soundfile
from absl.testing import absltest

from tools.prepare import importers

RATE = 16000


class ImporterCase(absltest.TestCase):
  def setUp(self):
    super().setUp()
    tmp = tempfile.TemporaryDirectory()
    self.addCleanup(tmp.cleanup)
    self.dir = tmp.name

  def Path(self, name):
    path = os.path.join(self.dir, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path

  def Audio(self, name, seconds=0.5, channels=1, **kwargs):
    """Writes a tone, in the format of the extension; returns its path."""
    path = self.Path(name)
    tone = 0.3 * np.sin(np.arange(round(seconds * RATE)) * 0.2)
    soundfile.write(path, np.stack([tone] * channels, axis=1), RATE, **kwargs)
    return path

  def Text(self, name, text, encoding='utf-8', compress=False):
    """Writes a text file; returns its path."""
    path = self.Path(name)
    with (gzip.open if compress else open)(path, 'wb') as f:
      f.write(text.encode(encoding))
    return path

  def List(self, importer, folder='', *, input=None, **own):
    """Returns the listing of a folder, or of `input`; `own` are fields of Options and own options."""
    shared = {name: own.pop(name) for name in ('languages', 'audio_roots') if name in own}
    used = importers.GetImporter(importer)
    values = {option.name: option.default for option in used.own_options}
    self.assertContainsSubset(own, values)
    where = os.path.join(self.dir, folder) if input is None else input
    return used.function(importers.Options(input=where, own={**values, **own}, **shared))

  def Found(self, listing):
    """Returns {id: (text, speaker, split, language)}, and checks that ids are unique and local sources inside."""
    found = {u.utt_id: (u.text, u.speaker, u.split, u.language) for u in listing.utterances}
    self.assertLen(listing.utterances, len(found))
    return found

  def Reasons(self, listing):
    """Returns {id: reason} of the rejects."""
    return {r.utt_id: r.reason for r in listing.rejects}

  def AssertSourcesExist(self, listing):
    for utterance in listing.utterances:
      self.assertTrue(os.path.exists(utterance.source), utterance.source)
