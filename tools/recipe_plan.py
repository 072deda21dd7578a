"""The recipe as data: which stages there are, what each trains from, with which knobs, and in which group."""

import dataclasses

from fm_lingvo import errors
from fm_lingvo.utils import suggest

from . import recipe_data

# Share of the target's training labels that the adapted model may use: 21.6M of the paper's 300M + 21.6M [abstract].
SMALL_SHARE = 0.067
CURVE_SHARES = (0.03, SMALL_SHARE, 0.13, 0.25, 0.5, 1.0)
SEED = 1  # Of every stage that is trained once.
SEED_GROUPS = {'seed2': 2, 'seed3': 3}
# Trained with more seeds by SEED_GROUPS; another seed is another choice of labeled utterances, too.
SEEDED = (
  'adapted',
  'adapted_no_hydra',
  'adapted_no_pretrain',
  'full_finetune',
  'scratch_target',
  'scratch_source_target',
)

GROUPS = {
  'main': 'the three stages and the baselines, one seed',
  **{group: f'seed {seed} of {", ".join(SEEDED)}' for group, seed in SEED_GROUPS.items()},
  'curve': 'adapted on ' + ', '.join(f'{100 * share:g} %' for share in CURVE_SHARES) + " of the target's labels",
  'ablations_adapter': 'width and place of adapters, full finetuning on all labels',
  'ablations_pretrain': 'codebooks, PCA: these train stages 1 and 2 anew, shorter',
  'ablations_hydra': 'BEST-RQ on the source: beside the reference of ablations_pretrain',
  'probe': 'a CTC projection on the frozen encoder: pretrained, after hydra, random',
}

# Training steps of each stage; those of the curve by share. Meant for 2.5 hours of the group `main`, its data included, on
# two cores of the slower kind that we have met: AMD EPYC without AVX-512, where a step of stage 1 takes 0.7 s on one; it took 7.3
# core-hours there beside other work.
STEPS = {
  'pretrain': 4000,
  'hydra': 2500,  # The same for all three that see source labels alone, so that none has more.
  'supervised': 2500,
  'hydra_no_pretrain': 2500,
  'scratch_source_target': 3000,  # No stage comes before it.
  'scratch_target': 1500,  # On 15 minutes of speech: more steps overfit.
  'adapted': 400,  # On 40 seconds of speech and the source's: after 800 steps the dev set's WER was 4 points higher.
  'full_finetune': 400,
  'curve': {0.03: 400, 0.13: 400, 0.25: 500, 0.5: 900, 1.0: 1600},
  'full_finetune_all': 1600,
  'short_pretrain': 1000,  # Ablations that need stages of their own: shorter, with a reference of the same length.
  'short_hydra': 600,
  'short_adapted': 200,
  'probe': 500,
}
_MASKS = dict(mask_start_prob=0.04, mask_span_ms=160.0)
# Of stages that learn source labels: after 1000 steps of `supervised` the source's CER was 41 %, at 1.5e-3 it was 45 %.
# BEST-RQ wants the default: at this rate, on source speech too, it had learnt nothing after 1000 steps.
_LEARNING_RATE = 3e-3
# Of stages that learn labels. Of the source, five epochs underfit, and with full augmentation took twice as many steps to the
# same error rates on both dev sets; scratch_target had 42 % WER with it, 48 % with full augmentation, means of three seeds.
_LIGHT_AUGMENTATION = dict(effects_prob=0.15, spec_augment=False)
# The widest place and width of the ablations; with the decoder 12.9 % of the parameters, where the paper has 17.9 %.
_ADAPTERS = dict(adapter_dim=128, adapter_position='after_ff')
# Beside the target's few labels each step of stage 3 hears as much labeled source speech: without it 120 steps were best, and
# on the test sets the target's CER was 34 % instead of 28 %, the source's WER 63 % instead of 48 %.
_SOURCE_REPLAY = dict(source_weight=1.0, batch_seconds=16.0, **_LIGHT_AUGMENTATION)
# How all models are decoded, in evaluations between training steps too; docs/recipe.md says what it is worth.
_SEARCH = dict(beam_size=8, lm='params/lm/graphemes_en.npz')
# The Hydra's second branch: all human speech, at a tenth of a nat a masked frame beside a nat a label, and the source's, without
# which human speech was encoded for that branch alone: target CER 55 % after 1000 steps, 52 % with it, 53 % without a Hydra.
_UNLABELED_BRANCH = dict(unlabeled=('target', 'unlabeled', 'source'), best_rq_weight=0.1)
_QUICK_STEPS = 12
_EVAL_INTERVAL = 1000


