"""Gin binds knobs and params, checks them strictly, and writes what replays a run."""

import enum
import os
import re
import time
import typing

import gin
from absl import flags
from absl.testing import absltest
from absl.testing import parameterized
from lingvo import compat as tf
from lingvo import model_registry
from lingvo.core import base_input_generator
from lingvo.core import base_model
from lingvo.core import hyperparams
from lingvo.core import learner
from lingvo.core import optimizer

from fm_lingvo import errors
from fm_lingvo.config import gin_config
from fm_lingvo.config import registry

MODEL = 'test.BridgeToy'
GinError = gin_config.GinError


class Colour(enum.Enum):
  RED = 1
  BLUE = 2


def _Encoder():
  p = hyperparams.Params()
  p.Define('num_layers', 6, '')
  p.Define('model_dim', 16, '')
  p.Define('ff_dim', 64, '')
  p.Define('dropout', 0.1, '')
  p.Define('causal', False, '')
  p.Define('activation', 'SWISH', '')
  p.Define('window', None, '')
  p.Define('strides', [2, 2], '')
  p.Define('shape', (3, 3), '')
  p.Define('names', ['a'], '')
  p.Define('rules', {}, '')
  p.Define('compute_dtype', tf.float32, '')
  p.Define('colour', Colour.RED, '')
  p.Define('fn', len, '')
  return p


class _Input(base_input_generator.BaseInputGenerator):
  @classmethod
  def Params(cls):
    p = super().Params()
    p.batch_size = 8
    p.Define('streams', hyperparams.Params(), '')
    p.streams.Define('unlabeled', hyperparams.Params(), '')
    p.streams.unlabeled.Define('rate', 16000, '')
    p.Define('pattern', '', '')
    return p


class _DevInput(_Input):
  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('only_dev', 1, '')
    return p


