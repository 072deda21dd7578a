"""Tests of the streams: contents, order, drops, shares and errors."""

import collections
import functools
import io
import os
import tempfile
from unittest import mock

import numpy as np
import sentencepiece
from absl.testing import absltest
from lingvo import compat as tf
from lingvo.core import cluster as cluster_lib
from lingvo.core import cluster_factory
from lingvo.core import py_utils

from fm_lingvo.data import base_input
from fm_lingvo.data import example_filter
from fm_lingvo.data import hydra_input as input_lib
from fm_lingvo.data import stream as stream_lib
from fm_lingvo.data import tokenizer
from fm_lingvo.data import waveform_augment
from fm_lingvo.utils import audio
from tests import sounds_case

RATE = audio.SAMPLE_RATE
END = 'end'
GRAPHEMES = 'params/tokenizers/graphemes_en.model'


def Pcm(index, samples):
  """Different bytes for every utterance."""
  return np.random.RandomState(index).randint(-(2**15), 2**15, samples).astype('<i2')


def Record(utt_id, pcm, text='a text', domain='prompts/en'):
  """A serialized tf.train.Example as the data preparation writes it."""
  values = dict(
    utt_id=utt_id.encode(), text=text.encode(), speaker=b'speaker', domain=domain.encode(), audio=pcm.tobytes()
  )
  feature = {k: tf.train.Feature(bytes_list=tf.train.BytesList(value=[v])) for k, v in values.items()}
  feature['duration'] = tf.train.Feature(float_list=tf.train.FloatList(value=[len(pcm) / RATE]))
  return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def WriteShards(folder, split, records, num_shards):
  os.makedirs(folder, exist_ok=True)
  for shard in range(num_shards):
    path = os.path.join(folder, f'{split}-{shard:05d}.tfrecord')
    with tf.io.TFRecordWriter(path) as writer:
      for record in records[shard::num_shards]:
        writer.write(record)


class InputTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    tmp = tempfile.TemporaryDirectory()
    cls.addClassCleanup(tmp.cleanup)
    cls.folder = tmp.name
    # 0.15 to 0.92 s: 40 utterances, of two domains, every third unlabeled.
    cls.samples = {f'u{i:02d}': 2400 + 317 * i for i in range(40)}
    records = [
      Record(u, Pcm(i, n), text='' if i % 3 == 0 else f'text {i}', domain='prompts/en' if i % 2 else 'synth/voice')
      for i, (u, n) in enumerate(cls.samples.items())
    ]
    WriteShards(cls.folder, 'train', records, 5)
    WriteShards(cls.folder, 'dev', records[:7], 1)
    WriteShards(cls.folder, 'pair', records, 2)
    # Up to five times the longest bucket of Params(), and one of each other kind.
    cls.long = {f'l{i}': 16000 + 4801 * i for i in range(14)}
    records = [Record(u, Pcm(100 + i, n)) for i, (u, n) in enumerate(cls.long.items())]
    records += [Record('short', Pcm(2, 100)), Record('odd', Pcm(7, 3 * RATE).view(np.int8)[1:]), b'\xff\xffno example']
    records += [Record('other', Pcm(6, 5 * RATE), domain='music')]
    WriteShards(cls.folder, 'long', records, 3)
    cls.reasons = collections.Counter(unparsable=4, too_short=1, too_long=2, unlabeled=1)
    WriteShards(
      cls.folder,
      'bad',
      [
        b'\xff\xffno example',
        Record('good', Pcm(1, RATE)),
        Record('short', Pcm(2, 100)),
        Record('long', Pcm(3, 3 * RATE)),
        Record('empty', Pcm(4, 0)),
        Record('blank', Pcm(5, RATE), text=' '),
        Record('other', Pcm(6, 5 * RATE), domain='music'),
        Record('odd', Pcm(7, RATE).view(np.int8)[1:]),
        Record('long too', Pcm(3, 3 * RATE)),
        b'\xff\xffno example',
      ],
      1,
    )

  def Params(self, split='train', **streams):
    p = input_lib.HydraInput.Params()
    p.random_seed = 7
    p.pad_multiple_samples = 640  # As a task with a Conformer sets it.
    for name, values in (streams or dict(unlabeled={})).items():
      sp = input_lib.AddStream(p, name, input_lib.StreamParams())
      sp.file_pattern = os.path.join(self.folder, f'{split}-*')
      sp.bucket_upper_bound_seconds = [0.4, 0.7, 1.0]
      sp.batch_size = 3
      sp.shuffle_buffer_size = 16
      sp.Set(**values)
    return p

  def Read(self, p, num_batches=None, start_step=0, is_eval=False, resets=0):
    """Batches of a fresh graph; END stands for OutOfRangeError."""
    ret = []
    with tf.Graph().as_default(), cluster_factory.SetEval(is_eval):
      generator = p.Instantiate()
      batch = generator.GetPreprocessedInputBatch()
      with tf.Session() as sess:
        generator.start_step = start_step
        generator.Initialize(sess)
        while num_batches is None or len(ret) < num_batches:
          try:
            ret.append(sess.run(batch))
          except tf.errors.OutOfRangeError:
            ret.append(END)
            if not resets:
              break
            resets -= 1
            generator.Reset(sess)
    return ret

  def ReadFrom(self, p, steps, end):
    """For each of the steps, the batches from it to batch `end`, of one graph whose input is initialised again."""
    with tf.Graph().as_default():
      generator = p.Instantiate()
      batch = generator.GetPreprocessedInputBatch()
      with tf.Session() as sess:
        for step in steps:
          generator.start_step = step
          generator.Initialize(sess)
          yield [sess.run(batch) for _ in range(end - step)]

  @classmethod
  @functools.cache
  def Plain(cls):
    """The first 30 batches of Params(), read once for all tests."""
    return cls().Read(cls().Params(), 30)

  @classmethod
  @functools.cache
  def PlainEvaluated(cls):
    """All batches of Params() in an evaluation, read once for all tests."""
    return cls().Read(cls().Params(), is_eval=True)

  @classmethod
  @functools.cache
  def LabeledEvaluated(cls):
    """As PlainEvaluated, of a stream `source` with labels."""
    return cls().Read(cls().Params(source=dict(labeled=True)), is_eval=True)

  def Ids(self, batches, name='unlabeled'):
    return [u.decode() for b in batches if b is not END for u, w in zip(b[name].utt_ids, b[name].weights) if w]

  def AssertSameBatches(self, expected, actual):
    self.assertEqual(len(expected), len(actual))
    for e, a in zip(expected, actual):
      self.assertEqual([k for k, _ in e.FlattenItems()], [k for k, _ in a.FlattenItems()])
      for (k, x), y in zip(e.FlattenItems(), a.Flatten()):
        np.testing.assert_array_equal(x, y, err_msg=k)

  # What a batch holds.

  def test_waveforms_are_the_pcm_and_zeros(self):
    for batch in self.Plain():
      b = batch.unlabeled
      self.assertEqual(b.waveforms.dtype, np.float32)
      self.assertEqual(b.waveforms.shape[1], -(-max(b.num_samples) // 640) * 640)
      for utt_id, wave, n in zip(b.utt_ids, b.waveforms, b.num_samples):
        utt_id = utt_id.decode()
        self.assertEqual(n, self.samples[utt_id])
        np.testing.assert_array_equal(wave[:n] * 2.0**15, Pcm(int(utt_id[1:]), n))
        self.assertFalse(wave[n:].any())

  def test_batches_do_not_mix_buckets(self):
    p = self.Params(unlabeled=dict(batch_size=None, bucket_batch_size=[5, 3, 2]))
    for batch in self.Read(p, 12):
      seconds = batch.unlabeled.num_samples / RATE
      buckets = set(np.searchsorted([0.4, 0.7, 1.0], seconds))
      self.assertLen(buckets, 1)
      self.assertLen(seconds, [5, 3, 2][buckets.pop()])

  def test_pad_to_bucket_gives_one_length_per_bucket(self):
    p = self.Params().Set(pad_to_bucket=True)
    lengths = {b.unlabeled.waveforms.shape[1] for b in self.Read(p, 12)}
    self.assertEqual(lengths, {6400, 11520, 16000})

  def test_one_bucket_padded_to_its_bound_is_fully_static(self):
    p = self.Params(unlabeled=dict(bucket_upper_bound_seconds=[1.0]))
    p.Set(pad_to_bucket=True, emit_strings=False)
    with tf.Graph().as_default():
      batch = p.Instantiate().GetPreprocessedInputBatch()
    self.assertEqual(batch.unlabeled.waveforms.shape.as_list(), [3, 16000])
    for key, x in batch.FlattenItems():
      self.assertTrue(x.shape.is_fully_defined(), key)
      self.assertNotEqual(x.dtype, tf.string, key)

  @mock.patch.object(py_utils, 'use_tpu', lambda: True)
  def test_tpu_gets_static_shapes_or_an_error(self):
    p = self.Params(unlabeled=dict(bucket_upper_bound_seconds=[1.0]))
    with tf.Graph().as_default():
      generator = p.Instantiate()
      batch = generator.GetPreprocessedInputBatch()
    self.assertTrue(all(x.shape.is_fully_defined() and x.dtype != tf.string for x in batch.Flatten()))
    self.assertEmpty(generator.GetCpuPassthroughKeys())
    p.emit_strings = True
    with tf.Graph().as_default():
      self.assertEqual(p.Instantiate().GetCpuPassthroughKeys(), [f'unlabeled.{k}' for k in stream_lib.STRING_KEYS])
    with self.assertRaisesRegex(ValueError, r'seconds = \[0.4, 0.7, 1.0\]: expected one bucket'):
      self.Params().Instantiate()

  def test_labels_are_the_texts(self):
    p = self.Params(source=dict(labeled=True, tokenizer_file=GRAPHEMES))
    model = tokenizer.Tokenizer(GRAPHEMES)
    for batch in self.Read(p, is_eval=True)[:-1]:
      b = batch.source
      for text, labels, length in zip(b.texts, b.labels, b.label_lengths):
        # Digits are not graphemes of normalised English.
        self.assertEqual(labels[:length].tolist(), model.EncodeText(text.decode()))
        self.assertFalse(labels[length:].any())

  def test_pieces_of_bytes_are_refused_where_labels_are_bounded_by_characters(self):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(['a text', 'some text']),
      model_writer=model,
      vocab_size=280,
      byte_fallback=True,
      hard_vocab_limit=False,
      pad_id=0,
      unk_id=1,
      bos_id=-1,
      eos_id=-1,
      minloglevel=2,
    )
    path = os.path.join(self.folder, 'bytes.model')
    with open(path, 'wb') as f:
      f.write(model.getvalue())
    for pad, expected in ((False, None), (True, f'^tokenizer_file = {path}: has byte pieces')):
      p = self.Params(source=dict(labeled=True, tokenizer_file=path)).Set(pad_to_bucket=pad)
      with tf.Graph().as_default():
        if expected is None:
          p.Instantiate().GetPreprocessedInputBatch()
        else:
          with self.assertRaisesRegex(ValueError, expected):
            p.Instantiate().GetPreprocessedInputBatch()

  def test_labels_of_one_bucket_padded_to_its_bound_are_static(self):
    p = self.Params(
      source=dict(labeled=True, tokenizer_file=GRAPHEMES, bucket_upper_bound_seconds=[1.0], max_chars_per_second=20.0)
    )
    p.Set(pad_to_bucket=True, emit_strings=False)
    with tf.Graph().as_default():
      batch = p.Instantiate().GetPreprocessedInputBatch()
    self.assertEqual(batch.source.labels.shape.as_list(), [3, 21])
    self.assertEqual(batch.source.label_lengths.shape.as_list(), [3])

  def test_training_speech_is_augmented_anew_in_each_epoch_and_repeatably(self):
    values = dict(labeled=True, augment=waveform_augment.Params(), batch_size=1)
    first, again = self.ReadFrom(self.Params(source=values), (0, 30), 52)
    self.AssertSameBatches(first[30:], again)
    waves = collections.defaultdict(list)
    for batch in first:
      longest = int(batch.source.num_samples.max())  # At its changed speed: no padding for slower ones is computed on.
      self.assertEqual(batch.source.waveforms.shape[1], -(-longest // 640) * 640)
      waves[batch.source.utt_ids[0]].append(batch.source.waveforms.tobytes())
    self.assertLen(waves, 26)
    for versions in waves.values():
      self.assertLen(set(versions), 2)
    plain = self.LabeledEvaluated()
    held_out = self.Read(self.Params(source=dict(values, batch_size=3)), is_eval=True)
    for batches in (plain, held_out):
      self.assertIs(batches[-1], END)
    self.AssertSameBatches(plain[:-1], held_out[:-1])

  def test_recorded_sounds_are_mixed_in_anew_and_repeatably_and_with_cuts(self):
    with tempfile.TemporaryDirectory() as folder:
      sounds_case.WriteNoise(f'{folder}/noise')
      sounds_case.WriteRooms(f'{folder}/rooms')
      augment = waveform_augment.Params()
      augment.recorded.Set(noise_dir=f'{folder}/noise', noise_prob=0.8, rir_dir=f'{folder}/rooms', rir_prob=0.5)
      p = self.Params('long', unlabeled=dict(augment=augment, batch_size=2))
      whole, again = self.ReadFrom(p, (0, 25), 40)
      self.AssertSameBatches(whole[25:], again)
      held_out = self.Read(p, is_eval=True)
    self.AssertSameBatches(
      self.Read(self.Params('long', unlabeled=dict(batch_size=2)), is_eval=True)[:-1], held_out[:-1]
    )

  # Order.

  def test_each_epoch_is_another_permutation(self):
    # 40 batches of one utterance are one epoch.
    p = self.Params(unlabeled=dict(batch_size=1))
    ids = self.Ids(self.Read(p, 120))
    epochs = [ids[:40], ids[40:80], ids[80:]]
    for epoch in epochs:
      self.assertCountEqual(epoch, self.samples)
    self.assertLen({tuple(e) for e in epochs}, 3)

  def test_order_follows_from_the_seed(self):
    first = self.Ids(self.Plain()[:12])
    # Streams of an input have orders of their own unless told otherwise.
    p = self.Params(unlabeled={}, other={}, seeded=dict(seed=3), too=dict(seed=3)).Set(random_seed=8)
    batches = self.Read(p, 12)
    others = [self.Ids(batches, name) for name, _ in p.streams.IterParams()]
    self.assertEqual(others[-2], others[-1])
    self.assertLen({tuple(x) for x in [first] + others}, 4)
    self.assertEqual(first, self.Ids(self.Read(self.Params(), 12)))

  def test_resumed_run_goes_on_with_the_same_batches(self):
    streams = dict(
      source=dict(labeled=True, batch_size=2, domain_regex='prompts/.*'),
      target=dict(batch_size=None, bucket_batch_size=[4, 3, 1]),
      # Batches that take more than an epoch.
      few=dict(file_pattern=os.path.join(self.folder, 'dev-*'), bucket_upper_bound_seconds=[0.2, 1.0], batch_size=10),
      bad=dict(file_pattern=os.path.join(self.folder, 'bad-*'), labeled=True, batch_size=1),
    )
    steps = (17, 36)
    whole, *rests = self.ReadFrom(self.Params(**streams), (0, *steps), 40)
    for step, rest in zip(steps, rests):
      with self.subTest(step=step):
        self.AssertSameBatches(whole[step:], rest)
    # The comparison saw several epochs, several shapes and growing counts.
    self.assertGreater(whole[-1].bad.dropped[0], whole[17].bad.dropped[0])
    self.assertGreater(len({b.target.waveforms.shape for b in whole[17:]}), 3)

  def test_jobs_of_a_cluster_go_on_behind_the_newest_checkpoint(self):
    whole, evaluated = self.Plain(), self.PlainEvaluated()
    cluster = cluster_factory.Current().params.Copy()
    with tempfile.TemporaryDirectory() as train_dir, base_input.ResumeFrom(train_dir):
      for saved, mode, job, replicas, expected in (
        (None, 'sync', 'trainer_client', 1, 0),
        (7, 'sync', 'trainer_client', 1, 7),
        (16, 'async', 'trainer', 2, 8),
      ):
        if saved is not None:
          open(os.path.join(train_dir, f'ckpt-{saved:08d}.index'), 'w', encoding='utf-8').close()
        cluster.worker.replicas = replicas
        with self.subTest(saved=saved, mode=mode), cluster.Copy().Set(mode=mode, job=job).Instantiate():
          p = self.Params().Set(num_workers=1, worker_index=0)
          self.AssertSameBatches(whole[expected : expected + 5], self.Read(p, 5))
      self.AssertSameBatches(self.Read(self.Params(), is_eval=True)[:3], evaluated[:3])
    self.assertEqual(base_input._resumed_folder, '')  # A later run in the same process starts at its own step.

  def test_resuming_far_into_training_reads_a_few_epochs_only(self):
    step = 10**8  # Days, if every batch before were read.
    p = self.Params('bad', labeled=dict(labeled=True, domain_regex='prompts/.*', batch_size=1))
    (batch,) = self.Read(p, 1, start_step=step)
    self.assertEqual(batch.labeled.dropped[0], (step + 1) * sum(self.reasons.values()))

  # Evaluation.

  def test_eval_sees_each_utterance_once_and_ends(self):
    batches = self.PlainEvaluated()
    self.assertIs(batches[-1], END)
    self.assertCountEqual(self.Ids(batches), self.samples)
    for b in batches[:-1]:
      self.assertLen(b.unlabeled.weights, 3)
      padding = b.unlabeled.weights == 0
      self.assertFalse(b.unlabeled.num_samples[padding].any())
      self.assertFalse(b.unlabeled.waveforms[padding].any())

  def test_eval_repeats_after_reset_in_the_same_order(self):
    batches = self.Read(self.Params(), is_eval=True, resets=1)
    half = len(batches) // 2
    self.assertIs(batches[half - 1], END)
    self.AssertSameBatches(batches[: half - 1], batches[half:-1])

  def test_eval_of_unequal_streams_sees_all_of_each(self):
    p = self.Params(short=dict(file_pattern=os.path.join(self.folder, 'dev-*')), long={})
    batches = self.Read(p, is_eval=True)
    self.assertCountEqual(self.Ids(batches, 'long'), self.samples)
    self.assertCountEqual(self.Ids(batches, 'short'), [f'u{i:02d}' for i in range(7)])

  # Drops and selection.

  def test_drops_are_counted_by_reason_to_the_last_record(self):
    p = self.Params('bad', labeled=dict(labeled=True, domain_regex='prompts/.*'))
    batches = self.Read(p, is_eval=True)
    self.assertEqual(self.Ids(batches, 'labeled'), ['good'])
    last = batches[-2].labeled
    for reason in example_filter.DROP_REASONS:
      np.testing.assert_array_equal(last[f'dropped_{reason}'], [self.reasons[reason]] * 3, reason)
    np.testing.assert_array_equal(last.dropped, [sum(self.reasons.values())] * 3)

  def test_counts_grow_by_the_same_number_every_epoch(self):
    p = self.Params('bad', labeled=dict(labeled=True, domain_regex='prompts/.*', batch_size=1))
    dropped = [b.labeled.dropped[0] for b in self.Read(p, 3)]
    self.assertEqual(dropped[2], 3 * sum(self.reasons.values()))

  def test_selection_by_domain_is_not_a_drop(self):
    p = self.Params(unlabeled=dict(domain_regex='synth/.*'))
    batches = self.Read(p, is_eval=True)
    self.assertCountEqual(self.Ids(batches), list(self.samples)[::2])
    self.assertEqual(batches[-2].unlabeled.dropped[0], 0)

  def test_a_smaller_share_is_a_part_of_a_larger_one_and_no_drop(self):
    chosen = {}
    for share in (0.2, 0.5, 1.0):
      p = self.Params(unlabeled=dict(share=share))
      batches = self.PlainEvaluated() if share == 1.0 else self.Read(p, is_eval=True)  # 1.0 is the default.
      chosen[share] = set(self.Ids(batches))
      self.assertEqual(batches[-2].unlabeled.dropped[0], 0)
    self.assertLess(chosen[0.2], chosen[0.5])
    self.assertLess(chosen[0.5], chosen[1.0])
    self.assertLen(chosen[1.0], 40)
    other = self.Read(self.Params(unlabeled=dict(share=0.5, share_seed=1)), is_eval=True)
    self.assertNotEqual(chosen[0.5], set(self.Ids(other)))

  def test_transcripts_longer_than_their_bucket_allows_are_dropped(self):
    # 'text 10' and longer ones have 7 characters, 8 labels with the word boundary.
    p = self.Params(
      source=dict(labeled=True, tokenizer_file=GRAPHEMES, max_chars_per_second=7.0, bucket_upper_bound_seconds=[1.0])
    )
    batches = self.Read(p, is_eval=True)
    kept = {u for u in self.Ids(batches, 'source')}
    self.assertEqual(kept, {f'u{i:02d}' for i in range(40) if i % 3})
    p.streams.source.max_chars_per_second = 6.0
    batches = self.Read(p, is_eval=True)
    self.assertEqual(set(self.Ids(batches, 'source')), {f'u{i:02d}' for i in range(10) if i % 3})
    self.assertEqual(batches[-2].source.dropped_too_many_labels[0], 20)

  def test_labeled_stream_has_texts(self):
    batches = self.LabeledEvaluated()
    texts = {t for b in batches[:-1] for t in b.source.texts[b.source.weights > 0]}
    self.assertLen(texts, 26)
    self.assertNotIn(b'', texts)
    self.assertEqual(batches[-2].source.dropped_unlabeled[0], 14)

  def test_stream_without_examples_says_why(self):
    p = self.Params(unlabeled=dict(domain_regex='prompts/xx'))
    with self.assertRaisesRegex(
      tf.errors.InvalidArgumentError,
      'input.streams.unlabeled: no example is left of 40 in 5 files; dropped: '
      'unparsable 0, too_short 0, too_long 0, unlabeled 0, too_many_labels 0, damaged 0; '
      'outside of domain_regex and share: 40',
    ):
      self.Read(p, 1)

  # Cuts of what is too long.

  def _Pieces(self, batches):
    """The speech of the records in evaluated batches, int16, pieces joined in their order: dict utt_id -> [pieces]."""
    pieces = collections.defaultdict(list)
    for batch in batches[:-1]:
      b = batch.unlabeled
      for utt_id, wave, n, weight in zip(b.utt_ids, b.waveforms, b.num_samples, b.weights):
        if weight:
          name, _, part = utt_id.decode().partition('@')
          start = int(part.partition('-')[0] or 0)
          pieces[name].append((start, (wave[:n] * 2.0**15).astype('<i2')))
    return {name: [wave for _, wave in sorted(found, key=lambda x: x[0])] for name, found in pieces.items()}

  def test_unlabeled_records_that_are_too_long_are_cut_without_a_loss(self):
    batches = self.Read(self.Params('long', unlabeled=dict(domain_regex='prompts/.*', min_seconds=0.1)), is_eval=True)
    pieces = self._Pieces(batches)
    self.assertCountEqual(pieces, self.long)
    for i, (name, size) in enumerate(self.long.items()):
      np.testing.assert_array_equal(np.concatenate(pieces[name]), Pcm(100 + i, size), err_msg=name)
      lengths = [len(piece) for piece in pieces[name]]
      self.assertLessEqual(max(lengths), RATE)
      self.assertGreaterEqual(min(lengths), RATE // 4)
      self.assertEqual(len(lengths) == 1, size <= RATE)
    b = batches[-2].unlabeled
    self.assertEqual(set(b.cut), {13})
    self.assertEqual((b.dropped_too_long[0], b.dropped_too_short[0], b.dropped_unparsable[0]), (0, 1, 2))
    self.assertEqual(b.dropped[0], 3)
    ids = [(u, t) for b in batches[:-1] for u, t in zip(b.unlabeled.utt_ids, b.unlabeled.texts)]
    self.assertLen(set(ids), len(ids) - sum(not u for u, _ in ids) + 1)
    for utt_id, text in ids:
      self.assertEqual(text, b'a text' if utt_id == b'l0' else b'')

  def test_labeled_records_and_those_of_a_stream_that_does_not_cut_are_dropped(self):
    for values in (dict(labeled=True), dict(cut_too_long=False)):
      batches = self.Read(self.Params('long', unlabeled=dict(values, domain_regex='prompts/.*')), is_eval=True)
      self.assertEqual(self.Ids(batches), ['l0'])
      self.assertEqual(batches[-2].unlabeled.dropped_too_long[0], 13)
      self.assertNotIn('cut', batches[-2].unlabeled)

  def test_a_share_takes_whole_records(self):
    pieces = self._Pieces(self.Read(self.Params('long', unlabeled=dict(share=0.5)), is_eval=True))
    self.assertBetween(len(pieces), 3, 12)
    for name, found in pieces.items():
      if name in self.long:
        self.assertEqual(sum(map(len, found)), self.long[name])

  def test_cutting_goes_on_with_the_same_pieces_and_mixes_those_of_records(self):
    p = self.Params('long', unlabeled=dict(domain_regex='prompts/.*', batch_size=None, bucket_batch_size=[2, 3, 4]))
    steps = (11, 38)
    whole, *rests = self.ReadFrom(p, (0, *steps), 45)
    for step, rest in zip(steps, rests):
      self.AssertSameBatches(whole[step:], rest)
    self.assertGreater(whole[-1].unlabeled.cut[0], whole[11].unlabeled.cut[0])
    self.assertGreater(whole[-1].unlabeled.cut[0], 13)  # Of the second epoch.
    several = [len({u.partition(b'@')[0] for u in b.unlabeled.utt_ids}) > 1 for b in whole]
    self.assertGreater(np.mean(several), 0.6)

  def test_workers_cut_records_of_their_own(self):
    pieces = []
    for i in range(2):
      p = self.Params('long').Set(num_workers=2, worker_index=i)
      pieces.append(set(self._Pieces(self.Read(p, is_eval=True))))
    self.assertEmpty(pieces[0] & pieces[1])
    self.assertEqual(pieces[0] | pieces[1], {*self.long, 'other'})

  # Workers.

  def test_shares_of_workers_are_disjoint_and_cover_all(self):
    for split, workers in (('train', 2), ('pair', 3)):  # By file, by record.
      with self.subTest(workers=workers):
        shares = []
        for i in range(workers):
          p = self.Params(split).Set(num_workers=workers, worker_index=i)
          shares.append(self.Ids(self.Read(p, is_eval=True)))
          self.assertNotEmpty(shares[-1])
        self.assertCountEqual(sum(shares, []), self.samples)

  def test_share_comes_from_the_cluster(self):
    cluster = cluster_factory.Current().params.Copy()
    cluster.worker.replicas = 4
    for mode, job, task, expected in (
      ('async', 'trainer', 2, (2, 4)),
      ('sync', 'trainer_client', 0, (0, 1)),
      ('async', 'controller', 0, (0, 1)),
    ):
      with self.subTest(mode=mode, job=job):
        cluster.Set(mode=mode, job=job, task=task)
        with tf.Graph().as_default(), cluster.Instantiate():
          generator = self.Params().Instantiate()
          self.assertEqual(generator._WorkerShare(), expected)

  def test_share_of_a_tpu_host_with_its_own_infeed(self):
    p = self.Params().Set(use_per_host_infeed=True)
    with tf.Graph().as_default():
      generator = p.Instantiate()
      ids = []
      with tf.Session() as sess:
        for host in range(2):
          with cluster_lib.InfeedContextScope(host, 2):
            batch = generator.GetPreprocessedInputBatch()
            generator.Initialize(sess)
            ids.append({u for _ in range(20) for u in sess.run(batch.unlabeled.utt_ids)})
    self.assertNotEmpty(ids[0])
    self.assertEmpty(ids[0] & ids[1])

  def test_split_keeps_streams_of_different_batch_sizes_apart(self):
    p = self.Params(a=dict(batch_size=2), b=dict(batch_size=5))
    with tf.Graph().as_default():
      generator = p.Instantiate()
      splits = generator.SplitInputBatch(2)
      sizes = generator.GlobalBatchSize()
      examples = generator.GetPerBatchSize(splits)
      with tf.Session() as sess:
        generator.Initialize(sess)
        splits, examples = sess.run([splits, examples])
    self.assertEqual([len(s.a.weights) for s in splits], [1, 1])
    self.assertCountEqual([len(s.b.weights) for s in splits], [2, 3])
    self.assertEqual((sizes, examples), (7, 7))

  def test_batch_grows_with_the_devices_of_the_client(self):
    cluster = cluster_factory.Current().params.Copy()
    cluster.worker.cpus_per_replica = 2
    with tf.Graph().as_default(), cluster.Instantiate():
      generator = self.Params().Instantiate()
      self.assertEqual(generator.InfeedBatchSize(), 6)

  # Errors.

  def test_unusable_params_are_one_line_with_field_and_value(self):
    for values, message in (
      (dict(batch_size=0), 'batch_size = 0: expected an integer > 0'),
      (dict(shuffle='false'), "shuffle = 'false': expected None, True or False"),
      (dict(shuffle_buffer_size=-1), 'shuffle_buffer_size = -1: expected an'),
      (dict(bucket_upper_bound_seconds=[]), r'= \[\]: expected an ascending'),
      (dict(bucket_upper_bound_seconds=[2.0, 1.0]), r'\[2.0, 1.0\]: expected'),
      (
        dict(batch_size=None, bucket_batch_size=[1]),
        r'bucket_batch_size = \[1\]: expected None '
        'or 3 integers > 0',
      ),
      (dict(min_seconds=2.0), 'min_seconds = 2.0: expected >= 0 and <= 1.0'),
      (dict(seed=-1), 'seed = -1: expected None or an integer >= 0'),
      (dict(domain_regex='('), r"domain_regex = '\(': expected an RE2 regular expression"),
      (
        dict(domain_regex='(?!music).*'),
        r"domain_regex = '.*': expected an RE2 regular expression \(.*invalid perl operator",
      ),
      (dict(share=0.0), r'share = 0.0: expected a share in \(0, 1\]'),
      (dict(share_seed=-1), 'share_seed = -1: expected an integer >= 0'),
      (dict(max_chars_per_second=0), 'max_chars_per_second = 0: expected > 0'),
      (dict(tokenizer_file=GRAPHEMES), 'labeled = False: expected True, since'),
      (
        dict(augment=waveform_augment.Params().Set(noise_prob=2.0)),
        r'augment.noise_prob = 2.0: expected a probability in \[0, 1\]',
      ),
      (dict(cut_too_long='no'), "cut_too_long = 'no': expected None, True or False"),
      (
        dict(cut_too_long=True, labeled=True),
        'cut_too_long = True: expected None or False, since the stream has labels',
      ),
      (dict(file_pattern=''), "file_pattern = '': expected a glob"),
    ):
      with self.subTest(message), tf.Graph().as_default():
        with self.assertRaisesRegex(ValueError, 'input.streams.unlabeled.*' + message) as e:
          self.Params(unlabeled=values).Instantiate()
        self.assertNotIn('\n', str(e.exception))

  def test_unusable_input_params_are_refused(self):
    for values, message in (
      (
        dict(batch_size=8),
        'input.batch_size = 8: expected 0, since each '
        'stream has its own batch size, such as input.streams.unlabeled.bucket_batch_size',
      ),
      (dict(pad_multiple_samples=0), 'pad_multiple_samples = 0: expected None or a multiple of 160'),
      (
        dict(pad_multiple_samples=1000),
        'pad_multiple_samples = 1000: expected None or a multiple of 160, the samples of a',
      ),
      (dict(pad_multiple_samples=640.0), 'pad_multiple_samples = 640.0: expected None or a multiple of 160'),
      (dict(prefetch_batches=-1), 'prefetch_batches = -1: expected >= 0'),
      (dict(pad_to_bucket='false'), "pad_to_bucket = 'false': expected None, True or False"),
      (dict(emit_strings='no'), "emit_strings = 'no': expected None, True or False"),
      (dict(num_workers=2.5, worker_index=0), 'num_workers = 2.5: expected None or an integer >= 1'),
      (dict(num_workers=2), 'num_workers = 2 and worker_index = None'),
      (dict(num_workers=2, worker_index=2), r'worker_index = 2: .* \[0, 2\)'),
    ):
      with self.subTest(message), tf.Graph().as_default():
        with self.assertRaisesRegex(ValueError, message):
          self.Params().Set(**values).Instantiate()

  def test_missing_files_are_named_with_what_there_is(self):
    for pattern, message in (
      ('test-*', 'no such file; the directory .* exists and contains bad-00000'),
      ('no/such/test-*', f'the directory .*no/such does not exist, the nearest that does is {self.folder}'),
    ):
      pattern = os.path.join(self.folder, pattern)
      p = self.Params(unlabeled=dict(file_pattern=pattern), other={})
      with self.subTest(pattern), tf.Graph().as_default():
        self.assertEqual(input_lib.MissingData(p), [('streams.unlabeled', pattern)])
        with self.assertRaisesRegex(ValueError, message) as e:
          p.Instantiate()
        self.assertIn(f'input.streams.unlabeled.file_pattern = {pattern!r}', str(e.exception))

  def test_data_sets_being_made_are_not_read(self):
    hidden = os.path.join(self.folder, '.new.partial')
    WriteShards(hidden, 'train', [Record('half', Pcm(1, RATE))], 1)
    shown = os.path.join(self.folder, 'done')
    WriteShards(shown, 'train', [Record('whole', Pcm(1, RATE))], 1)
    p = self.Params(unlabeled=dict(file_pattern=os.path.join(self.folder, '*', 'train-*')))
    self.assertEqual(self.Ids(self.Read(p, is_eval=True)), ['whole'])

  def test_special_characters_of_a_folder_that_exists_are_literal(self):
    folder = os.path.join(self.folder, 'Take [1]')
    WriteShards(folder, 'train', [Record('a', Pcm(1, RATE))], 1)
    p = self.Params(unlabeled=dict(file_pattern=os.path.join(folder, 'train-*')))
    self.assertEqual(input_lib.MissingData(p), [])

  def test_input_without_streams_is_refused(self):
    with self.assertRaisesRegex(ValueError, 'input.streams: no stream'):
      input_lib.HydraInput.Params().Instantiate()

  def test_truncated_shard_stops_the_run(self):
    path = os.path.join(self.folder, 'cut-00000.tfrecord')
    with open(os.path.join(self.folder, 'dev-00000.tfrecord'), 'rb') as f:
      whole = f.read()
    with open(path, 'wb') as f:
      f.write(whole[:-100])
    p = self.Params(unlabeled=dict(file_pattern=path))
    with self.assertRaises(tf.errors.DataLossError):
      self.Read(p, is_eval=True)

  def test_no_autotuning_holds_up_the_end_of_an_iterator(self):
    with mock.patch.object(input_lib.resumable_iterator, 'BatchIterator') as made:
      self.Params().Instantiate().GetPreprocessedInputBatch()
    (dataset_of,) = made.call_args.args
    self.assertIs(dataset_of(tf.constant(0, tf.int64)).options().autotune.enabled, False)


if __name__ == '__main__':
  absltest.main()