@dataclasses.dataclass(frozen=True)
class Settings:
  """What differs between the recipe and its smoke run."""

  output: str = 'runs/recipe'  # Folder of the runs.
  data_dir: str = 'data/recipe'
  quick: bool = False

  def Steps(self, key, share=None):
    """Training steps of a stage."""
    if self.quick:
      return _QUICK_STEPS
    steps = STEPS[key]
    return steps[share] if share is not None else steps

  @property
  def small_share(self):
    """SMALL_SHARE; more of the few utterances of a smoke run."""
    return 0.2 if self.quick else SMALL_SHARE


@dataclasses.dataclass(frozen=True)
class Stage:
  """One training.

  Attributes:
    name: of the stage and of its run's folder.
    title: what a table calls it.
    model: the experiment.
    group: one of GROUPS.
    knobs: dict of the experiment's knobs that are set.
    bindings: dict of paths that are bound.
    parent: name of the stage that it starts from; '': from random weights.
    row: name of its row in the results; '' if it recognises nothing.
    seed: of the row.
    share: of the target's usable labels that it is given, nominal; so is the knob label_share until
      recipe_labels.Resolve.
    data: data sets that it depends on.
  """

  name: str
  title: str
  model: str
  group: str
  knobs: dict
  bindings: dict = dataclasses.field(default_factory=dict)
  parent: str = ''
  row: str = ''
  seed: int = SEED
  share: float = 0.0
  data: tuple = recipe_data.NAMES

  @property
  def experiment(self):
    """Name of the experiment's class, as Gin binds it."""
    return self.model.rpartition('.')[2]


class _Builder:
  """Collects stages by name."""

  def __init__(self, settings):
    self._settings = settings
    self.stages = {}

  def Add(self, name, title, experiment, group, steps, parent='', row=True, seed=SEED, share=0.0, **knobs):
    """Adds a stage and returns its name; knobs that all stages share are filled in."""
    s = self._settings
    common = dict(size='small', data_dir=s.data_dir, max_steps=steps, eval_interval_steps=_EVAL_INTERVAL, seed=seed)
    bindings, data = {}, recipe_data.NAMES
    if experiment == 'BestRqPretrain':
      # Human speech of all languages. The spans are as long as target speech of this amount allows to predict.
      common.update(unlabeled=('target', 'unlabeled'), human='unlabeled', **_MASKS)
      bindings['task.train.eval_datasets'] = ['DevHuman']
      data = ('target', 'unlabeled')
    elif not share:
      common.update(learning_rate=_LEARNING_RATE, **_LIGHT_AUGMENTATION)
    elif experiment in ('AdapterFinetune', 'FullFinetune'):
      common.update(_SOURCE_REPLAY)
    if experiment not in ('BestRqPretrain', 'CtcProbe'):
      common.update(_SEARCH)
    if share:
      common['label_share'] = share
    if 0 < share < 1:
      common['label_seed'] = seed
    if experiment == 'JustHydra':
      common.update(**_UNLABELED_BRANCH, **_MASKS)
    if experiment == 'AdapterFinetune':
      common.update(_ADAPTERS)
    if s.quick:
      common.update(size='tiny', warmup_steps=5, batch_seconds=16.0)
      bindings.update({'task.train.eval_datasets': [], 'task.encoder.num_layers': 1, 'task.encoder.model_dim': 48})
    if parent:
      knobs['init_from'] = f'{s.output}/{parent}'
    if seed != SEED:
      full_name, title = f'{name}_seed{seed}', f'{title}, seed {seed}'
    else:
      full_name = name
    if full_name not in self.stages:
      self.stages[full_name] = Stage(
        name=full_name,
        title=title,
        model=f'asr.{experiment}',
        group=group,
        knobs={**common, **knobs},
        bindings=bindings,
        parent=parent,
        row=name if row else '',
        seed=seed,
        share=share,
        data=data,
      )
    return full_name


