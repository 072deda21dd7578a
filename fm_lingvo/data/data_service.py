"""A tf.data service: separate processes read, batch and augment training speech for the trainers.

Properties of a stream whose batches come from a service (tools/data_service.py starts one):

  - The dispatcher assigns the files of each epoch, in a new order per epoch, to the next worker that is free. Every
    utterance therefore occurs exactly once per epoch. Workers batch independently, so consecutive epochs overlap.
    Utterances are shuffled within their file, in a buffer of shuffle_buffer_size, and files among each other.
  - If a worker dies, the rest of its file is lost for that epoch. If no worker is left, training waits.
  - The order of batches depends on the workers' speed: it differs between two runs, and a run that resumes from a
    checkpoint starts a new epoch.
  - Each trainer of an async cluster has its own job on its own share of the data.

Evaluation does not use the service.
"""

import re
import socket
import time

from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.data import resumable_iterator

LAST_EPOCH = 2**40  # A bound that training never reaches.
_TIMEOUT_SECONDS = 10.0
_RETRY_SECONDS = 1.0


def CheckAddress(flag, address, wait_seconds=0.0):
  """Raises errors.ConfigError unless a server accepts connections at the address of a flag.

  Args:
    flag: Name of the flag, for the message.
    address: HOST:PORT, or grpc://HOST:PORT.
    wait_seconds: Seconds to wait for the server, >= 0, since jobs may start at the same time.
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
          f'--{flag}={address}: cannot connect to a dispatcher ({e}); start one with: fm-data-service dispatcher'
        ) from e
    time.sleep(_RETRY_SECONDS)


def FilesOfEpochs(first_epoch, num_files, seed, shuffle):
  """Returns a dataset of the files of all epochs: int64 scalars (epoch, file in [0, num_files)).

  Its source is a single range with one number per file and epoch, which a service distributes one by one.

  Args:
    first_epoch: int64 scalar tensor.
    num_files: Number of files, > 0.
    seed: Seed of the order, int >= 0.
    shuffle: Whether the order changes in each epoch.
  """

  def File(number):
    epoch, position = number // num_files, number % num_files
    if not shuffle:
      return epoch, position
    order = tf.argsort(tf.random.stateless_uniform([num_files], tf.stack([tf.constant(seed, tf.int64), epoch])))
    return epoch, tf.cast(order[position], tf.int64)

  return tf.data.Dataset.range(first_epoch * num_files, LAST_EPOCH * num_files).map(File)


def Distribute(ds, address):
  """Returns the dataset `ds`, computed by the workers of a service that share its source.

  Args:
    ds: Infinite tf.data.Dataset that uses no resources of this process.
    address: See CheckAddress.
  """
  return ds.with_options(resumable_iterator.Options()).apply(
    tf.data.experimental.service.distribute(
      processing_mode=tf.data.experimental.service.ShardingPolicy.DYNAMIC,
      service=address if '://' in address else f'grpc://{address}',
    )
  )