@registry.RegisterExperiment(name='test.BridgeToy')
class BridgeToy(registry.Experiment):
  """A small experiment."""

  size: str = ''
  num_codebooks: int = 1
  rate: float = 0.5
  mode: typing.Literal['xavier', 'pca'] = 'xavier'
  limit: int | None = None
  bounds: tuple[float, ...] = (1.0, 2.0)
  mask: bool = True

  gin_dir = ''  # No annotation: no knob.

  def _GinFiles(self):
    return [os.path.join(self.gin_dir, f'{self.size}.gin')] if self.size else []

  def Task(self):
    if self.rate > 1:
      raise ValueError(f'BridgeToy.rate = {self.rate}: expected <= 1')
    p = base_model.BaseTask.Params().Set(name='toy')
    p.encoder = _Encoder().Set(ff_dim=64 * self.num_codebooks)
    p.Define('heads', hyperparams.Params(), '')
    p.heads.Define('best_rq', hyperparams.Params(), '')
    p.heads.best_rq.Define('num_codebooks', self.num_codebooks, '')
    p.heads.best_rq.Define('model_dim', 16, '')
    p.Define('blocks', [_Encoder(), _Encoder()], '')
    p.Define('by_name', {'left': _Encoder()}, '')
    p.train.learner = learner.Learner.Params().Set(optimizer=optimizer.Adam.Params(), learning_rate=1e-3)
    return p

  def Train(self):
    return _Input.Params().Set(pattern=f'train-{self.num_codebooks}')

  def DevHuman(self):
    return _DevInput.Params().Set(batch_size=self.Train().batch_size // 2)


@registry.RegisterExperiment(name='test.BridgeOther')
class BridgeOther(BridgeToy):
  """Another experiment."""

  extra: int = 3


class _Base(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()
    self.dir = self.create_tempdir().full_path
    BridgeToy.gin_dir = self.dir

  def tearDown(self):
    super().tearDown()
    gin_config.Reset()
    BridgeToy.gin_dir = ''

  def Write(self, name, text):
    path = os.path.join(self.dir, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w', encoding='utf-8') as f:
      f.write(text)
    return path

  def Bind(self, *bindings, files=(), search_paths=(), model=MODEL):
    gin_config.Configure(model, files, bindings, search_paths)

  def Get(self, path, dataset='Train', model=MODEL):
    return model_registry.GetParams(model, dataset).Get(path)

  def Error(self, *bindings, **kwargs):
    """The message of the GinError that these bindings raise."""
    with self.assertRaises(GinError) as e:
      self.Bind(*bindings, **kwargs)
    message = str(e.exception)
    self.assertLen(message.splitlines(), 1)
    return message


class BindingTest(_Base):
  def test_knobs_move_what_derives_from_them_and_paths_win_over_both(self):
    self.Bind('BridgeToy.num_codebooks = 4')
    self.assertEqual(self.Get('task.encoder.ff_dim'), 256)
    self.assertEqual(self.Get('task.heads.best_rq.num_codebooks'), 4)
    self.assertEqual(self.Get('input.pattern'), 'train-4')
    self.Bind('task.encoder.ff_dim = 7', 'BridgeToy.num_codebooks = 4')
    self.assertEqual(self.Get('task.encoder.ff_dim'), 7)
    self.assertEqual(self.Get('task.heads.best_rq.num_codebooks'), 4)

  def test_knobs_can_be_named_with_their_module(self):
    self.Bind('test.BridgeToy.num_codebooks = 4')
    self.assertEqual(self.Get('task.encoder.ff_dim'), 256)

  def test_model_and_schedule_are_made_from_the_bound_task(self):
    self.Bind(
      'task.train.max_steps = 12',
      'task.train.tpu_steps_per_loop = 34',
      'model.cluster.split_id = 5',
      "model.name = 'x'",
      'schedule.train_executions_per_eval = 6',
    )
    self.assertEqual(self.Get('train.max_steps'), 12)
    self.assertEqual(self.Get('task.train.max_steps'), 12)
    self.assertEqual(self.Get('cluster.split_id'), 5)
    self.assertEqual(self.Get('name'), 'x')
    schedule = model_registry.GetProgramSchedule(MODEL)
    self.assertEqual(schedule.train_program.steps_per_loop, 34)
    self.assertEqual(schedule.train_executions_per_eval, 6)

  def test_scoped_binding_of_a_data_set_wins_whatever_the_order(self):
    for bindings in [
      ('input.batch_size = 4', 'Train/input.batch_size = 2'),
      ('Train/input.batch_size = 2', 'input.batch_size = 4'),
    ]:
      with self.subTest(str(bindings)):
        self.Bind(*bindings)
        self.assertEqual(self.Get('input.batch_size', 'Train'), 2)
        self.assertEqual(self.Get('input.batch_size', 'DevHuman'), 4)

  def test_a_data_set_made_from_another_does_not_inherit_its_bindings(self):
    self.Bind('Train/input.batch_size = 100')
    self.assertEqual(self.Get('input.batch_size', 'DevHuman'), 4)

  def test_unscoped_binding_reaches_the_data_sets_that_have_the_param(self):
    self.Bind('input.only_dev = 5', 'Train/input.streams.unlabeled.rate = 8000')
    self.assertEqual(self.Get('input.only_dev', 'DevHuman'), 5)
    self.assertNotIn('only_dev', self.Get('input'))
    self.assertEqual(self.Get('input.streams.unlabeled.rate'), 8000)
    self.assertEqual(self.Get('input.streams.unlabeled.rate', 'DevHuman'), 16000)

  def test_lists_and_dicts_of_params_have_names(self):
    self.Bind('task.blocks_1.num_layers = 9', 'task.by_name.left.num_layers = 8')
    task = self.Get('task')
    self.assertEqual([b.num_layers for b in task.blocks], [6, 9])
    self.assertEqual(task.by_name['left'].num_layers, 8)

  def test_a_suffix_that_one_path_has_names_it(self):
    self.Bind('encoder.dropout = 0.3', 'learner.optimizer.beta1 = 0.7')
    self.assertEqual(self.Get('task.encoder.dropout'), 0.3)
    self.assertEqual(self.Get('task.train.learner.optimizer.beta1'), 0.7)

  def test_blocks_files_includes_macros_and_search_paths(self):
    self.Write('lib/base.gin', 'LAYERS = 3\ntask.encoder:\n  num_layers = %LAYERS\n  strides = [%LAYERS, 1]\n')
    first = self.Write('first.gin', "include 'base.gin'\ntask.encoder.dropout = 0.2  # Overridden below.\n")
    second = self.Write('second.gin', 'task.encoder.dropout = 0.4\n')
    self.Bind('LAYERS = 5', files=[first, second], search_paths=[os.path.join(self.dir, 'lib')])
    self.assertEqual(self.Get('task.encoder.num_layers'), 5)
    self.assertEqual(self.Get('task.encoder.strides'), [5, 1])
    self.assertEqual(self.Get('task.encoder.dropout'), 0.4)

  def test_an_include_is_found_beside_its_file_and_in_the_checkout(self):
    self.Write('lib/inner.gin', 'task.encoder.num_layers = 2\n')
    outer = self.Write('lib/outer.gin', 'include "inner.gin"\n')
    self.Bind(files=[outer])
    self.assertEqual(self.Get('task.encoder.num_layers'), 2)

  def test_last_binding_of_a_name_wins(self):
    self.Bind('task.encoder.num_layers = 2\nencoder.num_layers = 3')
    self.assertEqual(self.Get('task.encoder.num_layers'), 3)
    self.Bind('BridgeToy.rate = 0.1', 'test.BridgeToy.rate = 0.2')
    self.assertEqual(gin_config.Overrides(), [('BridgeToy.rate', 0.2, '--gin_bindings')])

  def test_files_of_a_knob_come_before_the_users(self):
    self.Write(
      'tiny.gin', 'W = 32\ntask.encoder.model_dim = %W\ntask.encoder.num_layers = 2\nBridgeToy.num_codebooks = 2\n'
    )
    self.Bind('BridgeToy.size = "tiny"', 'task.encoder.num_layers = 3')
    self.assertEqual(self.Get('task.encoder.model_dim'), 32)
    self.assertEqual(self.Get('task.encoder.num_layers'), 3)
    self.assertEqual(self.Get('task.encoder.ff_dim'), 128)
    self.Bind('BridgeToy.size = "tiny"', 'BridgeToy.num_codebooks = 3', 'W = 8')
    self.assertEqual(self.Get('task.encoder.ff_dim'), 192)
    self.assertEqual(self.Get('task.encoder.model_dim'), 8)
    self.assertEqual([o[0] for o in gin_config.Overrides()], ['BridgeToy.size', 'BridgeToy.num_codebooks'])

  def test_values_become_what_the_params_hold(self):
    for text, path, value in [
      ('task.encoder.dropout = 1', 'task.encoder.dropout', 1.0),
      ('task.encoder.shape = [1, 2]', 'task.encoder.shape', (1, 2)),
      ('task.encoder.strides = (1,)', 'task.encoder.strides', [1]),
      ('task.encoder.names = []', 'task.encoder.names', []),
      ('task.encoder.rules = {"a": (["b"], [])}', 'task.encoder.rules', {'a': (['b'], [])}),
      ('task.encoder.window = None', 'task.encoder.window', None),
      ('task.encoder.window = "any"', 'task.encoder.window', 'any'),
      ('task.encoder.window = -3', 'task.encoder.window', -3),
      ('task.encoder.compute_dtype = "bfloat16"', 'task.encoder.compute_dtype', tf.bfloat16),
      ('task.fprop_dtype = "bfloat16"', 'task.fprop_dtype', tf.bfloat16),
      ('task.encoder.colour = "BLUE"', 'task.encoder.colour', Colour.BLUE),
      ('task.train.save_interval_steps = 5', 'train.save_interval_steps', 5),
    ]:
      with self.subTest(text):
        self.Bind(text)
        self.assertEqual(self.Get(path), value)
        self.assertIs(type(self.Get(path)), type(value))

  def test_typed_knobs_take_what_their_annotation_says(self):
    self.Bind(
      'BridgeToy.rate = 1',
      'BridgeToy.limit = 3',
      'BridgeToy.mode = "pca"',
      'BridgeToy.bounds = [1, 2.5]',
      'BridgeToy.mask = False',
    )
    toy = registry.ModelClass(MODEL)()
    self.assertEqual((toy.limit, toy.mode, toy.mask), (3, 'pca', False))
    self.assertEqual(repr(toy.rate), '1.0')
    self.assertEqual(repr(toy.bounds), '(1.0, 2.5)')
    self.Bind('BridgeToy.limit = None')
    self.assertIsNone(registry.ModelClass(MODEL)().limit)

  def test_configure_starts_afresh_and_leaves_gin_locked(self):
    self.Bind('BridgeToy.num_codebooks = 4', 'task.encoder.num_layers = 2')
    self.assertTrue(gin.config_is_locked())
    self.assertEqual(gin.query_parameter('BridgeToy.num_codebooks'), 4)
    self.Bind('input.batch_size = 3')
    self.assertEqual(self.Get('task.encoder.ff_dim'), 64)
    self.assertEqual(self.Get('task.encoder.num_layers'), 6)
    self.Error('BridgeToy.num_codebooks = "x"')
    self.assertEqual(BridgeToy().num_codebooks, 1)
    self.assertEqual(self.Get('input.batch_size'), 8)  # Nothing stays bound.
    self.assertEqual(gin_config.Overrides(), [])

  def test_params_that_lingvo_freezes_can_be_bound_without_touching_its_default(self):
    self.Bind('task.params_init.scale = 0.25')
    self.assertEqual(self.Get('task.params_init.scale'), 0.25)
    self.assertTrue(self.Get('task.params_init').IsImmutable())
    self.assertNotEqual(base_model.BaseTask.Params().params_init.scale, 0.25)

  def test_bound_params_do_not_share_what_their_user_may_change(self):
    self.Bind('task.encoder.names = ["a", "b"]')
    self.Get('task').encoder.names.append('c')
    self.assertEqual(self.Get('task.encoder.names'), ['a', 'b'])

  def test_no_graph_is_made(self):
    with tf.Graph().as_default() as g:
      self.Bind('task.encoder.num_layers = 2')
      self.assertEmpty(g.get_operations())

  def test_overrides_are_what_the_user_changed(self):
    path = self.Write('a.gin', '\ntask.encoder.num_layers = 6\nTrain/input.batch_size = 2\n')
    self.Bind('BridgeToy.num_codebooks = 1', 'BridgeToy.mask = False', files=[path])
    self.assertEqual(
      gin_config.Overrides(), [('BridgeToy.mask', False, '--gin_bindings'), ('Train/input.batch_size', 2, f'{path}:3')]
    )


class ErrorTest(_Base):
  @parameterized.parameters(
    ('task.encoder.num_layer = 2', 'no such param; did you mean task.encoder.num_layers (int, default 6)?'),
    ('task.encodr.num_layers = 2', 'no such param; did you mean task.encoder.num_layers (int, default 6)?'),
    (
      'task.learner.optimizer.beta1 = 0.5',
      'no such param; did you mean task.train.learner.optimizer.beta1 (float, default 0.9)?',
    ),
    ('model.task.encoder.ff_dim = 2', 'no such param; did you mean task.encoder.ff_dim (int, default 64)?'),
    ('Train/input.batch_sise = 2', 'no such param; did you mean Train/input.batch_size (int, default 8)?'),
    (
      'task.encoder.qqqqqq = 2',
      'no such param; task.encoder has activation, '
      'causal, colour, compute_dtype, dropout, ff_dim, model_dim, names, ... '
      '(13 in all)',
    ),
    ('task.encoder.num_layers.qqqqqq = 2', 'no such param; task.encoder.num_layers is a value'),
    (
      'qqq.zzzzz = 2',
      "no such param; paths start with one of task, input, model, schedule or with the experiment's name",
    ),
    ("encoder.num_layers = 'two'", 'expected int (default 6), got str; for example --gin.encoder.num_layers=6'),
    ('task.encoder.num_layers = 2.0', 'expected int (default 6), got float; write --gin.task.encoder.num_layers=2'),
    (
      'task.encoder.num_layers = True',
      'expected int (default 6), got bool; for example --gin.task.encoder.num_layers=6',
    ),
    (
      'task.encoder.num_layers = None',
      'expected int (default 6), got NoneType; for example --gin.task.encoder.num_layers=6',
    ),
    ('task.encoder.causal = 1', 'expected bool (default False), got int; write --gin.task.encoder.causal=True'),
    (
      'task.encoder.activation = 1',
      "expected str (default 'SWISH'), got int; write --gin.task.encoder.activation=\"'1'\"",
    ),
    (
      'task.encoder.shape = 3',
      'expected tuple of float or int (default (3, 3)), got int; write --gin.task.encoder.shape="(3,)"',
    ),
    (
      "task.encoder.names = ['a', 3]",
      "expected list of str (default ['a']); an element: expected str, got int; write "
      "--gin.task.encoder.names=\"['a', '3']\"",
    ),
    ('task.encoder.rules = []', 'expected dict (default {}), got list'),
    ("task.encoder.compute_dtype = 'bfloat61'", "expected name of a dtype (default 'float32'); did you mean bfloat16?"),
    ("task.encoder.colour = 'GREEN'", "expected name in Colour (RED, BLUE) (default 'RED'), got str"),
    ("task.encoder.fn = 'max'", 'function values come from code, not from Gin'),
    ("task.cls = 'x'", 'class values come from code, not from Gin'),
    ('task.heads.best_rq = 3', 'a group of params, not a value; bind one of model_dim, num_codebooks'),
    ('task.by_name = {}', 'a group of params, not a value; bind one of left'),
    ('model.train.max_steps = 3', 'Lingvo copies it; bind task.train.max_steps'),
    ('model.cluster.worker.gpus_per_replica = 2', 'the job flags set it, e.g. --worker_gpus'),
    ('Train/task.encoder.ff_dim = 3', 'only input params have a data-set scope; did you mean task.encoder.ff_dim?'),
    ('Tran/input.batch_size = 3', 'test.BridgeToy has no data set Tran; did you mean Train/input.batch_size?'),
    ('Qqq/input.batch_size = 3', 'test.BridgeToy has no data set Qqq; its data sets are DevHuman, Train'),
    (
      'num_layers = 2',
      'a macro that nothing uses; did you mean '
      'task.blocks_0.num_layers (int, default 6) or '
      'task.blocks_1.num_layers (int, default 6) or '
      'task.encoder.num_layers (int, default 6)?',
    ),
    ('limit = 2', 'a macro that nothing uses; did you mean BridgeToy.limit (int or None, default None)?'),
    ('QQQQQ = 2', 'a macro that nothing uses; a param has a dot in its name, e.g. task.name'),
    (
      'BridgeToy.num_codeboks = 4',
      'no such knob of test.BridgeToy; did you mean BridgeToy.num_codebooks (int, default 1)?',
    ),
    (
      'BridgeToy.qqq = 4',
      'no such knob of test.BridgeToy; its knobs are size, num_codebooks, rate, mode, limit, bounds, mask',
    ),
    ('BridgeToi.num_codebooks = 4', 'no such experiment; did you mean BridgeToy.num_codebooks (int, default 1)?'),
    ('test.BridgeToi.num_codebooks = 4', 'no such experiment; did you mean BridgeToy.num_codebooks (int, default 1)?'),
    ('Qqq.num_codebooks = 4', 'no such experiment; --model=test.BridgeToy has knobs BridgeToy.NAME'),
    (
      'BridgeOther.num_codebooks = 4',
      'a knob of BridgeOther, but --model=test.BridgeToy runs; did you mean BridgeToy.num_codebooks (int, default 1)?',
    ),
    ('BridgeOther.extra = 4', 'a knob of BridgeOther, but --model=test.BridgeToy runs'),
    ('Train/BridgeToy.num_codebooks = 4', 'knobs have no data-set scope; did you mean BridgeToy.num_codebooks?'),
    ("BridgeToy.num_codebooks = '4'", 'expected int (default 1), got str; write --gin.BridgeToy.num_codebooks=4'),
    (
      'BridgeToy.rate = 1e999',
      'expected a finite number (default 0.5), got 1e999; for example --gin.BridgeToy.rate=0.5',
    ),
    (
      'task.encoder.dropout = -1e999',
      'expected a finite number (default 0.1), got -1e999; for example --gin.task.encoder.dropout=0.1',
    ),
    (
      'BridgeToy.bounds = (1.0, 1e999)',
      'expected tuple of float (default (1.0, 2.0)); an element: expected a finite number, got 1e999; '
      'for example --gin.BridgeToy.bounds="(1.0, 2.0)"',
    ),
    ('BridgeToy.limit = 0.5', 'expected int or None (default None), got float'),
    (
      "BridgeToy.bounds = ('a',)",
      'expected tuple of float (default (1.0, 2.0)); an element: expected float, got str; '
      'for example --gin.BridgeToy.bounds="(1.0, 2.0)"',
    ),
    ("BridgeToy.mode = 'pcaa'", "expected one of 'xavier', 'pca' (default 'xavier'); did you mean pca?"),
    ('task.encoder.window = @BridgeToy()', '@BridgeToy() refers to code; expected a plain value or a %MACRO'),
    ('task.encoder.window = [1, %MISSING]', 'macro MISSING is not defined'),
    (
      'task.encoder.window = %gin.REQUIRED',
      "a value is required; set it, e.g. --gin_bindings='task.encoder.window = ...'",
    ),
    ('encoder.model_dim = foo', "syntax error: foo is not a Gin value; a string needs quotes: 'foo'"),
    ('task.encoder.causal = true', 'syntax error: true is not a Gin value; did you mean True?'),
    ('task.encoder.causal = 3 4', 'syntax error: Expected newline.'),
    ('import os', 'a Gin file must not import Python; --import_module imports your own experiments'),
    ('from os import path', 'a Gin file must not import Python; --import_module imports your own experiments'),
  )
  def test_message(self, binding, message):
    self.assertEqual(self.Error(binding), f'--gin_bindings: {binding}: {message}')

  def test_a_suffix_of_several_paths_lists_them(self):
    self.assertEqual(
      self.Error('optimizer.beta1 = 0.5'),
      '--gin_bindings: optimizer.beta1 = 0.5: ambiguous; could be '
      'task.train.learner.optimizer.beta1, task.train.optimizer.beta1',
    )
    self.Bind('best_rq.model_dim = 3')  # Of the two model_dim, one ends so.
    self.assertEqual(self.Get('task.heads.best_rq.model_dim'), 3)
    self.assertEqual(self.Get('task.encoder.model_dim'), 16)

  def test_unreadable_text_is_one_line(self):
    for text in [
      'task.encoder.names = [',
      'task.encoder.names = "',
      '= 3',
      'a b',
      'task.encoder.num_layers =',
      'task..encoder = 3',
      '@x = 1',
      'task.encoder.rules = {[1]: 2}',
      'task.encoder:\n  x\n',
      '%A = 3',
      'a.b = 0777',
      'a.b = f"x"',
      '  a.b = 1\n c.d = 2',
      '\x00',
      'a/b/',
    ]:
      with self.subTest(text):
        self.assertStartsWith(self.Error(text), '--gin_bindings')

  def test_an_error_in_a_file_names_file_and_line(self):
    path = self.Write('a.gin', '# Comment.\n\ntask.encoder.num_layer = 2\n')
    self.assertStartsWith(self.Error(files=[path]), f'{path}:3: task.encoder.num_layer = 2: no such param')
    path = self.Write('b.gin', 'task.encoder:\n  dropout = 0.1\n  causal = 3\n')
    self.assertStartsWith(self.Error(files=[path]), f'{path}:3: task.encoder.causal = 3: expected bool')
    path = self.Write('c.gin', 'include "b.gin"\n')
    self.assertStartsWith(self.Error(files=[path]), f'{self.dir}/b.gin:3: task.encoder.causal = 3: ')
    path = self.Write('d.gin', 'a.b = 1\nx.y = [1,\n')
    self.assertStartsWith(self.Error(files=[path]), f'{path}:')
    self.assertStartsWith(self.Error('a.b = 1\nimport os\n'), '--gin_bindings:2: import os: ')

  def test_a_missing_file_names_the_nearest(self):
    self.Write('small.gin', '')
    self.Write('broad.gin', '')
    name = os.path.join(self.dir, 'smal.gin')
    self.assertEqual(self.Error(files=[name]), f'--gin_file={name}: no such file; did you mean {self.dir}/small.gin?')
    self.assertEqual(
      self.Error(files=['smal.gin'], search_paths=[self.dir]),
      '--gin_file=smal.gin: no such file; did you mean small.gin?',
    )
    path = self.Write('a.gin', '\ninclude "smal"\n')
    self.assertEqual(self.Error(files=[path]), f"{path}:2: include 'smal': no such file; did you mean small.gin?")
    self.assertStartsWith(
      self.Error(files=[os.path.join(self.dir, 'qqqqqqqq')]),
      f'--gin_file={self.dir}/qqqqqqqq: no such file; searched {self.dir}',
    )
    self.assertEqual(self.Error(search_paths=['no/such']), '--gin_search_paths=no/such: no such folder')
    self.assertRegex(self.Error(files=['s9://a/b.gin']), r'^s9://a/b.gin: cannot be read \(File system scheme .*\)$')

  def test_a_byte_order_mark_is_no_part_of_a_file(self):
    self.Write('inner.gin', '\ufefftask.encoder.causal = 3\n')
    path = self.Write('outer.gin', '\ufeffinclude "inner.gin"\n')
    self.assertStartsWith(self.Error(files=[path]), f'{self.dir}/inner.gin:1: task.encoder.causal = 3: expected bool')

  def test_files_that_cannot_be_read_as_gin(self):
    path = self.Write('loop.gin', 'include "loop.gin"\n')
    self.assertEqual(self.Error(files=[path]), f"{path}:1: include 'loop.gin': the file includes itself")
    path = os.path.join(self.dir, 'binary.gin')
    with open(path, 'wb') as f:
      f.write(b'\xff\xfe\x80')
    self.assertEqual(self.Error(files=[path]), f'--gin_file={path}: not a text file, expected UTF-8')
    self.assertStartsWith(self.Error(files=[self.dir]), f'--gin_file={self.dir}: no such file')

  def test_a_missing_size_names_the_nearest(self):
    self.Write('tiny.gin', '')
    self.Write('large.gin', '')
    self.assertEqual(
      self.Error('BridgeToy.size = "tinny"'),
      f"--gin_bindings: BridgeToy.size = 'tinny': no file {self.dir}/tinny.gin "
      "(available: large, tiny); did you mean 'tiny'?",
    )

  def test_a_size_that_chooses_another_size_is_refused(self):
    self.Write('tiny.gin', 'BridgeToy.size = "large"\n')
    self.Write('large.gin', '')
    self.Bind('BridgeToy.size = "tiny"')  # The user's word stands.
    BridgeToy._GinFiles, saved = (
      lambda toy: [os.path.join(self.dir, f'{toy.size or "tiny"}.gin')],
      BridgeToy._GinFiles,
    )
    try:
      self.assertRegex(self.Error(), 'tiny.gin: binds the knob that selected it')
    finally:
      BridgeToy._GinFiles = saved

  def test_macros_that_go_wrong(self):
    self.assertEqual(
      self.Error('BATHC = 3', 'BATCH = 4', 'input.batch_size = %BATCH'),
      '--gin_bindings: BATHC = 3: a macro that nothing uses; did you mean BATCH?',
    )
    self.assertEqual(
      self.Error('BATCH = 4', 'task.encoder.ff_dim = %BATCH', 'input.batch_size = %BATHC'),
      '--gin_bindings: input.batch_size = %BATHC: macro BATHC is not defined; did you mean BATCH?',
    )
    self.assertEqual(
      self.Error('A = %B', 'B = [%A]', 'input.batch_size = %A'),
      '--gin_bindings: B = [%A]: the definition of macro A refers to itself',
    )
    self.assertEqual(
      self.Error('BATCH = "x"', 'input.batch_size = %BATCH'),
      '--gin_bindings: input.batch_size = %BATCH: expected int (default 8), got str; for example 8; '
      "--gin_bindings: BATCH = 'x'",
    )
    self.assertEqual(
      self.Error('N = %gin.REQUIRED', 'input.batch_size = %N'),
      "--gin_bindings: N = %gin.REQUIRED: a value is required; set it, e.g. --gin_bindings='N = ...'",
    )

  def test_a_required_value_that_is_set_later_is_fine(self):
    path = self.Write('run.gin', 'N = %gin.REQUIRED\ninput.batch_size = %N\nBridgeToy.rate = %gin.REQUIRED\n')
    self.Bind('N = 3', 'BridgeToy.rate = 0.25', files=[path])
    self.assertEqual(self.Get('input.batch_size'), 3)
    self.assertStartsWith(self.Error('N = 3', files=[path]), f'{path}:3: BridgeToy.rate = %gin.REQUIRED: a value is')

  def test_a_macro_of_an_overridden_binding_is_no_orphan(self):
    path = self.Write('a.gin', 'N = 3\ninput.batch_size = %N\n')
    self.Bind('input.batch_size = 5', files=[path])
    self.assertEqual(self.Get('input.batch_size'), 5)

  def test_a_late_binding_that_changes_no_data_set_is_an_error(self):
    path = self.Write('a.gin', 'Train/input.batch_size = 2\nDevHuman/input.batch_size = 2\n')
    self.assertEqual(
      self.Error('input.batch_size = 4', files=[path]),
      '--gin_bindings: input.batch_size = 4: no effect: every data set with '
      f'this param has a scoped binding, e.g. DevHuman/input.batch_size at {path}:2',
    )

  def test_a_value_that_the_experiment_refuses_is_one_line(self):
    self.assertEqual(
      self.Error('BridgeToy.rate = 2.0'), '--model=test.BridgeToy: Task(): BridgeToy.rate = 2.0: expected <= 1'
    )

  def test_errors_are_fast_and_of_the_class_that_the_trainer_prints(self):
    self.Bind()
    start = time.time()
    for binding in 'task.encodr.num_layers = 2', 'num_layrs = 2', 'x.y.z = 3':
      with self.assertRaises(errors.ConfigError):
        self.Bind(binding)
    self.assertLess(time.time() - start, 3)


class ConfigTextTest(_Base):
  def Texts(self, model=MODEL):
    """Every params text that Lingvo can ask for."""
    texts = {d: model_registry.GetParams(model, d).ToText() for d in registry.DatasetNames(model)}
    texts['schedule'] = model_registry.GetProgramSchedule(model).ToText()
    return texts

  def Replay(self, *bindings, files=(), model=MODEL, **kwargs):
    """Checks that config.gin gives the same params; returns its text."""
    self.Bind(*bindings, files=files, model=model)
    before = self.Texts(model)
    for reference in True, False:
      text = gin_config.ConfigText(model, reference)
      self.Bind(files=[self.Write('config.gin', text)], model=model, **kwargs)
      self.assertEqual(self.Texts(model), before)
      self.Bind(*bindings, files=files, model=model)
    return text

  @parameterized.parameters(
    (),
    ('BridgeToy.num_codebooks = 4', 'task.encoder.ff_dim = 3'),
    ('BridgeToy.rate = 1', 'BridgeToy.bounds = (0.1, 1e-7, 1e300)'),
    ('BATCH = 3', 'LIST = [%BATCH, 1]', 'Train/input.batch_size = %BATCH', 'task.encoder.strides = %LIST'),
    ('Train/input.batch_size = 3', 'input.batch_size = 5'),
    ('task.encoder.window = "a\\n\\"b\'%X # y"', 'task.encoder.names = []'),
    ('task.encoder.compute_dtype = "bfloat16"', 'task.fprop_dtype = "float16"', 'task.encoder.colour = "BLUE"'),
    ('task.encoder.window = [1e999, -1e999]',),
    ('task.encoder.rules = {"a": ([("x", 1)], (2,), None, True)}',),
    (
      'model.cluster.split_id = 3',
      'schedule.train_executions_per_eval = 4',
      'task.blocks_1.num_layers = 3',
      'learner.optimizer.beta1 = 0.3',
    ),
    ('s/N = 3', 'input.batch_size = %s/N'),
  )
  def test_replay_gives_equal_params(self, *bindings):
    self.Replay(*bindings)

  def test_replay_of_another_experiment_with_inherited_knobs(self):
    text = self.Replay('BridgeOther.num_codebooks = 4', model='test.BridgeOther')
    self.assertIn('BridgeOther.extra = 3\n', text)

  def test_replay_with_files_of_a_knob(self):
    self.Write('tiny.gin', 'task.encoder.model_dim = 32\nBridgeToy.num_codebooks = 2\nN = 3\ninput.batch_size = %N\n')
    self.Write('large.gin', 'task.encoder.model_dim = 64\n')
    self.Replay('BridgeToy.size = "tiny"')
    text = self.Replay('BridgeToy.size = "tiny"', 'N = 9', 'task.encoder.ff_dim = 1')
    # Another size on replay brings its own values, not those of the first.
    path = self.Write('run.gin', text.replace('N = 9', '# N = 9'))
    self.Bind('BridgeToy.size = "large"', files=[path])
    self.assertEqual(self.Get('task.encoder.model_dim'), 64)
    self.assertEqual(self.Get('task.heads.best_rq.num_codebooks'), 1)
    self.assertEqual(self.Get('task.encoder.ff_dim'), 1)

  def test_a_knob_changed_on_replay_moves_what_derives_from_it(self):
    self.Bind('BridgeToy.rate = 0.1')
    path = self.Write('config.gin', gin_config.ConfigText(MODEL))
    self.Bind('BridgeToy.num_codebooks = 3', files=[path])
    self.assertEqual(self.Get('task.encoder.ff_dim'), 192)
    self.assertEqual([o[:2] for o in gin_config.Overrides()], [('BridgeToy.num_codebooks', 3), ('BridgeToy.rate', 0.1)])

  def test_text_marks_what_was_overridden_and_lists_the_rest(self):
    self.Bind('BridgeToy.num_codebooks = 4', 'B = 2', 'Train/input.batch_size = %B')
    text = gin_config.ConfigText(MODEL)
    for line in [
      '# Configuration of test.BridgeToy. To replay the run:',
      'B = 2  # <- --gin_bindings',
      'BridgeToy.num_codebooks = 4  # <- --gin_bindings; was 1',
      'BridgeToy.rate = 0.5',
      'Train/input.batch_size = %B  # <- --gin_bindings; was 8',
      '# DevHuman/input.batch_size = 4',
      '# task.encoder.ff_dim = 256',
      "# task.encoder.compute_dtype = 'float32'",
      '# from code: task.encoder.fn: len',
      '# task.by_name.left.num_layers = 6',
    ]:
      self.assertIn(f'\n{line}\n', f'\n{text}')
    self.assertNotIn('0x', text)
    self.assertNotIn('task.encoder.ff_dim', gin_config.ConfigText(MODEL, False))

  def test_every_listed_value_can_be_bound_as_it_stands(self):
    self.Bind()
    before = self.Texts()
    lines = gin_config.ConfigText(MODEL).splitlines()
    listed = [l[2:] for l in lines if re.match(r'# [\w./]+ = ', l)]
    self.assertGreater(len(listed), 100)
    self.Bind('\n'.join(listed))
    self.assertEqual(self.Texts(), before)

  def test_text_of_a_model_that_is_not_configured(self):
    with self.assertRaisesRegex(GinError, 'not configured'):
      gin_config.ConfigText(MODEL)


class RewriteGinArgsTest(absltest.TestCase):
  def test_values_and_bare_words(self):
    for arg, rewritten in [
      ('--gin.task.encoder.num_layers=2', 'task.encoder.num_layers = 2'),
      ('--gin.Train/input.batch_size=4', 'Train/input.batch_size = 4'),
      ('--gin.BATCH=4', 'BATCH = 4'),
      ('--gin.a.b=-1.5e-3', 'a.b = -1.5e-3'),
      ('--gin.a.b=True', 'a.b = True'),
      ('--gin.a.b=None', 'a.b = None'),
      ('--gin.a.b=%BATCH', 'a.b = %BATCH'),
      ('--gin.a.b=(1, "x")', 'a.b = (1, "x")'),
      ('--gin.a.b="x=y"', 'a.b = "x=y"'),
      ('--gin.a.b=base', "a.b = 'base'"),
      ('--gin.a.b=data/demo', "a.b = 'data/demo'"),
      ('--gin.a.b=true', "a.b = 'true'"),
      ('--gin.a.b=x=1', "a.b = 'x=1'"),
      ('--gin.a.b=1 2', "a.b = '1 2'"),
      ('--gin.a.b=2026-01-02', "a.b = '2026-01-02'"),
      ("--gin.a.b=it's", 'a.b = "it\'s"'),
      ('--gin.a.b=', "a.b = ''"),
      ('--gin.a.b=1\nc.d = 2', "a.b = '1\\nc.d = 2'"),
      ('--gin.a.b=1 # x', 'a.b = 1 # x'),
      ('--gin.a.b=[1', 'a.b = [1'),
    ]:
      with self.subTest(arg):
        self.assertEqual(gin_config.RewriteGinArgs([arg]), [f'--gin_bindings={rewritten}'])

  def test_other_arguments_stay_and_the_list_is_new(self):
    argv = ['trainer', '--gin_bindings=a.b = 1', '--ginx=1', '-x', '--', '--gin.a=1']
    rewritten = gin_config.RewriteGinArgs(argv)
    self.assertEqual(rewritten, argv)
    self.assertIsNot(rewritten, argv)

  def test_a_name_without_value_is_an_error(self):
    with self.assertRaisesRegex(GinError, r'^--gin.a.b: expected --gin.NAME=VALUE$'):
      gin_config.RewriteGinArgs(['--gin.a.b'])


if __name__ == '__main__':
  absltest.main()
