"""Best checkpoints: which ones a run keeps, when it ends early, and what it still knows after a kill.

The checkpoints are files with any content; nothing here builds a graph.
"""

import os

from absl.testing import absltest
from lingvo.core import hyperparams

from fm_lingvo import errors
from fm_lingvo.checkpoints import reader
from fm_lingvo.checkpoints import run_checkpoints
from fm_lingvo.config import train_params
from fm_lingvo.run_files import metrics_log
from fm_lingvo.training import best_checkpoints


def _Params(**changed):
  tp = hyperparams.Params()
  for name in ('save_interval_steps', 'save_max_to_keep', 'async_checkpointing'):
    tp.Define(name, None, '')
  train_params.Define(tp)
  return tp.Set(eval_datasets=['Dev'], best_metric='Dev/labeled/wer', **changed)


class BestCheckpointsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.run_dir = self.create_tempdir().full_path
    self.train_dir = os.path.join(self.run_dir, 'train')
    os.makedirs(self.train_dir)
    self.rows = metrics_log.MetricsLog(self.run_dir)

  def _Best(self, resume=None, **params):
    best = best_checkpoints.BestCheckpoints(_Params(**params), self.run_dir, ['Dev'])
    best.Resume(resume or 0)
    return best

  def _Save(self, step):
    prefix = os.path.join(self.train_dir, f'ckpt-{step:08d}')
    for suffix in ('index', 'data-00000-of-00001'):
      with open(f'{prefix}.{suffix}', 'w', encoding='utf-8') as f:
        f.write(f'{suffix} {step}')
    return prefix

  def _Evaluate(self, best, step, value, keep=True):
    """As the loop does: the row, then the checkpoint."""
    self.rows.Write('Dev', step, {'labeled/wer': value, 'loss': -value})
    return best.Add(step, {'labeled/wer': value}, lambda: self._Save(step)) if keep else None

  def _Kept(self):
    folder = os.path.join(self.run_dir, 'best')
    found = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted(int(name[5:13]) for name in found if name.endswith('.index'))

  def test_the_best_ones_stay_and_the_rest_go(self):
    best = self._Best(best_max_to_keep=2)
    said = [bool(self._Evaluate(best, 10 * i, v)) for i, v in enumerate((0.5, 0.3, 0.4, 0.3, 0.2, 0.9), 1)]
    self.assertEqual(said, [True, True, False, False, True, False])
    self.assertEqual(self._Kept(), [20, 50])  # Of two equal ones the earlier.
    self.assertEqual((best.step, os.path.basename(best.prefix)), (50, 'ckpt-00000050'))
    with self.subTest('they outlive those of the saver'):
      run_checkpoints.Remove(os.path.join(self.train_dir, 'ckpt-00000050'))
      with open(best.prefix + '.data-00000-of-00001', encoding='utf-8') as f:
        self.assertEqual(f.read(), 'data-00000-of-00001 50')
    with self.subTest('no file of the others is left'):
      self.assertLen(os.listdir(os.path.join(self.run_dir, 'best')), 5)

  def test_only_checkpoints_among_the_best_are_saved(self):
    best = self._Best()
    self._Evaluate(best, 10, 0.2)
    best.Add(20, {'labeled/wer': 0.3}, lambda: self.fail('saved'))
    best.Add(30, {'labeled/wer': float('nan')}, lambda: self.fail('saved'))

  def test_higher_is_better_where_params_say_so(self):
    best = self._Best(best_is_highest=True)
    for step, value in ((10, 0.2), (20, 0.4), (30, 0.3)):
      self._Evaluate(best, step, value)
    self.assertEqual(best.step, 20)

  def test_a_run_ends_after_patience_but_not_before_min_steps(self):
    best = self._Best(early_stop_patience=2, early_stop_min_steps=50)
    why = []
    for step, value in ((10, 0.5), (20, 0.4), (30, 0.4), (40, 0.6), (50, 0.5)):
      self._Evaluate(best, step, value)
      why.append(best.WhyEnd(step))
    self.assertEqual(why[:4], [None] * 4)
    self.assertEqual(why[4], 'Dev/labeled/wer has not improved in 3 evaluations, since step 20')
    without = self._Best(resume=50)
    self.assertIsNone(without.WhyEnd(50))

  def test_a_resumed_run_knows_what_it_knew(self):
    for step, value in ((10, 0.5), (20, 0.3), (30, 0.4)):
      self._Evaluate(self._Best(resume=step, early_stop_patience=1), step, value)
    best = self._Best(resume=30, early_stop_patience=1)
    self.assertEqual(
      (best.step, best.WhyEnd(30)), (20, 'Dev/labeled/wer has not improved in 1 evaluations, since step 20')
    )
    with self.subTest('killed between the evaluation and the copy'):
      self._Evaluate(best, 40, 0.1, keep=False)
      best = self._Best(resume=40)
      self.assertEqual(best.step, 20)
      best.Add(40, self.rows.Rows(40)['Dev'], lambda: self._Save(40))
      self.assertEqual((best.step, self._Kept()), (40, [40]))
    with self.subTest('set back to an earlier checkpoint'):
      best = self._Best(resume=30)
      self.assertIsNone(best.step)
      self.assertEqual(self._Kept(), [])

  def test_a_copy_that_was_cut_short_is_removed(self):
    best = self._Best()
    self._Evaluate(best, 10, 0.5)
    part = os.path.join(self.run_dir, 'best', 'ckpt-00000020.data-00000-of-00001')
    with open(part, 'w', encoding='utf-8') as f:
      f.write('part')
    self.assertEqual(self._Best(resume=30).step, 10)
    self.assertFalse(os.path.exists(part))

  def test_a_run_without_the_metric_keeps_nothing(self):
    best = best_checkpoints.BestCheckpoints(_Params().Set(best_metric=None), self.run_dir, [])
    best.Resume(10)
    self.assertIsNone(best.dataset)
    self.assertIsNone(best.step)
    self.assertFalse(os.path.exists(os.path.join(self.run_dir, 'best')))

  def test_a_data_set_without_files_and_an_unknown_metric_are_named(self):
    with self.assertRaisesRegex(errors.ConfigError, r"^task.train.best_metric = 'Dev/labeled/wer': Dev has no files"):
      best_checkpoints.BestCheckpoints(_Params(), self.run_dir, ['Test'])
    with self.assertRaisesRegex(
      errors.ConfigError, "metric = 'labeled/wer': expected one of .*did you mean labelled/wer"
    ):
      self._Best().CheckStart(lambda batches: {'labelled/wer': 1.0, 'loss': 2.0})
    with self.subTest('in a resumed run that was given another metric'):
      with self.assertRaisesRegex(errors.ConfigError, "metric = 'labeled/wer': expected one of loss"):
        self._Best().Add(10, {'loss': 1.0}, lambda: self.fail('saved'))
      self.rows.Write('Dev', 5, {'loss': 1.0, 'labeled/cer': 0.2})
      with self.assertRaisesRegex(errors.ConfigError, "'labeled/wer': expected one of labeled/cer, loss; did you mean"):
        self._Best(resume=10)

  def test_one_batch_is_enough_to_know_the_metric_unless_it_lacks_it(self):
    for found, asked in (({1: {'labeled/wer': 1.0}}, [1]), ({1: {}, None: {'labeled/wer': 1.0}}, [1, None])):
      seen = []
      self._Best().CheckStart(lambda batches, found=found, seen=seen: seen.append(batches) or found[batches])
      self.assertEqual(seen, asked)
    best = self._Best()
    self._Evaluate(best, 10, 0.5)
    self._Best(resume=10).CheckStart(lambda batches: self.fail('a resumed run knows it'))

  def test_tools_and_later_stages_take_the_best_one(self):
    best = self._Best()
    for step, value in ((10, 0.2), (20, 0.4)):
      self._Evaluate(best, step, value)
      self._Save(step)
    train, kept = (os.path.join(self.run_dir, name, 'ckpt-000000') for name in ('train', 'best'))
    self.assertEqual(reader.Resolve(self.run_dir), kept + '10')
    self.assertEqual(run_checkpoints.Find(self.run_dir), kept + '10')
    self.assertEqual(run_checkpoints.Find(self.run_dir, 'best'), kept + '10')
    self.assertEqual(run_checkpoints.Find(self.run_dir, 'newest'), train + '20')
    self.assertEqual(run_checkpoints.Find(self.run_dir, 'ckpt-00000020'), train + '20')
    run_checkpoints.Remove(train + '10')
    self.assertEqual(run_checkpoints.Find(self.run_dir, 'ckpt-00000010'), kept + '10')
    with self.subTest('of a run that keeps none'):
      run_checkpoints.Remove(kept + '10')
      self.assertEqual(run_checkpoints.Find(self.run_dir), train + '20')
      with self.assertRaisesRegex(errors.ConfigError, '^--checkpoint=best: .* keeps no best checkpoint'):
        run_checkpoints.Find(self.run_dir, 'best')
      with self.assertRaisesRegex(errors.ConfigError, '^bset: no such checkpoint.*did you mean best'):
        run_checkpoints.Find(self.run_dir, 'bset')


if __name__ == '__main__':
  absltest.main()
