"""The recipe as data: stages, groups, tables, and what is claimed. Another recipe is another version of this file."""

from . import claims
from .stage_spec import Stage

# fmt: off
# Share of the target's labels that the adapted model may use: 21.6M of the paper's 300M + 21.6M [abstract].
SMALL_SHARE = 0.067

GROUPS = {
    'main': 'the three stages and the baselines, one seed',
    'seed2': 'seed 2 of the stages of main that are given target labels',
    'seed3': 'seed 3 of the same',
    'curve': 'adapted on 3 % to 100 % of the target\'s labels',
    'ablations_adapter': 'width and place of adapters, full finetuning on all labels',
    'ablations_pretrain': 'codebooks, PCA: these train stages 1 and 2 anew, shorter',
    'ablations_hydra': 'BEST-RQ on the source: beside the reference of ablations_pretrain',
    'probe': 'a CTC projection on the frozen encoder: pretrained, after hydra, random',
}
SEED_GROUPS = {2: 'seed2', 3: 'seed3'}  # Seed -> its group.
# Runs that a group's table needs beside the group's own.
ALSO = {'curve': ('adapted',), 'ablations_hydra': ('short_adapted',)}
# Tables of the results: title, and the groups whose rows it has.
TABLES = (
    ('The three stages and the baselines', ('main', 'seed2', 'seed3')),
    ('The adapted model on more and fewer labels', ('curve',)),
    ('Ablations of the adaptation', ('ablations_adapter',)),
    ('Ablations of stages 1 and 2, shorter than the main models', ('ablations_pretrain', 'ablations_hydra')),
    ('CTC probe on the frozen encoder, trained on all target labels', ('probe',)),
)

COMMON = {'size': 'small', 'eval_interval_steps': 1000}
# The smoke run: at least this share of its few labels, and these bindings.
QUICK_SHARE = 0.2
QUICK = {'size': 'tiny', 'max_steps': 12, 'warmup_steps': 5, 'batch_seconds': 16.0, 'task.train.eval_datasets': [],
         'task.encoder.num_layers': 1, 'task.encoder.model_dim': 48}

# Full augmentation needs twice as many steps for the same error rates on the source. scratch_target has 42 % WER with
# light and 48 % with full augmentation, means of three seeds.
_LIGHT = {'effects_prob': 0.15, 'spec_augment': False}
# How every transducer is decoded, in evaluations during training too.
_SEARCH = {'beam_size': 8, 'lm': 'params/lm/graphemes_en.npz'}
# Longer spans cannot be predicted with this amount of speech.
_MASKS = {'mask_start_prob': 0.04, 'mask_span_ms': 160.0}
# Stage 1, on human speech of all languages, has the default learning rate: at 3e-3 it learnt nothing in 1000 steps.
_PRETRAIN = {**_MASKS, 'unlabeled': ('target', 'unlabeled'), 'human': 'unlabeled',
             'task.train.eval_datasets': ['DevHuman']}
# Stage 2: at 1.5e-3 the source's CER after 1000 steps was 45 % instead of 41 %.
_SOURCE = {**_LIGHT, **_SEARCH, 'learning_rate': 3e-3}
# The second branch has the source's speech too: else human speech is encoded for that branch alone.
_HYDRA = {**_SOURCE, **_MASKS, 'unlabeled': ('target', 'unlabeled', 'source'), 'best_rq_weight': 0.1}
# Stage 3 has labeled source speech beside the target's few labels. Without it the target's CER was 34 % instead of
# 28 %, the source's WER 63 % instead of 48 %.
_FINETUNE = {**_LIGHT, **_SEARCH, 'source_weight': 1.0, 'batch_seconds': 16.0}
# The widest adapters of the ablations: with the decoder 12.9 % of the parameters, where the paper has 17.9 %.
_ADAPT = {**_FINETUNE, 'adapter_dim': 128, 'adapter_position': 'after_ff'}
_SCRATCH = {**_LIGHT, **_SEARCH, 'dropout_prob': 0.1}
_SCRATCH_SOURCE = {**_LIGHT, **_SEARCH, 'source_weight': 1.0, 'learning_rate': 3e-3, 'batch_seconds': 24.0}


def _Short(name, title, **changed):
  """The three stages, shorter, with other knobs in the first two: ablations of these and their reference."""
  return (
      Stage(f'{name}_pretrain', 'ablations_pretrain', 'BestRqPretrain', 1000, f'{title}: stage 1',
            bindings={**_PRETRAIN, **changed}, measured=False),
      Stage(f'{name}_hydra', 'ablations_pretrain', 'JustHydra', 600, f'{title}: stages 1 + 2', f'{name}_pretrain',
            bindings={**_HYDRA, **changed}),
      Stage(f'{name}_adapted', 'ablations_pretrain', 'AdapterFinetune', 200, f'{title}: adapted', f'{name}_hydra',
            SMALL_SHARE, bindings=_ADAPT))


