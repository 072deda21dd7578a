"""A traced step: its table of operations, its timeline, and what is refused."""

import json
import os
import tempfile

from absl.testing import absltest
from lingvo import compat as tf
from tensorflow.core.framework import step_stats_pb2

from fm_lingvo import errors
from fm_lingvo.run_files import step_trace
from tests import graph_case


def _Node(stats, name, label, start, end):
  stats.node_stats.add(node_name=name, timeline_label=label, op_start_rel_micros=start, op_end_rel_micros=end)


class StepTraceTest(graph_case.GraphCase):
  def test_kinds_of_operations_are_sorted_by_their_time_without_those_that_call_others(self):
    stats = step_stats_pb2.StepStats()
    device = stats.dev_stats.add(device='/device:CPU:0')
    _Node(device, 'a', 'a = Mul(x, y)', 5, 1005)
    _Node(device, 'b', 'b = MatMul(x, y)', 0, 6000)
    _Node(device, 'c', 'c = Mul(a, y)', 0, 1000)
    _Node(device, 'f', 'f = StatefulPartitionedCall(a, b)', 0, 9000)
    _Node(device, 'scope/copy:MEMCPYHtoD', '', 0, 2000)
    self.assertEqual(
      step_trace.Table(stats, 0.0125),
      '12.5 ms for the step while it was traced, which takes longer than others\n'
      '\n'
      '/device:CPU:0: 4 operations, 10.0 ms\n'
      '        ms   share   number  kind\n'
      '      6.00   60.0%        1  MatMul\n'
      '      2.00   20.0%        2  Mul\n'
      '      2.00   20.0%        1  MEMCPYHtoD\n',
    )

  def test_one_step_is_traced_with_the_values_that_it_has_without(self):
    # A session, since TensorFlow alone writes such statistics.
    with tempfile.TemporaryDirectory() as logdir, tf.Graph().as_default():
      trace, lines = step_trace.StepTrace(logdir, 3), []
      product = tf.matmul(tf.random.stateless_uniform([8, 8], [1, 2]), tf.ones([8, 8]))
      with tf.Session() as sess:
        values = [trace.Run(sess, step, {'product': product}, lines.append)['product'] for step in (2, 3, 4)]
      self.assertEqual(values[0].tolist(), values[1].tolist())
      folder = os.path.join(logdir, 'trace')
      self.assertCountEqual(os.listdir(folder), ['step-3.txt', 'step-3.json'])
      self.assertEqual(
        lines, [f'step 3 traced: {folder}/step-3.txt, and {folder}/step-3.json for https://ui.perfetto.dev']
      )
      with open(os.path.join(folder, 'step-3.txt'), encoding='utf-8') as f:
        self.assertRegex(f.read(), r'(?m) 1  \w*MatMul$')
      with open(os.path.join(folder, 'step-3.json'), encoding='utf-8') as f:
        self.assertTrue(any('MatMul' in event['name'] for event in json.load(f)['traceEvents']))

  def test_a_run_that_resumes_after_the_step_is_refused(self):
    step_trace.StepTrace('', 3).CheckStart(2)
    step_trace.StepTrace('', 0).CheckStart(2)
    with self.assertRaisesRegex(errors.ConfigError, '^--trace_step=3: expected a step after 3, where the run resumes$'):
      step_trace.StepTrace('', 3).CheckStart(3)

  def test_a_folder_that_cannot_be_written_is_named(self):
    with tempfile.NamedTemporaryFile() as file, tf.Graph().as_default(), tf.Session() as sess:
      with self.assertRaisesRegex(errors.RunError, f'^{file.name}/trace: '):
        step_trace.StepTrace(file.name, 1).Run(sess, 1, tf.constant(1), print)


if __name__ == '__main__':
  absltest.main()
