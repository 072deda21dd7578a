"""The recipe as data: stages, groups, tables, and what is claimed. Another recipe is another version of this file.

The target `games` is the data set target, AN4 is target_an4 (data.py). All settings are chosen on dev sets.
"""

from . import claims
from .stage_spec import Stage

# fmt: off
# Share of the target's labels that the adapted model may use: 21.6M of the paper's 300M + 21.6M [abstract].
SMALL_SHARE = 0.067

GROUPS = {
    'main': 'the three stages and the baselines, one seed',
    'seed2': 'seed 2 of all stages of main',
    'seed3': 'seed 3 of the same',
    'leave_one_out': 'stage 1 or stage 2 left out; full finetuning in place of adapters',
    'target_audio': 'the arm whose stage 1 hears the target\'s audio, too',
    'curve': 'adapted on 3 % to 100 % of the target\'s labels',
    'an4': 'the second target, AN4, with the settings of the first; needs --corpora with a folder an4',
    'shipped': 'stages 2 and 3 on both targets from the model that the project ships: hours less to train',
    'self_training': 'the shipped model adapted to each target, then, twice, on its own transcripts of it, too',
    'streaming': 'foundation made causal: a model that recognises speech while it is heard',
    'ablations_adapter': 'width and place of adapters, full finetuning on all labels',
    'probe': 'a CTC projection on the frozen encoder: pretrained, after hydra, random',
}
SEED_GROUPS = {2: 'seed2', 3: 'seed3'}  # Seed -> its group.
# Runs that a group's table needs beside the group's own.
ALSO = {'curve': ('adapted',), 'leave_one_out': ('adapted',), 'streaming': ('foundation',),
        'target_audio': ('adapted', 'adapted_no_hydra')}
# Tables of the results: title, and the groups whose rows it has.
TABLES = (
    ('The three stages and the baselines', ('main', 'seed2', 'seed3')),
    ('A stage left out', ('leave_one_out',)),
    ('Stage 1 with the target\'s audio', ('target_audio',)),
    ('The adapted model on more and fewer labels', ('curve',)),
    ('A second target, AN4', ('an4',)),
    ('From the shipped model', ('shipped',)),
    ('Self-training from the shipped model', ('self_training',)),
    ('A streaming model', ('streaming',)),
    ('Ablations of the adaptation', ('ablations_adapter',)),
    ('CTC probe on the frozen encoder, trained on all target labels', ('probe',)),
)

# Frames of 40 ms with graphemes learn faster than 80 ms with 128 pieces of words, in processor time (docs/recipe.md).
COMMON = {'size': 'small', 'max_seconds': 20.0, 'num_buckets': 16, 'eval_interval_steps': 1000,
          'task.train.ema_decay': 0.999}
# The smoke run: at least this share of its few labels, and these bindings.
QUICK_SHARE = 0.2
QUICK = {'size': 'tiny', 'max_steps': 12, 'warmup_steps': 5, 'batch_seconds': 16.0, 'task.train.eval_datasets': [],
         'task.train.best_metric': None, 'task.train.early_stop_patience': None, 'task.encoder.num_layers': 1,
         'task.encoder.model_dim': 48}

# Steps of about 25 s of speech: five passes over 11 hours of source speech, ten over the target's 5.6. The source
# labels alone get five passes more, with augmentation.
_SOURCE_STEPS, _FOUNDATION_STEPS, _TARGET_STEPS, _ADAPT_STEPS = 8000, 8000, 8000, 1500
_SHIPPED_STEPS = 3000  # Two passes more.
_STREAMING_STEPS = 3000  # Two passes: causal convolutions and attention are learnt from weights that know the words.
_TRANSDUCER = {'ctc_weight': 0.5}
# Longer spans cannot be predicted with this amount of speech.
_MASKS = {'mask_start_prob': 0.04, 'mask_span_ms': 160.0, 'num_codebooks': 4, 'augment_unlabeled': True}
# Stage 1 has the default learning rate: at 3e-3 it learnt nothing in 1000 steps.
_PRETRAIN = {**_MASKS, 'unlabeled': ('source', 'unlabeled*'), 'human': 'target', 'batch_seconds': 48.0,
             'effects_prob': 0.15, 'task.train.eval_datasets': ['DevHuman']}