# Columns: name, group, experiment, steps, title, start, share, seeds, bindings. The steps are meant for 2.5 hours of
# the group main on two cores without AVX-512; it took 7.3 core-hours there beside other work. Stages that learn the
# source's labels alone have as many steps as one another, and so have those that adapt on the small share.
_SEEDS = (1, 2, 3)
STAGES = (
    Stage('pretrain', 'main', 'BestRqPretrain', 4000, 'stage 1: BEST-RQ', bindings=_PRETRAIN, measured=False),
    Stage('hydra', 'main', 'JustHydra', 2500, 'stages 1 + 2, zero-shot', 'pretrain', bindings=_HYDRA),
    Stage('supervised', 'main', 'Supervised', 2500, 'no Hydra: stage 1, then source labels, zero-shot', 'pretrain',
          bindings=_SOURCE),
    Stage('hydra_no_pretrain', 'main', 'JustHydra', 2500, 'no pretraining: stage 2 alone, zero-shot', bindings=_HYDRA),
    Stage('adapted', 'main', 'AdapterFinetune', 400, 'stages 1 + 2 + 3: adapters and decoder on {share}', 'hydra',
          SMALL_SHARE, _SEEDS, _ADAPT),
    Stage('adapted_no_hydra', 'main', 'AdapterFinetune', 400, 'no Hydra: adapters and decoder on {share}', 'supervised',
          SMALL_SHARE, _SEEDS, _ADAPT),
    Stage('adapted_no_pretrain', 'main', 'AdapterFinetune', 400, 'no pretraining: adapters and decoder on {share}',
          'hydra_no_pretrain', SMALL_SHARE, _SEEDS, _ADAPT),
    Stage('full_finetune', 'main', 'FullFinetune', 400, 'stages 1 + 2, then everything on {share}', 'hydra',
          SMALL_SHARE, _SEEDS, _FINETUNE),
    Stage('scratch_target', 'main', 'FromScratch', 1500, 'from scratch on all target labels', '', 1.0, _SEEDS,
          _SCRATCH),
    Stage('scratch_source_target', 'main', 'FromScratch', 3000, 'from scratch on source and all target labels', '', 1.0,
          _SEEDS, _SCRATCH_SOURCE),

    *(Stage(f'adapted_share_{share:g}', 'curve', 'AdapterFinetune', steps, 'adapted on {share}', 'hydra', share,
            bindings=_ADAPT) for share, steps in ((0.03, 400), (0.13, 400), (0.25, 500), (0.5, 900), (1.0, 1600))),

    *(Stage(f'adapter_{what}', 'ablations_adapter', 'AdapterFinetune', 400, f'adapters {title}', 'hydra', SMALL_SHARE,
            bindings={**_ADAPT, **changed}) for what, title, changed in (
                ('dim_8', '8 wide', {'adapter_dim': 8}), ('dim_32', '32 wide', {'adapter_dim': 32}),
                ('parallel', 'parallel', {'adapter_position': 'parallel'}),
                ('after_block', 'after_block', {'adapter_position': 'after_block'}))),
    Stage('full_finetune_all', 'ablations_adapter', 'FullFinetune', 1600,
          'stages 1 + 2, then everything on all labels', 'hydra', 1.0, bindings=_FINETUNE),

    *_Short('short', 'short reference'),
    *_Short('codebooks_4', 'short, 4 codebooks', num_codebooks=4),
    *_Short('pca', 'short, PCA projection', projection='pca'),
    Stage('source_best_rq_hydra', 'ablations_hydra', 'JustHydra', 600,
          'short, BEST-RQ on the source too: stages 1 + 2', 'short_pretrain',
          bindings={**_HYDRA, 'source_best_rq_weight': 0.1}),
    Stage('source_best_rq_adapted', 'ablations_hydra', 'AdapterFinetune', 200,
          'short, BEST-RQ on the source too: adapted', 'source_best_rq_hydra', SMALL_SHARE, bindings=_ADAPT),

    Stage('probe_random', 'probe', 'CtcProbe', 500, 'CTC probe, random encoder', '', 1.0),
    Stage('probe_pretrain', 'probe', 'CtcProbe', 500, 'CTC probe after stage 1', 'pretrain', 1.0),
    Stage('probe_hydra', 'probe', 'CtcProbe', 500, 'CTC probe after stage 2', 'hydra', 1.0),
)

# The curve of the picture and its horizontal lines.
CURVE = ('adapted_share_0.03', 'adapted', 'adapted_share_0.13', 'adapted_share_0.25', 'adapted_share_0.5',
         'adapted_share_1')
BASELINES = ('scratch_target', 'scratch_source_target', 'hydra')
CLAIMS = (
    claims.NoWorse('adapters and decoder', 'adapted', 'scratch_target', 'from scratch on all target labels',
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
    ('codebooks_4_adapted', 'short_adapted'), ('pca_adapted', 'short_adapted'),
    ('source_best_rq_adapted', 'short_adapted'),
)
# fmt: on