def Plan(settings, seeds=()):
  """All stages, parents before children.

  Args:
    settings: Settings.
    seeds: further seeds of the stages that have none to hand on (all with labels of the target).

  Returns:
    dict: name -> Stage.
  """
  builder = _Builder(settings)
  _AddMain(builder, settings, SEED, 'main')
  for group, seed in SEED_GROUPS.items():
    _AddTargetStages(builder, settings, seed, group, SEEDED)
  _AddCurve(builder, settings, SEED)
  _AddAblations(builder, settings)
  _AddProbes(builder, settings)
  for seed in seeds:
    _AddTargetStages(builder, settings, seed, 'main', None)
    _AddCurve(builder, settings, seed)
  return builder.stages


def _AddMain(builder, s, seed, group):
  add = builder.Add
  add('pretrain', 'stage 1: BEST-RQ', 'BestRqPretrain', group, s.Steps('pretrain'), row=False)
  add('hydra', 'stages 1 + 2, zero-shot', 'JustHydra', group, s.Steps('hydra'), parent='pretrain')
  add(
    'supervised',
    'no Hydra: stage 1, then source labels, zero-shot',
    'Supervised',
    group,
    s.Steps('supervised'),
    parent='pretrain',
  )
  add('hydra_no_pretrain', 'no pretraining: stage 2 alone, zero-shot', 'JustHydra', group, s.Steps('hydra_no_pretrain'))
  _AddTargetStages(builder, s, seed, group, None)


def _AddTargetStages(builder, s, seed, group, only):
  """The main group's stages that are given labels of the target; those named `only`, or all."""
  small = f'{100 * s.small_share:g} %'
  stages = (
    (
      'adapted',
      f'stages 1 + 2 + 3: adapters and decoder on {small}',
      'AdapterFinetune',
      'adapted',
      dict(parent='hydra', share=s.small_share),
    ),
    (
      'adapted_no_hydra',
      f'no Hydra: adapters and decoder on {small}',
      'AdapterFinetune',
      'adapted',
      dict(parent='supervised', share=s.small_share),
    ),
    (
      'adapted_no_pretrain',
      f'no pretraining: adapters and decoder on {small}',
      'AdapterFinetune',
      'adapted',
      dict(parent='hydra_no_pretrain', share=s.small_share),
    ),
    (
      'full_finetune',
      f'stages 1 + 2, then everything on {small}',
      'FullFinetune',
      'full_finetune',
      dict(parent='hydra', share=s.small_share),
    ),
    (
      'scratch_target',
      'from scratch on all target labels',
      'FromScratch',
      'scratch_target',
      dict(share=1.0, dropout_prob=0.1, **_LIGHT_AUGMENTATION),
    ),
    (
      'scratch_source_target',
      'from scratch on source and all target labels',
      'FromScratch',
      'scratch_source_target',
      dict(share=1.0, source_weight=1.0, learning_rate=_LEARNING_RATE, batch_seconds=24.0, **_LIGHT_AUGMENTATION),
    ),
  )
  for name, title, experiment, steps, fields in stages:
    if only is None or name in only:
      builder.Add(name, title, experiment, group, s.Steps(steps), seed=seed, **fields)


def CurveName(share):
  """Row of the adapted model on a share of the labels; that of SMALL_SHARE is the main group's."""
  return 'adapted' if share == SMALL_SHARE else f'adapted_share_{share:g}'


def _AddCurve(builder, s, seed):
  for share in CURVE_SHARES:
    if share != SMALL_SHARE:
      builder.Add(
        CurveName(share),
        f'adapted on {100 * share:g} %',
        'AdapterFinetune',
        'curve',
        s.Steps('curve', share),
        parent='hydra',
        share=share,
        seed=seed,
      )