_PRETRAIN_STEPS = 8000


def _BestBy(dataset):
  """Evaluates one dev set during training; the checkpoint with its lowest WER is the stage's result."""
  return {'task.train.eval_datasets': [dataset], 'task.train.best_metric': f'{dataset}/labeled/wer'}


# Of the augmentation there is the change of speed alone: alignments are found sooner, before the model overfits.
_SOURCE = {**_TRANSDUCER, **_BestBy('DevSource'), 'effects_prob': 0.0, 'spec_augment': False, 'warmup_steps': 1000}
_HYDRA = {**_SOURCE, **_MASKS, 'unlabeled': ('target',), 'best_rq_weight': 0.3, 'unlabeled_batch_seconds': 16.0,
          'task.train.gradient_share_interval_steps': 500}
_TARGET = {**_TRANSDUCER, **_BestBy('DevTarget'), 'effects_prob': 0.15, 'dropout_prob': 0.1,
           'prediction_dropout_prob': 0.2}
# Stage 3 has labeled source speech beside the target's few labels, which keeps the decoder's knowledge of the source.
_FINETUNE = {**_TARGET, 'source_weight': 1.0, 'batch_seconds': 24.0, 'warmup_steps': 200, 'eval_interval_steps': 250,
             'task.train.early_stop_patience': 4}
# The widest adapters: with the decoder 12.9 % of the parameters, where the paper has 17.9 %.
_ADAPT = {**_FINETUNE, 'adapter_dim': 128, 'adapter_position': 'after_ff', 'adapter_lr_scale': 3.0}
# Passes six to ten over the source overfit without SpecAugment and dropout; effects make it robust to other channels.
_FOUNDATION = {**_SOURCE, 'learning_rate': 1e-3, 'warmup_steps': 300, 'spec_augment': True, 'effects_prob': 0.3,
               'dropout_prob': 0.1, 'prediction_dropout_prob': 0.1}
# The foundation of seed 1 as it ships, in float16.
_SHIPPED = {**_FOUNDATION, 'init_from': 'params/models/english', 'init_decoder': True}
# From random weights, alignment comes before SpecAugment, as with the source.
_SCRATCH = {**_TARGET, 'learning_rate': 2e-3, 'warmup_steps': 1000, 'spec_augment_start_step': 2000}


def _SourceStage(name, group, title, start='', hydra=False, seeds=(1,), **bindings):
  """Stage 2, with the target's audio or without it. From random weights the learning rate is higher."""
  rate = {'learning_rate': 1e-3 if start else 2e-3}
  return Stage(name, group, 'JustHydra' if hydra else 'Supervised', _SOURCE_STEPS, f'{title}, zero-shot', start,
               seeds=seeds, bindings={**(_HYDRA if hydra else _SOURCE), **rate, **bindings})


def _Adapted(name, group, title, start, seeds=(1,), share=SMALL_SHARE, steps=_ADAPT_STEPS, teacher='', **bindings):
  """Stage 3."""
  bindings = {**_ADAPT, **bindings}
  return Stage(name, group, 'AdapterFinetune', steps, title, start, share, seeds, bindings, teacher=teacher)



def _SelfTrained(suffix, target):
  """The shipped model adapted to a target, and twice on transcripts of the model before, too."""
  teacher, title = '', 'shipped model: adapters and decoder on {share}'
  for name in (f'adapted_shipped{suffix}', f'self_trained{suffix}', f'self_trained{suffix}_2'):
    yield _Adapted(name, 'self_training', target + title, '', teacher=teacher, target=f'target{suffix}',
                   init_from='params/models/english')
    teacher, title = name, f'the same and transcripts of {name}'


