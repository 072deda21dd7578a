"""Standard error is held back: chatter stays away, all else is shown, and everything is where something failed."""

import os
import tempfile

from absl.testing import absltest

from fm_lingvo.runtime import quiet


class HoldStderrTest(absltest.TestCase):
  def _Shown(self, *args, fails=False):
    """What three lines written inside the context leave on standard error."""
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as shown:
      os.dup2(shown.fileno(), 2)
      try:
        with quiet.HoldStderr(*args):
          os.write(2, b'one\ntwo\nthree\n')
          if fails:
            raise ValueError('failed')
      except ValueError:
        pass
      finally:
        os.dup2(stderr, 2)
        os.close(stderr)
      shown.seek(0)
      return shown.read()

  def test_nothing_is_shown_without_an_error(self):
    self.assertEqual(self._Shown(), b'')

  def test_all_but_the_chatter_is_shown_where_it_is_named(self):
    self.assertEqual(self._Shown(b'tw'), b'one\nthree\n')

  def test_all_is_shown_of_what_failed(self):
    for args in ((), (b'tw',)):
      self.assertEqual(self._Shown(*args, fails=True), b'one\ntwo\nthree\n')


if __name__ == '__main__':
  absltest.main()
