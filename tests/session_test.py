"""A forward pass alone gives what it gives beside the gradients."""

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf

from fm_lingvo.layers import conformer_encoder
from fm_lingvo.runtime import session
from tests import graph_case


class SessionTest(graph_case.GraphCase):
  def test_graph_optimisation_does_not_change_an_encoding(self):
    with self.EvalMode():
      p = conformer_encoder.ConformerEncoder.Params().Set(model_dim=144, num_layers=2)
      p.num_bins = 80
      p.subsampling.kind = 'stack'
      layer = self.Layer(p)
    features = np.random.RandomState(0).randn(8, 200, 80).astype(np.float32)
    x, _ = layer.FProp(layer.theta, tf.constant(features), tf.zeros([8, 200]))
    saver = tf.train.Saver()
    with graph_case.Optimised(), tf.Session(config=session.Config()) as sess:
      sess.run(tf.global_variables_initializer())
      optimised = sess.run(x)
      path = saver.save(sess, self.create_tempdir().full_path + '/ckpt')
    plain = tf.tf1.ConfigProto()
    plain.graph_options.rewrite_options.disable_meta_optimizer = True
    with tf.Session(config=plain) as sess:
      saver.restore(sess, path)
      np.testing.assert_allclose(optimised, sess.run(x), atol=1e-3)


if __name__ == '__main__':
  absltest.main()
