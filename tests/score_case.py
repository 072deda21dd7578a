"""Base of the tests of scores: files of texts, and random texts."""

import json
import os
import tempfile

import numpy as np
from absl.testing import absltest

from tools.scoring import transcript_files


def Texts(seed, number=60, longest=9):
  """Two dicts id -> random text of few words, so that alignments are ambiguous."""
  rng = np.random.RandomState(seed)
  return [
    {f's{i % 4}-{i}': ' '.join(rng.choice(list('abcde'), rng.randint(0, longest))) for i in range(number)}
    for _ in range(2)
  ]


class FilesCase(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.enter_context(tempfile.TemporaryDirectory())

  def Write(self, name, *lines):
    path = os.path.join(self.folder, name)
    with open(path, 'w', encoding='utf-8') as f:
      f.writelines((line if isinstance(line, str) else json.dumps(line)) + '\n' for line in lines)
    return path

  def Read(self, name, *lines, role='hypothesis', kind='auto'):
    return transcript_files.Read(self.Write(name, *lines), role, kind)
