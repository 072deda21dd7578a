"""A tf.data service: other processes read, batch and augment training speech for the trainers.

What holds of a stream whose batches a service makes (tools/data_service.py starts one):

  - The dispatcher deals the files of epoch after epoch, each epoch in another order, to whichever worker asks. So every
    utterance comes exactly once an epoch; since workers batch on their own, epochs overlap where they meet. Utterances
    are shuffled within their file, as far as shuffle_buffer_size reaches, and files among themselves.
  - A worker that dies loses what it had of its file in that epoch. With none left, training waits.
  - Which batch comes when depends on the workers' speed: two runs see other orders, and a run that goes on from a
    checkpoint begins an epoch of its own.
  - Each trainer of an async cluster has a job of its own on its own share of the data.

Evaluation reads for itself.
"""

import re
import socket
import time

from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.data import resumable_iterator

LAST_EPOCH = 2**40  # Where training would end for want of data: never.
_TIMEOUT_SECONDS = 10.0
_RETRY_SECONDS = 1.0


def CheckAddress(flag, address, wait_seconds=0.0):
  """Raises errors.ConfigError unless something listens where a flag says.

  Args:
    flag: Its name, for the message.
    address: HOST:PORT, or grpc://HOST:PORT.
    wait_seconds: How long to wait for it, >= 0, where jobs start together.
  """
  match = re.fullmatch(r'(?:grpc://)?(\[[^\[\]]+\]|[^:/\s]+):(\d+)', address)
  if not match or not 0 < int(match.group(2)) < 2**16:
    raise errors.ConfigError(f'--{flag}={address}: expected HOST:PORT of a dispatcher')
  deadline = time.monotonic() + wait_seconds
  while True:
    try:
      socket.create_connection((match.group(1).strip('[]'), int(match.group(2))), _TIMEOUT_SECONDS).close()
      return
    except OSError as e:
      if time.monotonic() >= deadline:
        raise errors.ConfigError(
          f'--{flag}={address}: no dispatcher to be reached ({e}); start one with: fm-data-service dispatcher'
        ) from e
    time.sleep(_RETRY_SECONDS)


def FilesOfEpochs(first_epoch, num_files, seed, shuffle):
  """Dataset of the files of epoch after epoch: int64 scalars (epoch, file in [0, num_files)).

  Its source is one range of numbers, a number for each file of each epoch, which a service deals out one by one.

  Args:
    first_epoch: int64 scalar tensor.
    num_files: > 0.
    seed: int >= 0.
    shuffle: whether the order is another one in each epoch.
  """

  def File(number):
    epoch, position = number // num_files, number % num_files
    if not shuffle:
      return epoch, position
    order = tf.argsort(tf.random.stateless_uniform([num_files], tf.stack([tf.constant(seed, tf.int64), epoch])))
    return epoch, tf.cast(order[position], tf.int64)

  return tf.data.Dataset.range(first_epoch * num_files, LAST_EPOCH * num_files).map(File)


def Distribute(ds, address):
  """The dataset `ds`, its source dealt out to the workers of a service.

  Args:
    ds: tf.data.Dataset without end and without resources of this process.
    address: see CheckAddress.
  """
  return ds.with_options(resumable_iterator.Options()).apply(
    tf.data.experimental.service.distribute(
      processing_mode=tf.data.experimental.service.ShardingPolicy.DYNAMIC,
      service=address if '://' in address else f'grpc://{address}',
    )
  )
