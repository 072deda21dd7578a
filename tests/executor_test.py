"""Lingvo's executor for TPUs, as far as a CPU goes: `--job=executor_tpu` builds its programs, and ends where they run.

A TPU first tells how its cores are wired; here a stand-in for one core answers. All that follows is real: the programs
of the experiment's ProgramSchedule(), their graphs for that core, the infeed and the checkpointer.
"""

from unittest import mock

import numpy as np
import pytest
from absl.testing import flagsaver
from lingvo import base_trial
from lingvo import executor
from lingvo import model_registry
from lingvo.core import cluster_factory
from lingvo.core import py_utils
from tensorflow.python.tpu import topology

from fm_lingvo.checkpoints import checkpointer
from fm_lingvo.config import gin_config
from tests import graph_case
from tests import run_case

tf = graph_case.tf


def _OneCore(*unused_args, **unused_kwargs):
  """In place of tf.tpu.initialize_system: the topology of a TPU of one core."""
  return tf.constant(
    topology.Topology(mesh_shape=[1, 1, 1, 1], device_coordinates=np.zeros([1, 1, 4], np.int32)).serialized()
  )


@pytest.mark.slow
class ExecutorTest(graph_case.GraphCase):
  def _Executor(self, logdir):
    """The runner of --job=executor_tpu for a tiny experiment."""
    data = self.create_tempdir().full_path
    run_case.WriteData(data)
    run_case.Configure(
      'asr.Supervised',
      data,
      'input.streams.labeled.bucket_upper_bound_seconds = [4.0]',
      'input.streams.labeled.bucket_batch_size = [2]',
    )
    self.addCleanup(gin_config.Reset)
    cluster = (
      cluster_factory.Current().params.Copy().Set(mode='sync', job='executor_tpu', xla_device='tpu', logdir=logdir)
    )
    cluster.worker.Set(name='/job:localhost', replicas=1, tpus_per_replica=1, num_tpu_hosts=1, devices_per_split=1)
    cluster.ps.Set(name='/job:localhost', replicas=1)
    checkpointer.PatchLingvo()
    schedules, train = executor.GetExecutorParams('asr.Supervised', cluster, model_registry)
    with mock.patch.object(tf.tpu, 'initialize_system', _OneCore), mock.patch.object(py_utils, 'use_tpu', lambda: True):
      return executor.ExecutorTpu(train, schedules, '', logdir, '', base_trial.NoOpTrial())

  @flagsaver.flagsaver(enable_asserts=False, enable_check_numerics=False)  # A TPU knows neither.
  def test_programs_are_built_with_static_shapes_and_a_cpu_cannot_run_them(self):
    logdir = self.create_tempdir().full_path
    runner = self._Executor(logdir)
    program = runner._programs[0]
    self.assertEqual(type(program).__name__, 'TrainProgram')
    graph = runner._graph
    types = {op.type for op in graph.get_operations()}
    self.assertContainsSubset({'TPUReplicateMetadata', 'InfeedEnqueueTuple'}, types)
    # What the infeed hands over is static: a TPU compiles it once.
    for op in graph.get_operations():
      if op.type == 'InfeedEnqueueTuple':
        self.assertNotEmpty(op.inputs)
        for x in op.inputs:
          self.assertTrue(x.shape.is_fully_defined(), x)
    self.assertIsInstance(runner._checkpointer, checkpointer.Checkpointer)
    # A session places the whole graph before it runs any of it.
    with graph.as_default(), tf.Session(graph=graph) as sess:
      with self.assertRaisesRegex(tf.errors.InvalidArgumentError, "No OpKernel .* 'InfeedEnqueueTuple'"):
        sess.run(tf.global_variables_initializer())


if __name__ == '__main__':
  graph_case.absltest.main()