# Transcripts of a teacher are labels from this confidence on.
MIN_CONFIDENCE = 0.8

# In the order in which they are trained: the model of source labels alone is the one that is shipped.
_SEEDS = (1, 2, 3)
STAGES = (
    _SourceStage('supervised', 'main', 'source labels alone', seeds=_SEEDS),
    Stage('foundation', 'main', 'Supervised', _FOUNDATION_STEPS, 'source labels alone, five passes more, zero-shot',
          'supervised', seeds=_SEEDS, bindings=_FOUNDATION),
    _Adapted('adapted_foundation', 'main', 'source labels alone: adapters and decoder on {share}', 'foundation',
             _SEEDS),
    Stage('scratch_target', 'main', 'FromScratch', _TARGET_STEPS, 'from scratch on all target labels', '', 1.0, _SEEDS,
          _SCRATCH),
    _Adapted('adapted_supervised', 'main', 'source labels alone, five passes: adapters and decoder on {share}',
             'supervised', _SEEDS),
    Stage('pretrain', 'main', 'BestRqPretrain', _PRETRAIN_STEPS, 'stage 1: BEST-RQ', seeds=_SEEDS, bindings=_PRETRAIN,
          measured=False),
    _SourceStage('hydra', 'main', 'stage 1, then Hydra', 'pretrain', hydra=True, seeds=_SEEDS),
    _Adapted('adapted', 'main', 'stage 1, Hydra: adapters and decoder on {share}', 'hydra', _SEEDS),
    Stage('scratch_source_target', 'main', 'FromScratch', _SOURCE_STEPS, 'from scratch on source and all target labels',
          '', 1.0, _SEEDS, {**_SCRATCH, 'source_weight': 1.0, 'batch_seconds': 24.0}),

    _SourceStage('supervised_pretrained', 'leave_one_out', 'stage 1, then source labels', 'pretrain'),
    _Adapted('adapted_no_hydra', 'leave_one_out', 'stage 1, no Hydra: adapters and decoder on {share}',
             'supervised_pretrained'),
    _SourceStage('hydra_no_pretrain', 'leave_one_out', 'no stage 1, Hydra', hydra=True),
    _Adapted('adapted_no_pretrain', 'leave_one_out', 'no stage 1, Hydra: adapters and decoder on {share}',
             'hydra_no_pretrain'),
    Stage('full_finetune', 'leave_one_out', 'FullFinetune', _ADAPT_STEPS, 'stages 1 + 2, then everything on {share}',
          'hydra', SMALL_SHARE, bindings=_FINETUNE),

    Stage('pretrain_target', 'target_audio', 'BestRqPretrain', _PRETRAIN_STEPS, 'stage 1 with the target\'s audio',
          bindings={**_PRETRAIN, 'unlabeled': ('source', 'unlabeled*', 'target')}, measured=False),
    _SourceStage('supervised_target_audio', 'target_audio', 'stage 1 with the target\'s audio, then source labels',
                 'pretrain_target'),
    _SourceStage('hydra_target_audio', 'target_audio', 'stage 1 with the target\'s audio, then Hydra',
                 'pretrain_target', hydra=True),
    _Adapted('adapted_target_audio', 'target_audio', 'both with the target\'s audio: adapters and decoder on {share}',
             'hydra_target_audio'),

    *(_Adapted(f'adapted_share_{share:g}', 'curve', 'adapted on {share}', 'hydra', share=share, steps=steps)
      for share, steps in ((0.03, 2000), (0.13, 3000), (0.25, 4000), (0.5, 6000), (1.0, 8000))),

    _SourceStage('hydra_an4', 'an4', 'AN4: stages 1 + 2', 'pretrain', hydra=True, target='target_an4',
                 unlabeled=('target_an4',)),
    _Adapted('adapted_an4', 'an4', 'AN4: adapters and decoder on {share}', 'hydra_an4', _SEEDS, target='target_an4'),
    _Adapted('adapted_foundation_an4', 'an4', 'AN4: source labels alone, adapters and decoder on {share}', 'foundation',
             _SEEDS, target='target_an4'),
    *(_Adapted(f'adapted_foundation_an4_share_{share:g}', 'an4',
               'AN4: source labels alone, adapters and decoder on {share}', 'foundation', share=share,
               target='target_an4') for share in (0.25, 1.0)),
    Stage('scratch_an4', 'an4', 'FromScratch', 6000, 'AN4: from scratch on all labels', '', 1.0, _SEEDS,
          {**_SCRATCH, 'target': 'target_an4'}),

    # Stage 2 hears both targets; `longer` is the same training without them.
    Stage('hydra_shipped', 'shipped', 'JustHydra', _SHIPPED_STEPS, 'shipped model, then Hydra, zero-shot',
          bindings={**_HYDRA, **_SHIPPED, 'unlabeled': ('target*',), 'init_best_rq': False}),
    Stage('longer_shipped', 'shipped', 'Supervised', _SHIPPED_STEPS, 'shipped model, then source labels, zero-shot',
          bindings=_SHIPPED),
    *(_Adapted(f'adapted_{start}{suffix}', 'shipped', f'{title}: adapters and decoder on {{share}}', start,
               target=f'target{suffix}')
      for suffix in ('_an4', '')
      for start, title in (('hydra_shipped', 'shipped model, Hydra'), ('longer_shipped', 'shipped model, source'))),

    *_SelfTrained('_an4', 'AN4: '), *_SelfTrained('', ''),

    # Chunks of 320 ms: an answer within half a second.
    Stage('streaming', 'streaming', 'StreamingSupervised', _STREAMING_STEPS, 'foundation, then causal, zero-shot',
          'foundation', bindings={**_FOUNDATION, 'streaming_chunk_ms': 320, 'init_full_context': True,
                                  'init_decoder': True}),

    *(_Adapted(f'adapter_{what}', 'ablations_adapter', f'adapters {title}', 'hydra', **changed)
      for what, title, changed in (
          ('dim_8', '8 wide', {'adapter_dim': 8}), ('dim_32', '32 wide', {'adapter_dim': 32}),
          ('parallel', 'parallel', {'adapter_position': 'parallel'}),
          ('after_block', 'after_block', {'adapter_position': 'after_block'}),
          ('norms', 'and the encoder\'s norms', {'train_layer_norms': True}),
          ('rate_1', 'with the decoder\'s learning rate', {'adapter_lr_scale': 1.0}))),
    Stage('full_finetune_all', 'ablations_adapter', 'FullFinetune', 8000, 'stages 1 + 2, then everything on all labels',
          'hydra', 1.0, bindings=_FINETUNE),

    *(Stage(f'probe_{what}', 'probe', 'CtcProbe', 2000, f'CTC probe{title}', start, 1.0)
      for what, title, start in (('random', ', random encoder', ''), ('pretrain', ' after stage 1', 'pretrain'),
                                 ('hydra', ' after stage 2', 'hydra'))),
)

