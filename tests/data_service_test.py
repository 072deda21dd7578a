"""A tf.data service of real processes: what it guarantees of the data, and a run that trains from it.

The trainer's folder `here` and the workers' folder `there` hold other speech under the same names: what arrives shows
who has read it.
"""

import argparse
import collections
import os
import signal
import socket
import tempfile
import threading
from unittest import mock

import pytest
from absl.testing import absltest
from lingvo import compat as tf
from lingvo.core import cluster_factory

from fm_lingvo import errors
from fm_lingvo.data import data_service
from fm_lingvo.data import hydra_input as input_lib
from fm_lingvo.data import tokenizer
from fm_lingvo.data import waveform_augment
from fm_lingvo.run_files import metrics_log
from tests import process_case
from tests import sounds_case
from tests import tiny_data
from tests.faults import processes
from tools import data_service as service

_TOKENIZER = os.path.join(process_case.ROOT, 'params/tokenizers/graphemes_en.model')
_FILES, _UTTERANCES, _EPOCHS = 4, 5, 3
_HERE_SECONDS, _THERE_SECONDS = 0.6, 1.5


def _WriteShards(folder, name, seconds):
  """Shards of speech of `seconds` and up to 0.4 s more."""
  for i in range(_FILES):
    shard = f'data/human/train-0000{i}-of-0000{_FILES}.tfrecord'
    tiny_data.Write(os.path.join(folder, shard), _UTTERANCES, seconds, domain=f'{name}/{i}')


class DataServiceTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = tempfile.TemporaryDirectory()
    cls.addClassCleanup(folder.cleanup)
    cls.here, cls.there = (os.path.join(folder.name, name) for name in ('here', 'there'))
    _WriteShards(cls.here, 'here', _HERE_SECONDS)
    _WriteShards(cls.there, 'there', _THERE_SECONDS)
    cls.addClassCleanup(os.chdir, os.getcwd())
    os.chdir(cls.here)
    cls.address = cls._Start('dispatcher', '--port=0')
    for _ in range(2):
      cls._Start('worker', f'--dispatcher={cls.address}')

  @classmethod
  def _Start(cls, *argv):
    """Starts a process of tools.data_service; returns the address in its line."""
    process = processes.Started(['data_service', *argv], cls.there, module='tools.data_service')
    cls.addClassCleanup(cls._Stop, process)
    return process.WaitFor(rf'\A{argv[0]}: ready, (\S+)\n\Z').group(1)

  @classmethod
  def _Stop(cls, process):
    process.Kill(signal.SIGTERM)
    done = process.Wait(60)
    assert done.code == 143, done

  def _Params(self, **fields):
    p = input_lib.HydraInput.Params().Set(random_seed=3)
    stream = input_lib.AddStream(p, 'labeled', input_lib.StreamParams())
    stream.Set(
      file_pattern='data/human/train-*.tfrecord',
      labeled=True,
      tokenizer_file=_TOKENIZER,
      batch_size=3,
      bucket_upper_bound_seconds=[1.7, 2.0],
      shuffle_buffer_size=8,
      augment=waveform_augment.Params(),
    )
    stream.Set(**fields)
    return p

  def _Read(self, p, epochs=_EPOCHS):
    """Batches of so many epochs, as a trainer with the service gets them."""
    cluster = (
      cluster_factory.Current()
      .params.Copy()
      .Set(job='trainer_client', mode='sync', tf_data_service_address=self.address, do_eval=False)
    )
    batches = []
    with (
      mock.patch.object(data_service, 'LAST_EPOCH', epochs),
      tf.Graph().as_default(),
      cluster_factory.Cluster(cluster),
    ):
      generator = p.Instantiate()
      batch = generator.GetPreprocessedInputBatch().labeled
      with tf.Session() as sess:
        generator.Initialize(sess)
        try:
          while True:
            batches.append(sess.run(batch))
        except tf.errors.OutOfRangeError:
          return batches

  def _Count(self, batches):
    """How often each (domain, utterance) came."""
    return collections.Counter(
      (domain.decode(), utt_id.decode())
      for b in batches
      for domain, utt_id, weight in zip(b.domains, b.utt_ids, b.weights)
      if weight
    )

  def test_every_utterance_comes_from_the_service_once_an_epoch(self):
    # Those of 1.9 s and more are too long: the last one of each file.
    batches = self._Read(self._Params(bucket_upper_bound_seconds=[1.6, 1.85]))
    self.assertEqual(
      self._Count(batches), {(f'there/{i}', f'utt-{k}'): _EPOCHS for i in range(_FILES) for k in range(_UTTERANCES - 1)}
    )
    # Each worker counts what it drops; the sum never goes down.
    dropped = [int(b.dropped_too_long[0]) for b in batches]
    self.assertEqual(dropped, sorted(dropped))
    self.assertEqual(dropped[-1], _EPOCHS * _FILES)
    labels = tokenizer.Tokenizer(_TOKENIZER).EncodeText('some words')
    for b in batches:
      self.assertEqual(b.waveforms.dtype, 'float32')
      for row, length, weight in zip(b.labels, b.label_lengths, b.weights):
        self.assertEqual(row[:length].tolist(), labels if weight else [])

  def test_the_service_s_workers_cut_and_mix_in_what_the_trainer_has_recorded(self):
    # The workers do not have the folder of noise.
    sounds_case.WriteNoise(os.path.join(self.here, 'noise'))
    augment = waveform_augment.Params().Set(speed_range=None, effects_prob=0.0, gain_db_range=None)
    augment.recorded.Set(noise_dir='noise', noise_prob=1.0)
    p = self._Params(labeled=False, tokenizer_file='', bucket_upper_bound_seconds=[1.2], batch_size=1, augment=None)
    plain = {utt_id: wave for b in self._Read(p, 1) for utt_id, wave in zip(b.utt_ids, b.waveforms)}
    self.assertTrue(all(b'@' in utt_id for utt_id in plain))
    p.streams.labeled.augment = augment
    batches = self._Read(p, 1)
    self.assertEqual(batches[-1].cut[0], _FILES * _UTTERANCES)
    for b in batches:
      self.assertFalse((b.waveforms[0] == plain[b.utt_ids[0]]).all())

  def test_trainers_that_share_the_data_get_disjoint_parts(self):
    parts = [self._Count(self._Read(self._Params().Set(num_workers=2, worker_index=i), epochs=1)) for i in range(2)]
    self.assertEqual(
      parts[0] + parts[1], {(f'there/{i}', f'utt-{k}'): 1 for i in range(_FILES) for k in range(_UTTERANCES)}
    )
    self.assertLen(parts[0], _FILES * _UTTERANCES // 2)

  def test_epochs_have_an_order_of_their_own(self):
    with tf.Graph().as_default(), tf.Session() as sess:

      def Order(first, shuffle=True):
        files = data_service.FilesOfEpochs(tf.constant(first, tf.int64), 6, 7, shuffle)
        files = files.map(lambda epoch, file: file).batch(6)
        batch = tf.data.make_one_shot_iterator(files).get_next()
        return [sess.run(batch).tolist() for _ in range(3)]

      orders = Order(0)
      self.assertLen({tuple(order) for order in orders}, 3)
      for order in orders:
        self.assertEqual(sorted(order), list(range(6)))
      self.assertEqual(Order(1)[:2], orders[1:])
      self.assertEqual(Order(0, shuffle=False), [list(range(6))] * 3)

  def test_nothing_left_is_an_error_not_a_wait(self):
    with self.assertRaisesRegex(tf.errors.InvalidArgumentError, 'no example is left of 20 in 4 files'):
      self._Read(self._Params(domain_regex='elsewhere'))

  def _Train(self, address, logdir):
    """Runs a trainer with the service at an address; returns processes.Done."""
    knobs = {
      'data_dir': 'data',
      'unlabeled': ('human',),
      'max_steps': 3,
      'summary_interval_steps': 1,
      'batch_seconds': 4.0,
      'max_seconds': 4.0,
    }
    bindings = [*tiny_data.TINY_BINDINGS, *(f'BestRqPretrain.{k} = {v!r}' for k, v in knobs.items())]
    flags = [f'--logdir={logdir}', f'--tf_data_service_address={address}', *(f'--gin_bindings={b}' for b in bindings)]
    return processes.Run(['trainer', '--model=asr.BestRqPretrain', *flags], self.here)

  @pytest.mark.slow  # A trainer; the tests above read the service as it does.
  def test_a_run_trains_from_the_service(self):
    done = self._Train(self.address, 'run')
    self.assertEqual(done.code, 0, done.out + done.err)
    rows = [row for row in metrics_log.ReadMetrics('run/metrics.jsonl') if row['dataset'] == 'train']
    self.assertEqual([row['step'] for row in rows], [1, 2, 3])
    for row in rows:
      self.assertGreaterEqual(row['unlabeled/audio_seconds'] / row['unlabeled/examples'], _THERE_SECONDS)

  def test_a_dispatcher_that_starts_late_is_waited_for(self):
    with socket.socket() as late:
      late.bind(('localhost', 0))  # Refuses connections until it listens.
      threading.Timer(1.5, late.listen).start()
      data_service.CheckAddress('dispatcher', f'localhost:{late.getsockname()[1]}', wait_seconds=30.0)

  def test_a_worker_beside_a_dispatcher_elsewhere_is_reached_by_its_host_s_name(self):
    for dispatcher, host, expected in (
      ('far:5050', '', socket.gethostname()),
      ('far:5050', 'me', 'me'),
      ('localhost:5050', '', 'localhost'),
      ('[::1]:5050', '', 'localhost'),
    ):
      made = mock.Mock()
      args = argparse.Namespace(dispatcher=dispatcher, host=host, port=0, wait_seconds=0.0)
      with mock.patch.object(service, '_Service', return_value=made), mock.patch.object(data_service, 'CheckAddress'):
        service.StartWorker(args)
      self.assertEqual(made.WorkerConfig.call_args.kwargs['worker_address'], f'{expected}:%port%')

  def test_a_bad_address_is_one_line(self):
    for address, expected in (
      ('here', 'expected HOST:PORT of a dispatcher'),
      ('a:b', 'expected HOST:PORT'),
      ('http://localhost:1', 'expected HOST:PORT'),
      ('localhost:70000', 'expected HOST:PORT'),
      ('localhost:1', 'cannot connect to a dispatcher .*Connection refused'),
    ):
      with (
        self.subTest(address),
        self.assertRaisesRegex(errors.ConfigError, f'^--dispatcher={address}: {expected}') as e,
      ):
        data_service.CheckAddress('dispatcher', address)
      self.assertNotIn('\n', str(e.exception))
    with self.assertRaisesRegex(errors.ConfigError, r'^--port=70000: expected a port in \[0, 65535\]$'):
      service.StartDispatcher(argparse.Namespace(port=70000, work_dir=''))
    with socket.socket() as taken:
      taken.bind(('', 0))
      taken.listen()
      port = taken.getsockname()[1]
      with self.assertRaisesRegex(errors.ConfigError, rf'^--port={port}: cannot be served \(.*\)$'):
        service.StartDispatcher(argparse.Namespace(port=port, work_dir=''))
    done = self._Train('localhost:1', 'nowhere')
    self.assertEqual(done.code, 2, done.out + done.err)
    self.assertRegex(done.err, r'^trainer: --tf_data_service_address=localhost:1: cannot connect to a dispatcher .*\n$')


if __name__ == '__main__':
  absltest.main()
