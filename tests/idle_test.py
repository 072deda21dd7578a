"""config/idle.py: no setting is ignored without a word; a knob reaches the params, or its experiment says why not."""

import dataclasses

from absl.testing import absltest
from absl.testing import parameterized
from lingvo import model_registry
from lingvo.core import hyperparams

from fm_lingvo import errors
from fm_lingvo.config import gin_config
from fm_lingvo.config import idle
from fm_lingvo.config import registry
from fm_lingvo.heads import best_rq_head
from fm_lingvo.hydra import HydraTask
from fm_lingvo.run_files import run_dir
from params import asr
from params import base

_PARAMS = (hyperparams.Params, list)  # A list may have Params.
_DERIVED = ('stack',)  # None stands for the value that its owner sets; any other is checked.

# Other values than the defaults, of knobs where one that is made up would be refused.
_OTHER = {
  'size': 'small',
  'frame_ms': 80,
  'compute_dtype': 'bfloat16',
  'tokenizer': 'params/tokenizers/pieces_en_128.model',
  'adapter_kind': 'lora',
  'adapter_dim': 7,
  'adapter_position': 'parallel',
  'lora_projections': ('key',),
  'projection': 'pca',
  'factorization': 'hat',
  'label_share': 0.5,
}


@registry.RegisterExperiment(name='test.IdleHeads')
class IdleHeads(asr.BestRqPretrain):
  """With a head that no branch uses."""

  def Task(self):
    p = super().Task()
    HydraTask.AddHead(p, 'second', best_rq_head.BestRqHead.Params())
    return p


def _Other(name, default):
  """Another value of a knob than its default."""
  if name in _OTHER:
    return _OTHER[name]
  if isinstance(default, bool):
    return not default
  if isinstance(default, (int, float)):
    return 2 * default + 2 if isinstance(default, int) else default / 2 + 0.01
  if isinstance(default, tuple):
    return (*default, default[0])
  return f'{default}x'


def _Text(experiment):
  """All that an experiment makes of its knobs."""
  trees = [experiment.Task(), *(getattr(experiment, name)() for name in experiment.datasets)]
  return '\n'.join([*experiment._GinFiles(), *(tree.ToText() for tree in trees)])


def _Experiment(name, **knobs):
  experiment = registry.Import(name)(**knobs)
  experiment.datasets = registry.DatasetNames(name)
  return experiment


def _Configure(model, *bindings):
  gin_config.Configure(model, (), [*bindings])
  gin_config.CheckIdle()


def _Layers(layer):
  """A layer and all below it."""
  yield layer
  for child in layer.children.Flatten():
    yield from _Layers(child)


def _Own(node):
  """Names of the values that the classes of this project add to a layer's Params."""
  if not node.cls.__module__.startswith('fm_lingvo'):
    return []
  lingvos = next(cls for cls in node.cls.__mro__ if cls.__module__.startswith('lingvo')).Params()
  known = {*lingvos.GetKeys(), *_DERIVED}
  return [name for name, value in node.IterParams() if name not in known and not isinstance(value, _PARAMS)]