# WER over the share of the target's labels: the models of a curve in the picture, and those of its horizontal lines.
CURVE = ('adapted_share_0.03', 'adapted', 'adapted_share_0.13', 'adapted_share_0.25', 'adapted_share_0.5',
         'adapted_share_1')
AN4_CURVE = ('adapted_foundation_an4', 'adapted_foundation_an4_share_0.25', 'adapted_foundation_an4_share_1')
CURVES = {'games': (CURVE, ('scratch_target', 'scratch_source_target', 'hydra')), 'AN4': (AN4_CURVE, ('scratch_an4',))}
CLAIMS = (
    claims.NoWorse('adapters and decoder', 'adapted', 'scratch_target', 'from scratch on all target labels',
                   labels=SMALL_SHARE, params=0.179),
    claims.NoWorse('source labels alone, then adapters and decoder', 'adapted_foundation', 'scratch_target',
                   'from scratch on all target labels', labels=SMALL_SHARE, params=0.179),
    claims.NoWorse('AN4: adapters and decoder', 'adapted_an4', 'scratch_an4', 'from scratch on all of AN4\'s labels',
                   labels=SMALL_SHARE, params=0.179),
    claims.NoWorse('AN4: source labels alone, then adapters and decoder', 'adapted_foundation_an4', 'scratch_an4',
                   'from scratch on all of AN4\'s labels', labels=SMALL_SHARE, params=0.179),
    claims.Better('stages 1 and 2', 'adapted', 'adapted_supervised'),
    claims.Better('stages 1 and 2 before any target label', 'hydra', 'supervised'),
    claims.Better('stage 1, pretraining', 'adapted', 'adapted_no_pretrain'),
    claims.Better('stage 2, the Hydra', 'adapted', 'adapted_no_hydra'),
    claims.Better('stage 3, the adaptation', 'adapted', 'hydra'),
    claims.Better('stage 1 before any target label', 'hydra', 'hydra_no_pretrain'),
    claims.Better('stage 2 before any target label', 'hydra', 'supervised_pretrained'),
    claims.Better('stage 2 before any target label, from the shipped model', 'hydra_shipped', 'longer_shipped'),
    claims.Better('stage 2 from the shipped model', 'adapted_hydra_shipped', 'adapted_longer_shipped'),
    claims.Better('AN4: stage 2 from the shipped model', 'adapted_hydra_shipped_an4', 'adapted_longer_shipped_an4'),
    claims.NoWorse('AN4: shipped model, Hydra, then adapters and decoder', 'adapted_hydra_shipped_an4', 'scratch_an4',
                   'from scratch on all of AN4\'s labels', labels=SMALL_SHARE, params=0.179),
    claims.Better('transcripts of its own', 'self_trained', 'adapted_shipped'),
    claims.Better('AN4: transcripts of its own', 'self_trained_an4', 'adapted_shipped_an4'),
    claims.NoWorse('AN4: shipped model, self-training', 'self_trained_an4_2', 'scratch_an4',
                   'from scratch on all of AN4\'s labels', labels=SMALL_SHARE, params=0.179),
    claims.Meets('the adapted model', CURVE, 'scratch_target', 'from scratch on all target labels', SMALL_SHARE),
    claims.Meets('the adapted model', CURVE, 'scratch_source_target', 'from scratch on source and all target labels',
                 0.5),
    claims.Meets('AN4: source labels alone, adapted,', AN4_CURVE, 'scratch_an4', 'from scratch on all of AN4\'s labels',
                 SMALL_SHARE),
    claims.Keeps('hydra', 'adapted', 'full_finetune', 'after full finetuning'),
    claims.Improves('a CTC probe reads more from the encoder after each stage',
                    ('probe_random', 'probe_pretrain', 'probe_hydra')),
)
# Pairs that are compared beside those of the claims.
COMPARED = (
    ('full_finetune', 'adapted'), ('full_finetune_all', 'adapted_share_1'), ('adapter_dim_8', 'adapted'),
    ('adapter_dim_32', 'adapted'), ('adapter_parallel', 'adapted'), ('adapter_after_block', 'adapted'),
    ('adapted_target_audio', 'adapted'), ('hydra_target_audio', 'supervised_target_audio'),
)
# Models on the front page, by their target.
SHORT = {'games': ('adapted', 'adapted_foundation', 'scratch_target'),
         'AN4': ('adapted_an4', 'adapted_foundation_an4', 'adapted_foundation_an4_share_1', 'scratch_an4')}
# fmt: on
