"""Windows of several threads in shared batches: each gets its own result, none waits for ever, a cancelled one ends."""

import concurrent.futures
import threading
import time
from unittest import mock

import numpy as np
from absl.testing import absltest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies

from fm_lingvo import errors
from fm_lingvo.inference import shared_batches
from tests import serving_case


def _Until(condition):
  deadline = time.monotonic() + 10
  while not condition():
    if time.monotonic() > deadline:
      raise AssertionError('never became so')
    time.sleep(0.001)


class ChooseTest(absltest.TestCase):
  @settings(max_examples=200, deadline=None)
  @given(strategies.lists(strategies.integers(1, 40 * 16000), min_size=1, max_size=40), strategies.integers(1, 20))
  def test_the_first_goes_with_others_of_its_length_within_the_bounds(self, lengths, max_batch):
    chosen = shared_batches.Choose(lengths, max_batch)
    self.assertIn(0, chosen)
    self.assertLessEqual(len(chosen), max_batch)
    of = [lengths[i] for i in chosen]
    if len(of) > 1:
      self.assertLessEqual(max(of) * len(of), shared_batches.BATCH_SECONDS * 16000)
      self.assertGreaterEqual(2 * min(of), max(of))

  def test_the_nearest_in_length_are_preferred(self):
    self.assertEqual(shared_batches.Choose([100, 190, 110, 60, 105], 3), {0, 2, 4})