class KnobsTest(parameterized.TestCase):
  @parameterized.parameters(
    ('asr.BestRqPretrain', {}),
    ('asr.JustHydra', {}),
    ('text.LanguageModel', {}),
    ('asr.AdapterFinetune', {'adapter_kind': 'lora', 'augment': False, 'pseudo_weight': 1.0}),
    ('asr.AdapterFinetune', {'adapter_kind': 'bias', 'spec_augment': False, 'label_share': 1.0}),
  )
  def test_every_knob_reaches_the_params_or_is_said_to_be_idle(self, name, knobs):
    experiment = _Experiment(name, **knobs)
    text, whys = _Text(experiment), experiment._Idle()
    fields = {f.name: getattr(experiment, f.name) for f in dataclasses.fields(experiment)}
    self.assertContainsSubset(whys.keys(), fields.keys())
    for knob, value in fields.items():
      if knob in whys or knob in knobs:
        continue
      try:
        changed = _Text(_Experiment(name, **{**knobs, knob: _Other(knob, value)}))
      except errors.ConfigError:
        continue  # It was looked at.
      self.assertFalse(changed == text, f'{knob}: neither in the params nor in _Idle()')

  def test_a_knob_without_effect_is_refused_with_the_reason(self):
    for model, binding, why, others in (
      ('AdapterFinetune', 'adapter_dim = 64', "with adapter_kind = 'bias'", ["adapter_kind = 'bias'"]),
      ('AdapterFinetune', 'lora_alpha = 8.0', "without adapter_kind = 'lora'", []),
      ('AdapterFinetune', 'label_seed = 2', 'without label_share < 1', ['label_share = 1.0']),
      ('BestRqPretrain', 'effects_prob = 0.1', 'without augment_unlabeled = True', []),
      ('JustHydra', 'effects_prob = 0.1', 'without augment or augment_unlabeled = True', ['augment = False']),
      ('Supervised', "pseudo = 'more'", 'without pseudo_weight > 0', []),
      ('Supervised', 'spec_augment_start_step = 9', 'without spec_augment = True', ['spec_augment = False']),
    ):
      with self.subTest(binding), self.assertRaises(errors.GinError) as caught:
        _Configure(f'asr.{model}', *(f'{model}.{other}' for other in [*others, binding]))
      default = repr(getattr(registry.Import(f'asr.{model}'), binding.partition(' ')[0]))
      self.assertEqual(
        str(caught.exception),
        f'--gin_bindings: {model}.{binding}: has no effect {why}; expected {default}',
      )

  def test_defaults_and_what_has_an_effect_are_taken(self):
    _Configure('asr.AdapterFinetune', "AdapterFinetune.adapter_kind = 'bias'", 'AdapterFinetune.lora_alpha = 16.0')
    _Configure('asr.AdapterFinetune', "AdapterFinetune.adapter_kind = 'lora'", 'AdapterFinetune.adapter_dim = 4')
    _Configure(
      'asr.JustHydra', 'JustHydra.augment = False', 'JustHydra.augment_unlabeled = True', 'JustHydra.effects_prob = 0.1'
    )

  def test_the_knobs_of_augmentation_are_all_idle_without_it(self):
    fields = {field.name for field in dataclasses.fields(base.AugmentKnobs)}
    self.assertEqual(set(asr.BestRqPretrain()._Idle()), fields)


