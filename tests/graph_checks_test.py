"""Lingvo's checks at run time are off in recognition, unless the command line has their flags."""

from absl import flags
from absl.testing import absltest
from absl.testing import flagsaver
from lingvo.core import py_utils  # noqa: F401 Defines the flags.

from fm_lingvo.inference import graph_mode
from fm_lingvo.runtime import graph_checks
from tests import graph_case  # noqa: F401 Parses the flags.


class GraphChecksTest(absltest.TestCase):
  def _Values(self):
    return flags.FLAGS.enable_asserts, flags.FLAGS.enable_check_numerics

  @flagsaver.flagsaver(enable_asserts=True, enable_check_numerics=True)
  def test_graphs_of_recognition_have_none_and_those_after_it_have_them_again(self):
    with graph_mode.GraphMode():
      self.assertEqual(self._Values(), (False, False))
    self.assertEqual(self._Values(), (True, True))

  def test_a_flag_of_the_command_line_stays(self):
    with flagsaver.as_parsed(enable_asserts='true'):
      before = graph_checks.TurnOff()
      self.assertEqual(self._Values(), (True, False))
      graph_checks.Restore(before)
      self.assertTrue(flags.FLAGS.enable_asserts)


if __name__ == '__main__':
  absltest.main()
