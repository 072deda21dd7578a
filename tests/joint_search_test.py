"""Hypotheses of batches that are searched together are those of each batch."""

import functools
import types

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo.evaluation import joint_search
from fm_lingvo.heads import base_head
from tests import graph_case


class _Recognition:
  """Stands for hypotheses.Recognition: keeps what it is given."""

  branch = 'a'

  def __init__(self, fetches):
    self.fetches, self.batches = fetches, []

  def Add(self, values):
    self.batches.append(values)

  def Finish(self):
    return {'wer': 0.5}, [str(name) for batch in self.batches for name in batch['utt_ids']]


class JointSearchTest(graph_case.GraphCase):
  """The search is a toy: the sum of the frames that are no padding."""

  def setUp(self):
    super().setUp()
    self.encoded = tf.placeholder(tf.float32, [None, None, 2])
    self.paddings = tf.placeholder(tf.float32, [None, None])
    self.Eval(tf.zeros([]))  # Opens the session.

  def _Search(self, searches, batch=None):
    encoded = tf.placeholder_with_default(self.encoded, [batch, None, 2])

    def Decode(theta, frames, paddings):
      del theta
      return py_utils.NestedMap(sums=tf.reduce_sum(frames * (1.0 - paddings)[..., tf.newaxis], axis=[1, 2]))

    self.utt_ids, self.weights = tf.placeholder(tf.string, [None]), tf.placeholder(tf.float32, [None])
    is_joint = functools.partial(base_head.BaseHead.SearchesJointly, types.SimpleNamespace(searches=searches))
    task = types.SimpleNamespace(
      per_example_tensors={'a/encoded': encoded, 'a/encoded_paddings': self.paddings},
      branches=[('a', types.SimpleNamespace(head='h'))],
      Head=lambda name: types.SimpleNamespace(SearchesJointly=is_joint, Decode=Decode),
      theta={'h': None},
    )
    fetches = {'utt_ids': self.utt_ids, 'weights': self.weights}
    if not is_joint(encoded):  # Else the task leaves it to joint_search.
      fetches['hyp_sums'] = Decode(None, encoded, self.paddings).sums
    self.recognition = _Recognition(fetches)
    return joint_search.Search(task, self.recognition)

  def _Add(self, search, seed, rows, frames):
    rng = np.random.RandomState(seed)
    lengths = rng.randint(1, frames + 1, [rows, 1])
    feed = {
      self.encoded: rng.randn(rows, frames, 2),
      self.paddings: np.arange(frames) >= lengths,
      self.utt_ids: [f'{seed}-{i}'.encode() for i in range(rows)],
      self.weights: np.ones([rows]),
    }
    sums = (feed[self.encoded] * (1 - feed[self.paddings])[..., np.newaxis]).sum(axis=(1, 2))
    search.Add(self._session, self._session.run(search.fetches, feed))
    return sums

  def test_each_batch_gets_its_own_rows_in_order(self):
    search = self._Search(searches=True)
    expected = [self._Add(search, seed, rows, frames) for seed, (rows, frames) in enumerate([(30, 4), (40, 9), (3, 2)])]
    self.assertLen(self.recognition.batches, 2)  # The third waits for more.
    scores, rows = search.Finish(self._session)
    self.assertEqual(scores, {'wer': 0.5})
    self.assertLen(rows, 73)
    self.assertLen(self.recognition.batches, 3)
    for batch, sums in zip(self.recognition.batches, expected):
      np.testing.assert_allclose(batch['hyp_sums'], sums, rtol=1e-4, atol=1e-4)

  def test_a_second_pass_begins_anew(self):
    search = self._Search(searches=True)
    self._Add(search, 1, 2, 3)
    search.Finish(self._session)
    self._Add(search, 2, 2, 3)
    search.Finish(self._session)
    self.assertLen(self.recognition.batches, 2)

  def test_greedy_decoding_and_static_shapes_stay_as_they_are(self):
    for searches, batch in ((False, None), (True, 5)):
      search = self._Search(searches, batch)
      self.assertIn('hyp_sums', search.fetches)


if __name__ == '__main__':
  absltest.main()