class SharedBatchesTest(absltest.TestCase):
  def _Start(self, **options):
    self.recognizer = serving_case.Recognizer()
    self.seen = []
    batches = shared_batches.SharedBatches(
      self.recognizer, watch=lambda size, seconds: self.seen.append(size), **options
    )
    self.addCleanup(batches.Close)
    self.addCleanup(self.recognizer.go.set)
    return batches

  def test_every_thread_gets_the_results_of_its_own_windows(self):
    batches = self._Start(max_wait=0.05)
    own = serving_case.Recognizer()
    asked = [[serving_case.Spoken(0.5 * (1 + (i + k) % 3), 10 * i + k) for k in range(1 + i % 3)] for i in range(12)]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
      found = list(pool.map(lambda w: shared_batches.Caller(batches).Recognize(w), asked))
    self.assertEqual(found, [own.Recognize(w) for w in asked])
    self.assertEqual(sum(self.seen), sum(map(len, asked)))
    self.assertEqual(self.seen, self.recognizer.batches)
    self.assertLess(len(self.seen), 12)

  def test_a_batch_does_not_wait_when_it_is_full(self):
    batches = self._Start(max_batch=2, max_wait=30.0)
    sounds = [serving_case.Spoken(1, i) for i in range(4)]
    started = time.monotonic()
    self.assertLen(shared_batches.Caller(batches).Recognize(sounds), 4)
    self.assertLess(time.monotonic() - started, 10)
    self.assertEqual(self.recognizer.batches, [2, 2])

  def test_a_short_window_is_not_put_to_long_ones_and_does_not_starve(self):
    batches = self._Start(max_batch=4)
    lengths = [8, 1, 8, 8, 1]
    found = shared_batches.Caller(batches).Recognize([serving_case.Spoken(n, n) for n in lengths])
    self.assertEqual([len(hypotheses[0].words) for hypotheses in found], [4 * n for n in lengths])
    self.assertEqual(self.recognizer.batches, [3, 2])

  def test_an_error_is_raised_in_the_threads_of_its_batch_alone(self):
    batches = self._Start()
    self.recognizer.error = MemoryError('too large')
    with self.assertRaisesRegex(MemoryError, 'too large'):
      shared_batches.Caller(batches).Recognize([serving_case.Spoken(1)])
    self.recognizer.error = None
    self.assertLen(shared_batches.Caller(batches).Recognize([serving_case.Spoken(1)]), 1)

  def test_no_caller_waits_for_a_thread_that_has_ended(self):
    def _Watch(size, seconds):
      raise OSError('no metrics')

    batches = shared_batches.SharedBatches(serving_case.Recognizer(), watch=_Watch)
    with mock.patch.object(threading, 'excepthook') as reported, concurrent.futures.ThreadPoolExecutor(1) as pool:
      shared_batches.Caller(batches).Recognize([serving_case.Spoken(1)])
      job = pool.submit(shared_batches.Caller(batches).Recognize, [serving_case.Spoken(1)])
      self.addCleanup(batches.Close)
      with self.assertRaises(shared_batches.Cancelled):
        job.result(5)
    self.assertIs(reported.call_args.args[0].exc_type, OSError)

  def test_a_recognizer_that_loses_windows_is_an_error(self):
    recognizer = serving_case.Recognizer()
    batches = shared_batches.SharedBatches(mock.Mock(Recognize=lambda waveforms: recognizer.Recognize(waveforms)[1:]))
    self.addCleanup(batches.Close)
    with concurrent.futures.ThreadPoolExecutor(1) as pool, self.assertRaises(ValueError):
      pool.submit(shared_batches.Caller(batches).Recognize, [serving_case.Spoken(1)]).result(5)

  def test_a_cancelled_caller_ends_at_once_and_the_others_do_not(self):
    batches = self._Start(max_wait=0.0)
    self.recognizer.go.clear()
    callers = [shared_batches.Caller(batches) for _ in range(3)]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
      jobs = []
      for i, caller in enumerate(callers):
        jobs.append(pool.submit(caller.Recognize, [serving_case.Spoken(1, i)]))
        _Until(lambda: batches.waiting == max(0, i) and len(self.recognizer.batches) == 1)
      callers[1].Cancel()
      with self.assertRaises(shared_batches.Cancelled):
        jobs[1].result(5)
      self.assertEqual(batches.waiting, 1)
      self.recognizer.go.set()
      self.assertLen(jobs[0].result(5), 1)
      self.assertLen(jobs[2].result(5), 1)
    with self.assertRaises(shared_batches.Cancelled):
      callers[1].Recognize([serving_case.Spoken(1)])
    self.assertEqual(self.recognizer.batches, [1, 1])

  def test_close_cancels_what_waits_and_ends_the_thread(self):
    batches = self._Start(max_wait=30.0)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
      job = pool.submit(shared_batches.Caller(batches).Recognize, [serving_case.Spoken(1)])
      _Until(lambda: batches.waiting == 1)
      batches.Close()
      with self.assertRaises(shared_batches.Cancelled):
        job.result(5)
    batches.Close()
    with self.assertRaises(shared_batches.Cancelled):
      shared_batches.Caller(batches).Recognize([np.zeros([100], np.int16)])
    self.assertNotIn('shared batches', [thread.name for thread in threading.enumerate()])

  def test_numbers_out_of_range_are_refused(self):
    for options in (dict(max_batch=0), dict(max_wait=-1.0), dict(max_wait=float('nan'))):
      with self.assertRaisesRegex(errors.ConfigError, 'expected >= 1, and 0 to 60 s'):
        shared_batches.SharedBatches(None, **options)


class ModelTest(absltest.TestCase):
  def test_results_are_those_of_the_model_alone(self):
    recognizer = serving_case.Recognizer()
    model = serving_case.Model(recognizer)
    batches = shared_batches.SharedBatches(model.recognizer)
    self.addCleanup(batches.Close)
    sounds = [(serving_case.Spoken(seconds, i), 16000) for i, seconds in enumerate((0.5, 11, 3, 4, 25, 1.75, 4.25))]
    alone = [model.transcribe(sound) for sound in sounds]
    self.assertGreater(alone[4].windows, 5)
    with concurrent.futures.ThreadPoolExecutor(7) as pool:
      found = list(
        pool.map(lambda sound: model.with_recognizer(shared_batches.Caller(batches)).transcribe(sound), sounds)
      )
    self.assertEqual(found, alone)


if __name__ == '__main__':
  absltest.main()
