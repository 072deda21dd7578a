"""Base class of tests that run the project's programs as a user would: real processes, on a little sound."""

import os
import tempfile

from absl.testing import absltest

from tests import tiny_data

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def Environment():
  """This environment, in which Python finds the project from any folder."""
  return {**os.environ, 'PYTHONPATH': os.pathsep.join([ROOT, os.environ.get('PYTHONPATH', '')])}


class ProcessCase(absltest.TestCase):
  """`folder` is the class's own, with tiny_data.WriteAll's data sets in `data_dir`."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = tempfile.TemporaryDirectory()
    cls.addClassCleanup(folder.cleanup)
    cls.folder = folder.name
    cls.data_dir = os.path.join(cls.folder, 'data')
    tiny_data.WriteAll(cls.data_dir)
