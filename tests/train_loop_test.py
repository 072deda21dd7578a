"""The loop of a local run: whenever a signal comes, the run ends with a checkpoint of its last step.

Builds the training graph of a tiny model once; evaluations are replaced.
"""

import contextlib
import io
import os
import signal
from unittest import mock

from lingvo import model_registry

from fm_lingvo.checkpoints import run_checkpoints
from fm_lingvo.config import gin_config
from fm_lingvo.training import stop_signals
from fm_lingvo.training import train_loop
from params import asr
from tests import graph_case
from tests import tiny_data


class SignalTest(graph_case.GraphCase):
  def _Runner(self, folder):
    data_dir = os.path.join(folder, 'data')
    tiny_data.WriteAll(data_dir)
    knobs = {'data_dir': data_dir, 'max_steps': 9, 'summary_interval_steps': 2, 'save_interval_steps': 5}
    bindings = [f'BestRqPretrain.{name} = {value!r}' for name, value in knobs.items()]
    train = ["task.train.eval_datasets = ['DevHuman']", 'task.train.eval_interval_steps = 3']
    gin_config.Configure('asr.BestRqPretrain', [], [*tiny_data.Bindings(asr.BestRqPretrain), *bindings, *train])
    self.addCleanup(gin_config.Reset)
    params = {name: model_registry.GetParams('asr.BestRqPretrain', name) for name in ('Train', 'DevHuman')}
    return train_loop.LocalRunner(params['Train'], {'DevHuman': params['DevHuman']}, os.path.join(folder, 'run'), '')

  def test_a_signal_between_two_checkpoints_saves_one(self):
    folder = self.create_tempdir().full_path
    runner = self._Runner(folder)
    write = runner._WriteTrain

    def _WriteTrain(*args):
      runner.RequestStop(signal.SIGTERM)
      return write(*args)

    def _Evaluate(*unused):
      runner.RequestStop(signal.SIGTERM)

    for method, function, step in (('_WriteTrain', _WriteTrain, 2), ('_Evaluate', _Evaluate, 3)):
      runner.RequestStop(None)
      with (
        self.subTest(method),
        mock.patch.object(runner, method, function),
        contextlib.redirect_stdout(io.StringIO()),
        self.assertRaisesRegex(stop_signals.Interrupted, f'^SIGTERM: checkpoint at step {step} saved'),
      ):
        runner.Start()
      self.assertEqual(run_checkpoints.Step(run_checkpoints.Newest(os.path.join(folder, 'run/train'))), step)


if __name__ == '__main__':
  graph_case.absltest.main()
