"""Base class of tests that run clusters as real processes, which are forked from one that has imported TensorFlow."""

import os

from tests import fork_server
from tests import process_case


class ClusterCase(process_case.ProcessCase):
  """`python` starts commands, tests/fork_server.py; their jobs wait less for one another, tests/cluster_preload.py."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.python = os.path.join(cls.folder, 'python')
    cls.enter_context(fork_server.Server(process_case.ROOT, 'tests.cluster_preload')).WriteProgram(cls.python)
