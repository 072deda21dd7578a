"""Properties of the hydra: branches, sums, one encoder pass, what is trained."""

import collections
import shutil
import tempfile
from unittest import mock

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf
from lingvo.core import cluster_factory
from lingvo.core import learner
from lingvo.core import optimizer
from lingvo.core import schedule

from fm_lingvo import hydra
from fm_lingvo.data import hydra_input as input_lib
from fm_lingvo.evaluation import hypotheses
from fm_lingvo.heads import best_rq_head
from fm_lingvo.heads import ctc_head
from fm_lingvo.heads import transducer_head
from fm_lingvo.layers import conformer_encoder
from fm_lingvo.losses import ctc_loss
from fm_lingvo.run_files import metrics_log
from fm_lingvo.runtime import batch_split
from tests import graph_case
from tests import tiny_data
from tests.foreign import pool_encoder


def _TaskParams(branches):
  """A small hydra; branches: dict name -> (stream, head, weight).

  Its encoder is a single layer: a Conformer, see _UseConformer, would be most of the operations of each graph here.
  """
  p = hydra.HydraTask.Params()
  p.encoder = pool_encoder.PoolEncoder.Params()
  for name in sorted({head for _, head, _ in branches.values()}):
    head = best_rq_head.BestRqHead.Params()
    head.quantizer.codebook_size = 16
    head.masker.Set(mask_start_prob=0.05, mask_span_ms=100.0)
    hydra.HydraTask.AddHead(p, name, head)
  for name, (stream, head, weight) in branches.items():
    hydra.HydraTask.AddBranch(p, name, stream, head, weight)
  p.train.learner = learner.Learner.Params().Set(name='loss', learning_rate=0.1, optimizer=optimizer.Adam.ParamsB())
  p.random_seed = 1
  return p


def _UseConformer(p):
  """For what depends on how the library's own encoder computes: padding, parts of a batch."""
  p.encoder = conformer_encoder.ConformerEncoder.Params()
  p.encoder.Set(model_dim=16, num_layers=1, num_heads=2, kernel_size=5, dropout_prob=0.0)
  p.encoder.subsampling.channels = 4


def _JointParams():
  """As asr.JustHydra: labeled -> transducer and ctc, unlabeled -> best_rq."""
  p = _TaskParams({'unlabeled': ('unlabeled', 'best_rq', 0.5)})
  head = transducer_head.TransducerHead.Params().Set(tokenizer_file='params/tokenizers/graphemes_en.model')
  head.prediction.Set(embedding_dim=8, hidden_dim=8)
  head.joint.joint_dim = 8
  hydra.HydraTask.AddHead(p, 'transducer', head)
  hydra.HydraTask.AddHead(p, 'ctc', ctc_head.CtcHead.Params().Set(tokenizer_file=head.tokenizer_file))
  hydra.HydraTask.AddBranch(p, 'labeled', 'labeled', 'transducer', weight=0.7)
  hydra.HydraTask.AddBranch(p, 'labeled_ctc', 'labeled', 'ctc', weight=0.3, decode=False)
  return p


def _Labeled(batch, labels):
  """A batch with label rows, lists of ids, and the strings of evaluation."""
  rows = len(labels)
  width = max(map(len, labels))
  batch.labels = tf.constant([x + [0] * (width - len(x)) for x in labels])
  batch.label_lengths = tf.constant([len(x) for x in labels])
  for key in ('utt_ids', 'texts', 'domains'):
    batch[key] = tf.constant([f'{key}{i}' for i in range(rows)])
  return batch


def _Batch(seconds, rows=2, seed=0):
  samples = int(seconds * 16000)
  wave = np.random.RandomState(seed).randn(rows, samples) * 0.1
  return graph_case.py_utils.NestedMap(
    waveforms=tf.constant(wave.astype(np.float32)),
    num_samples=tf.fill([rows], samples),
    weights=tf.ones([rows]),
    dropped=tf.zeros([rows], tf.int64),
  )


def _Speech():
  return _Labeled(_Batch(1.0, seed=2), [[3, 4, 5], [6]])


def _Labels(values):
  """The part of the labeled branches in the loss of _JointParams."""
  return 0.7 * values['labeled/loss'] + 0.3 * values['labeled_ctc/loss']


# Batches of both streams: name -> function that makes one.
_BOTH = {'unlabeled': lambda: _Batch(2.0, rows=3), 'labeled': _Speech}


