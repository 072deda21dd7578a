"""The trainer, run as a job of a cluster, that also writes which utterances it has read.

  python -m tests.spying_trainer SPY_FILE [flags of the trainer]

Each line of SPY_FILE is a batch of training: utterances with spaces between them.
"""

import sys

from lingvo import compat as tf

from fm_lingvo import trainer
from fm_lingvo.data import hydra_input


def Spy(path):
  """Has every batch of the stream `unlabeled` written to a file as it is taken."""
  original = hydra_input.HydraInput._InputBatch

  def _InputBatch(self):
    batch = original(self)
    line = tf.strings.reduce_join(batch.unlabeled.domains + '/' + batch.unlabeled.utt_ids, separator=' ')
    with tf.control_dependencies([tf.print(line, output_stream=f'file://{path}')]):
      batch.unlabeled.weights = tf.identity(batch.unlabeled.weights)
    return batch

  hydra_input.HydraInput._InputBatch = _InputBatch


if __name__ == '__main__':
  Spy(sys.argv.pop(1))
  sys.exit(trainer.Main(sys.argv))
