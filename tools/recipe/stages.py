"""Stages: what plan.py says of each training, completed with seeds, folders and the smoke run's settings."""

import dataclasses
import os
from collections.abc import Iterable

from fm_lingvo import errors
from fm_lingvo.utils import suggest

from . import plan
from .stage_spec import PSEUDO
from .stage_spec import RunName
from .stage_spec import Settings
from .stage_spec import Stage


def Plan(settings: Settings, seeds: Iterable[int] = ()) -> dict[str, Stage]:
  """All stages by the names of their runs, each after the one that it starts from.

  The stages that are given target labels have these further seeds, too. A stage starts from the run with its own seed,
  or with seed 1 where there is none.
  """
  stages = {}
  for planned in plan.STAGES:
    for seed in sorted({*planned.seeds, *(seeds if planned.share else ())}):
      before = {name: RunName(name, seed) for name in planned.needs}
      before = {name: run if run in stages else name for name, run in before.items()}
      stage = _Complete(settings, planned, seed, before.get(planned.start, ''), before.get(planned.teacher, ''))
      stages[stage.run] = stage
  return stages


def _Complete(settings, planned, seed, start, teacher):
  share = max(planned.share, plan.QUICK_SHARE) if settings.quick and planned.share else planned.share
  bindings = {'data_dir': settings.data_dir, 'max_steps': planned.steps, 'seed': seed, **plan.COMMON}
  if share:
    bindings['label_share'] = share
  if 0 < share < 1:
    bindings['label_seed'] = seed  # Another seed is another choice of labeled utterances, too.
  bindings.update(planned.bindings)
  if start:
    bindings['init_from'] = f'{settings.output}/{start}'
  if teacher:
    folder = os.path.join(settings.output, RunName(planned.name, seed), PSEUDO)
    bindings.update(pseudo=os.path.relpath(folder, settings.data_dir), pseudo_weight=1.0)
  if settings.quick:
    bindings.update(plan.QUICK)
    if not start:  # The shipped model has another size.
      for knob in ('init_from', 'init_decoder', 'init_best_rq'):
        bindings.pop(knob, None)
  group = plan.SEED_GROUPS[seed] if seed != 1 and seed in planned.seeds else planned.group
  return dataclasses.replace(
    planned,
    group=group,
    steps=bindings['max_steps'],
    title=planned.title.format(share=f'{100 * share:g} %'),
    start=start,
    teacher=teacher,
    share=share,
    bindings=bindings,
    seed=seed,
  )


def OneOfEachExperiment(stages: dict[str, Stage], group: str) -> list[str]:
  """Runs of a group: the first one of each experiment."""
  first = {}
  for run, stage in stages.items():
    if stage.group == group:
      first.setdefault(stage.experiment, run)
  return list(first.values())


def Select(stages: dict[str, Stage], names: Iterable[str], seeds: Iterable[int] = ()) -> dict[str, Stage]:
  """Those of Plan()'s stages that are asked for, with all that they start from.

  Names are groups, runs, or 'all'; each stage comes with these further seeds, too.

  Raises:
    errors.ConfigError: there is no such group or stage; the nearest is named.
  """
  chosen = set()
  for name in names:
    if name in plan.GROUPS or name == 'all':
      chosen.update(run for run, stage in stages.items() if name in (stage.group, 'all') and stage.seed in stage.seeds)
      chosen.update(plan.ALSO.get(name, ()))
    elif name in stages:
      chosen.add(name)
    else:
      hint = suggest.Hint(name, [*plan.GROUPS, 'all', *stages], 0.5)
      raise errors.ConfigError(
        f'{name}: no such group or stage' + (hint or f'; expected all, {", ".join(plan.GROUPS)} or a stage (--list)')
      )
  chosen_names = {stages[run].name for run in chosen}
  chosen.update(run for run, stage in stages.items() if stage.name in chosen_names and stage.seed in seeds)
  for run in reversed(stages):  # Starts come before what starts from them.
    if run in chosen:
      chosen.update(stages[run].needs)
  return {run: stage for run, stage in stages.items() if run in chosen}