class ParamsTest(absltest.TestCase):
  def tearDown(self):
    gin_config.Reset()
    super().tearDown()

  def _Whys(self, model, *bindings, dataset='Train'):
    """dict: path -> why, of the params without effect."""
    gin_config.Configure(model, (), [*bindings])
    trees = gin_config._config.bound
    return {**idle.Params(trees['task']), **idle.Params(trees[dataset])}

  def test_params_say_why(self):
    head, labeled = 'task.heads.transducer', 'input.streams.labeled'
    always = {
      'task.train.best_max_to_keep': 'without best_metric',
      'task.train.best_is_highest': 'without best_metric',
      'task.train.early_stop_min_steps': 'without early_stop_patience',
      'task.train.init_from_averages': 'without init_from',
      'task.train.save_interval_seconds': 'with save_interval_steps',
      'task.train.learning_rate': 'with task.train.learner; bind task.train.learner.learning_rate',
      'task.train.optimizer': 'with task.train.learner; bind task.train.learner.optimizer',
      'task.encoder.adapter_tpl': 'without adapters',
      'task.encoder.group_norm_groups': "without conv_norm = 'group_norm'",
      'task.encoder.subsampling.channels': "without kind = 'conv'",
      'task.frontend.global_batches': "without normalization = 'global'",
      f'{head}.lm_weight': 'without lm_file',
      f'{head}.hotword_boost': 'without hotwords',
      f'{head}.prediction.context_size': "without kind = 'stateless'",
      f'{labeled}.share_seed': 'with share = 1',
      f'{labeled}.augment.recorded.max_minutes': 'without noise_dir or rir_dir',
    }
    changed = {
      f'{head}.prediction.kind': ('stateless', {f'{head}.prediction.num_layers': "without kind = 'lstm'"}),
      f'{head}.spec_augment.freq_mask_count': (
        0,
        {f'{head}.spec_augment.freq_mask_max_bins': 'with freq_mask_count = 0'},
      ),
      f'{labeled}.shuffle': (False, {f'{labeled}.shuffle_buffer_size': 'with shuffle = False'}),
      f'{labeled}.augment.reverb_prob': (0.0, {f'{labeled}.augment.reverb_t60_range': 'with reverb_prob = 0'}),
    }
    whys = self._Whys('asr.Supervised')
    self.assertContainsSubset(always.items(), whys.items())
    bound = self._Whys('asr.Supervised', *(f'{name} = {value!r}' for name, (value, _) in changed.items()))
    for _, expected in changed.values():
      self.assertContainsSubset(expected.items(), bound.items())
      self.assertNoCommonElements(expected.keys(), whys.keys())
    without = self._Whys('asr.Supervised', 'Supervised.effects_prob = 0.0')
    for name in ('reverb_prob', 'noise_snr_db_range', 'babble_prob', 'eq_ripple_db', 'telephone_low_hz_range'):
      self.assertEqual(without[f'{labeled}.augment.{name}'], 'with effects_prob = 0')
    lora = self._Whys('asr.AdapterFinetune', "AdapterFinetune.adapter_kind = 'lora'")
    self.assertEqual(lora['task.encoder.adapter_tpl'], "without adapter_kind = 'residual'")
    self.assertNotIn('task.encoder.lora_tpl', lora)
    self.assertNotIn(f'{labeled}.share_seed', lora)  # Which trains on a share.

  def test_branches_and_heads_say_why(self):
    whys = self._Whys('test.IdleHeads')
    expected = {
      'task.branches.unlabeled.decode': 'with a head that does not decode',
      'task.train.gradient_share_interval_steps': 'with one branch',
      'task.heads.second': "without a branch with head = 'second'",
      'task.heads.best_rq.quantizer.pca_batches': "without projection = 'pca'",
    }
    self.assertContainsSubset(expected.items(), whys.items())
    self.assertNotIn('task.heads.best_rq', whys)

  def test_params_below_a_group_without_effect_are_refused(self):
    with self.assertRaisesRegex(errors.GinError, "rank = 2: has no effect without adapter_kind = 'lora'; expected 8$"):
      _Configure('asr.AdapterFinetune', 'task.encoder.lora_tpl.rank = 2')

  def test_a_param_that_has_an_effect_in_one_data_set_is_taken_for_all(self):
    name = 'input.streams.labeled.share_seed'
    _Configure('asr.FullFinetune', f'{name} = 2')  # Train has a share, DevTarget has not.
    with self.assertRaisesRegex(errors.GinError, f'DevTarget/{name} = 2: has no effect with share = 1; expected 0'):
      _Configure('asr.FullFinetune', f'DevTarget/{name} = 2')

  def test_every_param_that_its_owner_overwrites_is_said_to_be_idle(self):
    for model, *bindings in (
      ('asr.JustHydra', "task.encoder.adapters = ['a']", 'task.encoder.num_layers = 1'),
      ('asr.AdapterFinetune', "AdapterFinetune.adapter_kind = 'lora'", 'task.encoder.num_layers = 1'),
      ('text.LanguageModel',),
    ):
      whys = self._Whys(model, *bindings)
      task = run_dir.DeclaredTask(model_registry.GetParams(model, 'Train'))
      built = list(_Layers(task))
      for path, node in gin_config._config.bound['task'].nodes.items():
        of_class = [layer.params for layer in built if 'cls' in node and type(layer) is node.cls]
        for name in _Own(node) if of_class else ():
          if node.Get(name) not in [p.Get(name) for p in of_class]:
            self.assertIn(f'{path}.{name}', whys, f'{model}: its owner overwrites it')

  def test_a_param_that_its_owner_overwrites_is_refused(self):
    for name, value, why in (
      ('task.encoder.num_bins', 40, 'since the hydra sets it to task.frontend.mel.num_bins; expected None'),
      ('task.encoder.subsampling.causal', True, 'since the encoder sets it to its own; expected False'),
      ('task.heads.transducer.joint.vocab_size', 9, "since the head sets it to the tokenizer's; expected None"),
    ):
      with self.subTest(name), self.assertRaisesRegex(errors.GinError, f'{name} = {value}: has no effect {why}$'):
        _Configure('asr.JustHydra', f'{name} = {value}')

  def test_a_finished_run_with_such_a_setting_can_be_loaded(self):
    gin_config.Configure('asr.Supervised', (), ["Supervised.pseudo = 'more'"])
    self.assertEqual(model_registry.GetParams('asr.Supervised', 'Train').task.name, 'task')


if __name__ == '__main__':
  absltest.main()