class HydraTaskTest(graph_case.GraphCase):
  _made = []  # See _BothApart.

  def _Losses(self, branches, batches):
    with self.EvalMode():
      task = _TaskParams(branches).Instantiate()
    metrics, tensors = task.FPropTower(task.theta, graph_case.py_utils.NestedMap(batches))
    return self.Eval({k: v[0] for k, v in metrics.items()}), tensors

  def test_loss_is_the_weighted_sum_of_the_branches(self):
    values, _ = self._Losses(
      {'a': ('s', 'x', 1.0), 'b': ('t', 'x', 0.25)}, {'s': _Batch(2.0), 't': _Batch(2.0, seed=1)}
    )
    self.assertAlmostEqual(values['loss'], values['a/loss'] + 0.25 * values['b/loss'], places=4)

  def test_a_branch_beside_another_loses_the_same_as_alone(self):
    # Streams of unequal lengths and sizes.
    alone, _ = self._Losses({'a': ('s', 'x', 1.0)}, {'s': _Batch(1.0)})
    with self.NewGraph():
      both, _ = self._Losses(
        {'a': ('s', 'x', 1.0), 'b': ('t', 'y', 1.0)}, {'s': _Batch(1.0), 't': _Batch(3.0, rows=3, seed=1)}
      )
    self.assertAlmostEqual(alone['a/cross_entropy'], both['a/cross_entropy'], places=3)
    self.assertAlmostEqual(alone['a/masked_fraction'], both['a/masked_fraction'])

  def test_an_empty_batch_adds_nothing(self):
    batch = _Batch(1.0)
    empty = batch.copy()
    empty.num_samples = tf.zeros([2], tf.int32)
    empty.waveforms = tf.zeros_like(batch.waveforms)
    values, _ = self._Losses({'a': ('s', 'x', 1.0), 'b': ('t', 'x', 1.0)}, {'s': batch, 't': empty})
    self.assertEqual(values['b/loss'], 0.0)
    self.assertAlmostEqual(values['loss'], values['a/loss'], places=5)

  def _Joint(self, batches, do_eval=True, change=lambda p: None):
    """Values of the metrics and tensors of _JointParams on batches."""
    p = _JointParams()
    change(p)
    with self.NewGraph(), cluster_factory.SetEval(do_eval):
      task = p.Instantiate()
      metrics, tensors = task.FPropTower(
        task.theta, graph_case.py_utils.NestedMap({name: make() for name, make in batches.items()})
      )
      return self.Eval({k: v[0] for k, v in metrics.items()}, tensors)

  def _BothApart(self):
    """What _Joint returns for _BOTH and a Conformer, one pass for each stream; made once for all tests."""
    cls = type(self)
    if not cls._made:
      cls._made.append(self._Joint(_BOTH, change=_UseConformer))
    return cls._made[0]

  def test_metrics_are_logged_per_branch(self):
    values, _ = self._BothApart()
    self.assertContainsSubset(
      [
        'labeled/loss',
        'labeled/unalignable',
        'labeled/unknown_labels',
        'labeled_ctc/loss',
        'labeled_ctc/unalignable',
        'unlabeled/loss',
        'unlabeled/masked_accuracy',
      ],
      values,
    )
    self.assertAlmostEqual(values['loss'], _Labels(values) + 0.5 * values['unlabeled/loss'], places=4)

  def test_ctc_beside_a_transducer_is_their_weighted_sum_from_one_encoder_pass(self):
    p = _JointParams()
    p.branches.Delete('unlabeled')
    fprop = pool_encoder.PoolEncoder.FProp
    with mock.patch.object(pool_encoder.PoolEncoder, 'FProp', autospec=True, side_effect=fprop) as encode:
      task = p.Instantiate()
      batch = graph_case.py_utils.NestedMap(labeled=_Speech())
      predictions = task.ComputePredictions(task.theta, batch)
      metrics, _ = task.ComputeLoss(task.theta, predictions, batch)
    self.assertLen(encode.call_args_list, 1)
    view, speech = predictions.labeled, batch.labeled
    masked = predictions.labeled_ctc.corrupted.features
    self.assertIs(masked, view.corrupted.features)
    transducer, ctc = task.Head('transducer'), task.Head('ctc')
    lengths = tf.cast(tf.reduce_sum(1.0 - view.paddings, axis=1), tf.int32)
    predicted = transducer.prediction.FProp(transducer.theta.prediction, speech.labels)
    nlls = (
      transducer.joint.Loss(
        transducer.theta.joint, view.encoded, predicted, speech.labels, lengths, speech.label_lengths
      ),
      ctc_loss.CtcLoss(ctc.proj.FProp(ctc.theta.proj, view.encoded), speech.labels, lengths, speech.label_lengths),
    )
    labels = tf.cast(tf.reduce_sum(speech.label_lengths), tf.float32)
    expected = 0.7 * tf.reduce_sum(nlls[0]) / labels + 0.3 * tf.reduce_sum(nlls[1]) / labels
    loss, weight = metrics['loss']
    variables = [v for v in task.vars.Flatten() if v.trainable]
    gradients = [
      [tf.convert_to_tensor(g) for g in tf.gradients(x, variables, unconnected_gradients='zero')]
      for x in (loss, expected)
    ]
    loss, expected, weight, (found, wanted), masked, clean = self.Eval(
      loss, expected, weight, gradients, masked, view.clean.features
    )
    self.assertAlmostEqual(loss, expected, places=5)
    self.assertEqual(weight, 4)  # Labels, by which replicas are averaged.
    self.assertFalse(np.array_equal(masked, clean))  # SpecAugment.
    for v, a, b in zip(variables, found, wanted):
      np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6, err_msg=v.name)
    self.assertTrue(all(np.any(g) for v, g in zip(variables, found) if '/ctc/' in v.name))

  def test_the_branches_shares_of_the_encoder_s_gradient_are_those_of_their_weighted_losses(self):
    task = _JointParams().Instantiate()
    batch = graph_case.py_utils.NestedMap({name: make() for name, make in _BOTH.items()})
    metrics, _ = task.FPropTower(task.theta, batch)
    encoder = [v for v in task.encoder.vars.Flatten() if v.trainable]
    wanted = {
      name: weight * tf.linalg.global_norm(tf.gradients(metrics[f'{name}/loss'][0], encoder))
      for name, weight in (('unlabeled', 0.5), ('labeled', 0.7), ('labeled_ctc', 0.3))
    }
    found, wanted = self.Eval({k: v for k, (v, _) in task.GradientShares(metrics).items()}, wanted)
    total = sum(norm**2 for norm in wanted.values())
    self.assertLen(found, 6)
    for name, norm in wanted.items():
      self.assertGreater(norm, 0)
      self.assertAlmostEqual(found[f'branch/{name}_encoder_grad_norm'] / norm, 1.0, places=3)
      self.assertAlmostEqual(found[f'branch/{name}_encoder_grad_share'], norm**2 / total, places=4)
    with self.subTest('none where there is nothing to share'):
      frozen = _JointParams()
      frozen.train.learner.bprop_variable_filter = '/transducer/'
      for p in (frozen, _TaskParams({'a': ('s', 'x', 1.0)})):
        with self.NewGraph():
          self.assertEqual(p.Instantiate().GradientShares({}), {})

  def test_only_equal_corruptions_share_a_view(self):
    def _Views(change=lambda p: None, do_eval=False):
      p = _JointParams()
      change(p)
      with self.NewGraph(), cluster_factory.SetEval(do_eval):
        task = p.Instantiate()
        found = task.ComputePredictions(
          task.theta, graph_case.py_utils.NestedMap(labeled=_Speech(), unlabeled=_Batch(1.0))
        )
        return len({id(found[name]) for name in ('labeled', 'labeled_ctc', 'unlabeled')})

    def _Fewer(p):
      p.heads.ctc.spec_augment.time_mask_count = 1

    def _None(p):
      p.heads.ctc.spec_augment = None

    self.assertEqual(_Views(), 2)
    self.assertEqual(_Views(_Fewer), 3)
    self.assertEqual(_Views(_None), 3)
    self.assertEqual(_Views(_None, do_eval=True), 2)  # No masks.

  def test_decoding_takes_speech_of_any_length_without_labels(self):
    with self.EvalMode():
      p = _JointParams()
      p.branches.Delete('unlabeled')
      task = p.Instantiate()
      wave = np.random.RandomState(1).randn(2, 16001).astype(np.float32) * 0.1
      waveforms = tf.placeholder(tf.float32, [2, None])
      speech = graph_case.py_utils.NestedMap(waveforms=waveforms, num_samples=tf.constant([16001, 9000]))
      found = task.Decode(graph_case.py_utils.NestedMap(labeled=speech))
      self.assertEqual(list(found), ['labeled'])  # CTC's branch is not decoded.
      self.Eval(speech.num_samples)  # Initialises.
      a, b = (
        self._session.run(found, {waveforms: np.pad(wave, [[0, 0], [0, padding]], constant_values=np.nan)})
        for padding in (0, 777)
      )
    np.testing.assert_array_equal(a.labeled.lengths, b.labeled.lengths)
    np.testing.assert_allclose(a.labeled.scores, b.labeled.scores, rtol=1e-4)

  def test_one_pass_for_all_branches_or_one_each_gives_the_same(self):
    def _Together(p):
      _UseConformer(p)
      p.encode_together = True

    together, _ = self._Joint(_BOTH, change=_Together)
    apart, _ = self._BothApart()
    self.assertEqual(together.keys(), apart.keys())
    for name, value in together.items():
      np.testing.assert_allclose(value, apart[name], rtol=1e-4, atol=1e-4, err_msg=name)

  def test_batches_in_parts_give_the_same(self):
    whole, expected = self._BothApart()
    batch_split.Use(2)
    self.addCleanup(batch_split.Use, 1)
    parts, found = self._Joint(_BOTH, change=_UseConformer)
    self.assertEqual(whole.keys(), parts.keys())
    for name, value in whole.items():
      np.testing.assert_allclose(parts[name], value, rtol=1e-3, atol=1e-4, err_msg=name)
    np.testing.assert_array_equal(found['labeled/hyp_labels'], expected['labeled/hyp_labels'])

  def test_evaluation_takes_the_branches_whose_streams_are_there(self):
    values, tensors = self._Joint({'labeled': _Speech})
    self.assertNotIn('unlabeled/loss', values)
    self.assertAlmostEqual(values['loss'], _Labels(values), places=5)
    self.assertNotIn('labeled_ctc/hyp_labels', tensors)
    self.assertEqual(tensors['labeled/hyp_labels'].shape[:2], (2, 1))
    self.assertEqual(tensors['labeled/texts'][1], b'texts1')
    with self.assertRaisesRegex(ValueError, 'branches: the input has the streams labeled; expected labeled, unlabeled'):
      self._Joint({'labeled': _Speech}, do_eval=False)

  def test_the_source_branch_never_sees_best_rq_s_masks(self):
    def _NoSpecAugment(p):
      p.heads.transducer.spec_augment = p.heads.ctc.spec_augment = None

    batches = {'unlabeled': lambda: _Batch(1.0), 'labeled': _Speech}
    _, tensors = self._Joint(batches, do_eval=False, change=_NoSpecAugment)
    np.testing.assert_array_equal(tensors['labeled/masked_features'], tensors['labeled/features'])
    self.assertFalse(np.array_equal(tensors['unlabeled/masked_features'], tensors['unlabeled/features']))

  def test_a_transcript_without_a_path_is_counted_and_harmless(self):
    # 0.08 s are three encoded frames: too few for CTC's five labels.
    values, _ = self._Joint({'labeled': lambda: _Labeled(_Batch(0.08), [[3, 4, 5, 6, 7], [3]])})
    self.assertEqual(values['labeled/unalignable'], 0.0)  # The transducer takes any number of labels.
    self.assertEqual(values['labeled_ctc/unalignable'], 0.5)
    self.assertLess(values['loss'], 100.0)

  def test_a_weight_s_schedule_multiplies_it(self):
    def _Schedule(p):
      p.branches.unlabeled.weight_schedule = schedule.Constant.Params().Set(value=0.2)

    values, _ = self._Joint({'unlabeled': lambda: _Batch(1.0), 'labeled': _Speech}, change=_Schedule)
    self.assertAlmostEqual(values['unlabeled/weight'], 0.1, places=5)
    self.assertAlmostEqual(values['loss'], _Labels(values) + 0.1 * values['unlabeled/loss'], places=4)

  def test_a_mean_over_batches_is_the_branches_own(self):
    p = _TaskParams({'a': ('s', 'x', 1.0), 'b': ('t', 'x', 0.5), 'c': ('u', 'x', 3.0)})
    p.branches.c.weight_schedule = schedule.Constant.Params().Set(value=0.2)
    task = p.Instantiate()
    # One batch of 22 frames and a last one of 2, a branch that has ended before it.
    values = metrics_log.Aggregate(
      [
        {'loss': (3.0, 1.0), 'a/loss': (1.0, 22.0), 'b/loss': (4.0, 10.0)},
        {'loss': (9.0, 1.0), 'a/loss': (9.0, 2.0), 'b/loss': (0.0, 0.0)},
      ],
      [],
    )
    self.assertAlmostEqual(task.MeanLoss(values), 40.0 / 24.0 + 0.5 * 4.0)
    self.assertAlmostEqual(task.MeanLoss({'c/loss': 2.0, 'c/weight': 0.1}), 0.2)
    self.assertAlmostEqual(task.MeanLoss({'b/loss': 2.0, 'b/weight': 7.0}), 0.5 * 2.0)  # A metric of its head.
    self.assertIsNone(task.MeanLoss({'wer': 1.0}))

  def test_quantizer_is_bit_equal_after_training_and_the_rest_moves(self):
    task = _TaskParams({'a': ('s', 'x', 1.0)}).Instantiate()
    metrics, _ = task.FPropTower(task.theta, graph_case.py_utils.NestedMap(s=_Batch(2.0)))
    _, update, _ = task.learners[0].Apply(metrics, task.vars)
    frozen = {v.name: v for v in task.Head('x').quantizer.vars.Flatten()}
    moving = {v.name: v for v in task.encoder.vars.Flatten()}
    before = self.Eval({**frozen, **moving})
    for _ in range(3):
      self.Eval(update)
    after = self.Eval({**frozen, **moving})
    self.assertLen(frozen, 3)
    for name in frozen:
      np.testing.assert_array_equal(before[name], after[name])
    moved = [n for n in moving if not np.array_equal(before[n], after[n])]
    self.assertGreater(len(moved), 0.9 * len(moving))
    slots = [v.name for v in tf.global_variables() if 'quantizer' in v.name and 'Adam' in v.name]
    self.assertEmpty(slots)

  def test_every_component_is_counted_once(self):
    task = _TaskParams({'a': ('s', 'x', 1.0), 'b': ('t', 'y', 1.0)}).Instantiate()
    names = [v.name for layer in task.Components().values() for v in layer.vars.Flatten()]
    self.assertCountEqual(names, [v.name for v in task.vars.Flatten()])

  def test_a_stream_s_tokenizer_is_its_head_s(self):
    with tempfile.TemporaryDirectory() as folder:
      tiny_data.Write(f'{folder}/train-0.tfrecord', 2)
      same = shutil.copy('params/tokenizers/graphemes_en.model', folder)
      for file, ok in (
        ('params/tokenizers/graphemes_en.model', True),
        (same, True),
        ('params/tokenizers/wordpieces_en_1024.model', False),
        ('', False),
      ):
        p = _JointParams()
        p.input = input_lib.HydraInput.Params().Set(random_seed=1)
        input_lib.AddStream(p.input, 'labeled', input_lib.StreamParams()).Set(
          file_pattern=f'{folder}/train-*.tfrecord', tokenizer_file=file, labeled=True, batch_size=1
        )
        with self.subTest(file), self.NewGraph():
          if ok:
            p.Instantiate()
          else:
            with self.assertRaisesRegex(
              ValueError,
              rf"branches.labeled: stream labeled has tokenizer_file = '{file}', but head "
              "transducer has 'params/tokenizers/graphemes_en.model'; expected the same model",
            ):
              p.Instantiate()

  def test_an_evaluation_without_strings_counts_no_errors(self):
    task = _JointParams().Instantiate()
    for keys, expected in (
      (('labeled/encoded', 'labeled/texts'), 1),
      (('labeled/encoded',), 0),
      (('labeled/texts',), 0),
    ):
      fake = mock.Mock(
        per_example_tensors=collections.defaultdict(list, dict.fromkeys(keys)),
        branches=task.branches,
        Tokenizers=task.Tokenizers,
      )
      self.assertLen(hypotheses.ForTask(fake), expected)

  def test_errors_name_field_value_and_choices(self):
    with self.assertRaisesRegex(ValueError, r"branches.a.head = 'z': expected one of x"):
      p = _TaskParams({'a': ('s', 'x', 1.0)})
      p.branches.a.head = 'z'
      p.Instantiate()
    with self.assertRaisesRegex(ValueError, r'a.weight = -1.0: expected >= 0'):
      _TaskParams({'a': ('s', 'x', -1.0)}).Instantiate()
    with self.assertRaisesRegex(ValueError, "task.encode_together = 'false': expected None, True or False"):
      _TaskParams({'a': ('s', 'x', 1.0)}).Set(encode_together='false').Instantiate()
    with self.assertRaisesRegex(ValueError, 'task.heads.x: has Decode, but no tokenizer; expected both or neither'):
      p = _TaskParams({'a': ('s', 'x', 1.0)})
      p.heads.x.cls = type('Decoding', (best_rq_head.BestRqHead,), {'Decode': lambda self, *args: None})
      p.Instantiate()
    with self.assertRaisesRegex(ValueError, 'branches: expected at least one'):
      hydra.HydraTask.Params().Instantiate()


if __name__ == '__main__':
  absltest.main()
