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
    'target_audio': 'the arm whose stage 1 hears the target\'s audio, too',
    'curve': 'adapted on 3 % to 100 % of the target\'s labels',
    'an4': 'the second target, AN4, with the settings of the first; needs --corpora with a folder an4',
    'ablations_adapter': 'width and place of adapters, full finetuning on all labels',
    'probe': 'a CTC projection on the frozen encoder: pretrained, after hydra, random',
}
SEED_GROUPS = {2: 'seed2', 3: 'seed3'}  # Seed -> its group.
# Runs that a group's table needs beside the group's own.
ALSO = {'curve': ('adapted',), 'target_audio': ('adapted', 'adapted_no_hydra')}
# Tables of the results: title, and the groups whose rows it has.
TABLES = (
    ('The three stages and the baselines', ('main', 'seed2', 'seed3')),
    ('Stage 1 with the target\'s audio', ('target_audio',)),
    ('The adapted model on more and fewer labels', ('curve',)),
    ('A second target, AN4', ('an4',)),
    ('Ablations of the adaptation', ('ablations_adapter',)),
    ('CTC probe on the frozen encoder, trained on all target labels', ('probe',)),
)

COMMON = {'size': 'small', 'max_seconds': 20.0, 'eval_interval_steps': 2000, 'task.train.ema_decay': 0.999}
# The smoke run: at least this share of its few labels, and these bindings.
QUICK_SHARE = 0.2
QUICK = {'size': 'tiny', 'max_steps': 12, 'warmup_steps': 5, 'batch_seconds': 16.0, 'task.train.eval_datasets': [],
         'task.train.best_metric': None, 'task.encoder.num_layers': 1, 'task.encoder.model_dim': 48}

# Ten passes over 11 hours of source speech.
_SOURCE_STEPS = 16_000
_REGULARISED = {'dropout_prob': 0.1, 'effects_prob': 0.15}
# How every transducer is decoded, in evaluations during training too.
_SEARCH = {'beam_size': 8, 'lm': 'params/lm/graphemes_en.npz'}
# Longer spans cannot be predicted with this amount of speech.
_MASKS = {'mask_start_prob': 0.04, 'mask_span_ms': 160.0, 'num_codebooks': 4}
# Stage 1 has the default learning rate: at 3e-3 it learnt nothing in 1000 steps.
_PRETRAIN = {**_MASKS, 'unlabeled': ('source', 'unlabeled*'), 'human': 'target', 'batch_seconds': 48.0,
             'augment_unlabeled': True, 'effects_prob': 0.15, 'task.train.eval_datasets': ['DevHuman']}


def _BestBy(dataset):
  """Evaluates one dev set during training; the checkpoint with its lowest WER is the stage's result."""
  return {'task.train.eval_datasets': [dataset], 'task.train.best_metric': f'{dataset}/labeled/wer'}


_SOURCE = {**_REGULARISED, **_SEARCH, **_BestBy('DevSource'), 'learning_rate': 1e-3, 'warmup_steps': 1000}
# Target and source audio, about half and half: the target has 5.6 h, the source 11 h.
_HYDRA = {**_SOURCE, **_MASKS, 'unlabeled': ('target', 'source'), 'best_rq_weight': 0.3,
          'unlabeled_batch_seconds': 32.0, 'augment_unlabeled': True, 'task.train.gradient_share_interval_steps': 500}
# Stage 3 has labeled source speech beside the target's few labels, which keeps the decoder's knowledge of the source.
_FINETUNE = {**_REGULARISED, **_SEARCH, **_BestBy('DevTarget'), 'source_weight': 1.0, 'batch_seconds': 24.0,
             'warmup_steps': 200, 'prediction_dropout_prob': 0.2, 'eval_interval_steps': 500}
# The widest adapters: with the decoder 12.9 % of the parameters, where the paper has 17.9 %.
_ADAPT = {**_FINETUNE, 'adapter_dim': 128, 'adapter_position': 'after_ff', 'adapter_lr_scale': 3.0}
_SCRATCH = {**_REGULARISED, **_SEARCH, **_BestBy('DevTarget'), 'learning_rate': 2e-3, 'warmup_steps': 1000,
            'prediction_dropout_prob': 0.2}
_SCRATCH_SOURCE = {**_SCRATCH, 'source_weight': 1.0, 'batch_seconds': 24.0}


def _Arm(suffix, group, title, start, seeds=(1,)):
  """The stages after a stage 1: without and with Hydra, each adapted on the small share."""
  return (
      Stage(f'supervised{suffix}', group, 'Supervised', _SOURCE_STEPS, f'{title}, then source labels, zero-shot', start,
            seeds=seeds, bindings=_SOURCE),
      Stage(f'hydra{suffix}', group, 'JustHydra', _SOURCE_STEPS, f'{title}, then Hydra, zero-shot', start, seeds=seeds,
            bindings=_HYDRA),
      Stage(f'adapted_no_hydra{suffix}', group, 'AdapterFinetune', 3000,
            f'{title}, no Hydra: adapters and decoder on {{share}}', f'supervised{suffix}', SMALL_SHARE, seeds, _ADAPT),
      Stage(f'adapted{suffix}', group, 'AdapterFinetune', 3000,
            f'{title}, Hydra: adapters and decoder on {{share}}', f'hydra{suffix}', SMALL_SHARE, seeds, _ADAPT),
  )