def _AddAblations(builder, s):
  """Each ends in an adapted model; those that change earlier stages have a reference as short as they are."""

  def Adapt(name, title, parent, group, steps='adapted', **knobs):
    builder.Add(name, title, 'AdapterFinetune', group, s.Steps(steps), parent=parent, share=s.small_share, **knobs)

  for width in (8, 32):
    Adapt(f'adapter_dim_{width}', f'adapters {width} wide', 'hydra', 'ablations_adapter', adapter_dim=width)
  for position in ('parallel', 'after_block'):
    Adapt(f'adapter_{position}', f'adapters {position}', 'hydra', 'ablations_adapter', adapter_position=position)
  builder.Add(
    'full_finetune_all',
    'stages 1 + 2, then everything on all labels',
    'FullFinetune',
    'ablations_adapter',
    s.Steps('full_finetune_all'),
    parent='hydra',
    share=1.0,
  )

  def Pretrain(name, title, **knobs):
    return builder.Add(
      f'{name}_pretrain',
      f'{title}: stage 1',
      'BestRqPretrain',
      'ablations_pretrain',
      s.Steps('short_pretrain'),
      row=False,
      **knobs,
    )

  def HydraAndAdapt(name, title, parent, group='ablations_pretrain', **knobs):
    hydra = builder.Add(
      f'{name}_hydra', f'{title}: stages 1 + 2', 'JustHydra', group, s.Steps('short_hydra'), parent=parent, **knobs
    )
    Adapt(f'{name}_adapted', f'{title}: adapted', hydra, group, 'short_adapted')

  reference = Pretrain('short', 'short reference')
  HydraAndAdapt('short', 'short reference', reference)
  for name, title, knobs in (
    ('codebooks_4', 'short, 4 codebooks', {'num_codebooks': 4}),
    ('pca', 'short, PCA projection', {'projection': 'pca'}),
  ):
    HydraAndAdapt(name, title, Pretrain(name, title, **knobs), **knobs)
  HydraAndAdapt(
    'source_best_rq', 'short, BEST-RQ on the source too', reference, 'ablations_hydra', source_best_rq_weight=0.1
  )


def _AddProbes(builder, s):
  for name, title, parent in (
    ('probe_random', 'CTC probe, random encoder', ''),
    ('probe_pretrain', 'CTC probe after stage 1', 'pretrain'),
    ('probe_hydra', 'CTC probe after stage 2', 'hydra'),
  ):
    builder.Add(name, title, 'CtcProbe', 'probe', s.Steps('probe'), parent=parent, share=1.0)


def Select(stages, names, seeds=()):
  """The stages that are asked for, with the parents that they need.

  Args:
    stages: dict of Plan().
    names: groups, names of stages, or 'all'.
    seeds: with every stage also the same of these seeds, where there are such.

  Returns:
    dict: name -> Stage, parents before children.

  Raises:
    errors.ConfigError: no such group or stage; names the nearest.
  """
  chosen = set()
  for name in names:
    if name == 'all':
      chosen.update(n for n, stage in stages.items() if stage.seed in (SEED, *SEED_GROUPS.values(), *seeds))
    elif name in GROUPS:
      own = SEED_GROUPS.get(name, SEED)
      chosen.update(n for n, stage in stages.items() if stage.group == name and stage.seed in (own, *seeds))
      if name == 'curve':
        chosen.add(CurveName(SMALL_SHARE))
      elif name == 'ablations_hydra':
        chosen.add('short_adapted')
    elif name in stages:
      chosen.add(name)
    else:
      hint = (
        suggest.Hint(name, [*GROUPS, 'all', *stages], 0.5) or f'; expected all, {", ".join(GROUPS)} or a stage (--list)'
      )
      raise errors.ConfigError(f'{name}: no such group or stage{hint}')
  for name in list(chosen):
    chosen.update(
      n for n, stage in stages.items() if stages[name].row and stage.row == stages[name].row and stage.seed in seeds
    )
  pending = list(chosen)
  while pending:
    parent = stages[pending.pop()].parent
    if parent and parent not in chosen:
      chosen.add(parent)
      pending.append(parent)
  return {name: stage for name, stage in stages.items() if name in chosen}
