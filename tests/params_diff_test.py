"""What has changed since a run's last start is named once."""

from absl.testing import absltest

from fm_lingvo.config import params_diff


def _Text(**values):
  return '\n'.join(f'{name.replace("__", ".")} : {value}' for name, value in values.items())


class DifferencesTest(absltest.TestCase):
  def test_what_the_model_repeats_of_its_task_is_named_once(self):
    before = _Text(task__train__max_steps=40, train__max_steps=40, train__other=1, same=1, cluster__job='a')
    now = _Text(task__train__max_steps=50, train__max_steps=50, train__other=2, same=1, cluster__job='b')
    self.assertEqual(params_diff.Differences(before, now), ['task.train.max_steps: 40 -> 50', 'train.other: 1 -> 2'])

  def test_others_than_the_first_twenty_are_counted(self):
    lines = params_diff.Differences('', _Text(**{f'p{i:02}': i for i in range(23)}))
    self.assertEqual((lines[0], len(lines), lines[-1]), ('p00: (not there) -> 0', 21, 'and 3 more'))


if __name__ == '__main__':
  absltest.main()