# Columns: name, group, experiment, steps, title, start, share, seeds, bindings.
_SEEDS = (1, 2, 3)
STAGES = (
    Stage('pretrain', 'main', 'BestRqPretrain', 20_000, 'stage 1: BEST-RQ', seeds=_SEEDS, bindings=_PRETRAIN,
          measured=False),
    *_Arm('', 'main', 'stage 1', 'pretrain', _SEEDS),
    Stage('hydra_no_pretrain', 'main', 'JustHydra', _SOURCE_STEPS, 'no stage 1, Hydra, zero-shot', seeds=_SEEDS,
          bindings=_HYDRA),
    Stage('adapted_no_pretrain', 'main', 'AdapterFinetune', 3000, 'no stage 1: adapters and decoder on {share}',
          'hydra_no_pretrain', SMALL_SHARE, _SEEDS, _ADAPT),
    Stage('full_finetune', 'main', 'FullFinetune', 3000, 'stages 1 + 2, then everything on {share}', 'hydra',
          SMALL_SHARE, _SEEDS, _FINETUNE),
    Stage('scratch_target', 'main', 'FromScratch', 16_000, 'from scratch on all target labels', '', 1.0, _SEEDS,
          _SCRATCH),
    Stage('scratch_source_target', 'main', 'FromScratch', 24_000, 'from scratch on source and all target labels', '',
          1.0, _SEEDS, _SCRATCH_SOURCE),

    Stage('pretrain_target', 'target_audio', 'BestRqPretrain', 20_000, 'stage 1 with the target\'s audio',
          bindings={**_PRETRAIN, 'unlabeled': ('source', 'unlabeled*', 'target')}, measured=False),
    *_Arm('_target_audio', 'target_audio', 'stage 1 with the target\'s audio', 'pretrain_target'),

    *(Stage(f'adapted_share_{share:g}', 'curve', 'AdapterFinetune', steps, 'adapted on {share}', 'hydra', share,
            bindings=_ADAPT)
      for share, steps in ((0.03, 3000), (0.13, 4000), (0.25, 6000), (0.5, 8000), (1.0, 12_000))),

    Stage('hydra_an4', 'an4', 'JustHydra', _SOURCE_STEPS, 'AN4: stages 1 + 2, zero-shot', 'pretrain',
          bindings={**_HYDRA, 'target': 'target_an4', 'unlabeled': ('target_an4', 'source')}),
    Stage('adapted_an4', 'an4', 'AdapterFinetune', 3000, 'AN4: adapters and decoder on {share}', 'hydra_an4',
          SMALL_SHARE, _SEEDS, {**_ADAPT, 'target': 'target_an4'}),
    Stage('scratch_an4', 'an4', 'FromScratch', 6000, 'AN4: from scratch on all labels', '', 1.0, _SEEDS,
          {**_SCRATCH, 'target': 'target_an4'}),

    *(Stage(f'adapter_{what}', 'ablations_adapter', 'AdapterFinetune', 3000, f'adapters {title}', 'hydra', SMALL_SHARE,
            bindings={**_ADAPT, **changed}) for what, title, changed in (
                ('dim_8', '8 wide', {'adapter_dim': 8}), ('dim_32', '32 wide', {'adapter_dim': 32}),
                ('parallel', 'parallel', {'adapter_position': 'parallel'}),
                ('after_block', 'after_block', {'adapter_position': 'after_block'}),
                ('norms', 'and the encoder\'s norms', {'train_layer_norms': True}),
                ('rate_1', 'with the decoder\'s learning rate', {'adapter_lr_scale': 1.0}))),
    Stage('full_finetune_all', 'ablations_adapter', 'FullFinetune', 12_000,
          'stages 1 + 2, then everything on all labels', 'hydra', 1.0, bindings=_FINETUNE),

    Stage('probe_random', 'probe', 'CtcProbe', 2000, 'CTC probe, random encoder', '', 1.0),
    Stage('probe_pretrain', 'probe', 'CtcProbe', 2000, 'CTC probe after stage 1', 'pretrain', 1.0),
    Stage('probe_hydra', 'probe', 'CtcProbe', 2000, 'CTC probe after stage 2', 'hydra', 1.0),
)

# The curve of the picture and its horizontal lines.
CURVE = ('adapted_share_0.03', 'adapted', 'adapted_share_0.13', 'adapted_share_0.25', 'adapted_share_0.5',
         'adapted_share_1')
BASELINES = ('scratch_target', 'scratch_source_target', 'hydra')
CLAIMS = (
    claims.NoWorse('adapters and decoder', 'adapted', 'scratch_target', 'from scratch on all target labels',
                   labels=SMALL_SHARE, params=0.179),
    claims.NoWorse('AN4: adapters and decoder', 'adapted_an4', 'scratch_an4', 'from scratch on all of AN4\'s labels',
                   labels=SMALL_SHARE, params=0.179),
    claims.Better('stage 1, pretraining', 'adapted', 'adapted_no_pretrain'),
    claims.Better('stage 2, the Hydra', 'adapted', 'adapted_no_hydra'),
    claims.Better('stage 3, the adaptation', 'adapted', 'hydra'),
    claims.Better('stage 1 before any target label', 'hydra', 'hydra_no_pretrain'),
    claims.Better('stage 2 before any target label', 'hydra', 'supervised'),
    claims.Meets(CURVE, 'scratch_target', 'from scratch on all target labels', SMALL_SHARE),
    claims.Meets(CURVE, 'scratch_source_target', 'from scratch on source and all target labels', 0.5),
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
# fmt: on
