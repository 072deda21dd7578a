"""What `python -m tools.recipe` does after its flags are read: prepares data, trains, publishes the results."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable

from fm_lingvo import errors
from fm_lingvo.utils import files as file_system

from ..common import files
from ..common import interrupts
from . import claims
from . import data
from . import plan
from . import publisher as publisher_lib
from . import runner
from . import stage_run
from . import stages as stages_lib


def Run(
  settings: stages_lib.Settings,
  names: list[str],
  seeds: tuple[int, ...] = (),
  *,
  jobs: int = 1,
  docs: bool = False,
  take: Iterable[str] = (),
  dry_run: bool = False,
  report_only: bool = False,
) -> int:
  """Does what the flags of the same names ask for; returns the exit code.

  Raises:
    errors.ConfigError: a name is unknown, a run cannot be taken, or the data sets cannot be made or are not there.
    runner.Interrupted: a signal ended it.
  """
  started = time.time()
  chosen = stages_lib.Select(stages_lib.Plan(settings, seeds), names, seeds)
  for run in take:
    if run not in chosen:
      raise errors.ConfigError(f'--take={run}: not among the stages to train: {", ".join(chosen)}')
  if not dry_run:
    files.MakeFolder(settings.output, f'--output={settings.output}')  # Before minutes of work.
  if not (dry_run or report_only):
    PrepareData(settings)
  elif not all(file_system.Exists(os.path.join(settings.data_dir, name, 'dataset.json')) for name in data.NAMES):
    raise errors.ConfigError(
      f'{settings.data_dir}: the stages depend on data sets of which not all are there; first '
      f'python {" ".join(_DataCommand(settings))}'
    )
  publisher = publisher_lib.Publisher(settings, docs, seeds)
  for run, stage in chosen.items():
    if run not in publisher.stages:
      raise errors.ConfigError(f'{run}: no data set {settings.data_dir}/{stage.target}; see --corpora')
  chosen = {run: publisher.stages[run] for run in chosen}
  if report_only:
    publisher.Write()
    print(f'{settings.output}/report.md')
    return 0
  if dry_run:
    _TellPlan(settings, chosen, publisher.stamps, take)
    return 0
  for run in take:
    stage_run.Take(settings, chosen[run], publisher.stamps)
  outcomes = runner.Runner(settings, chosen, publisher.stamps, jobs, publisher.Write).Run()
  result = publisher.Write()
  if not settings.quick:  # Its figures say nothing.
    print(*claims.Verdicts(plan.CLAIMS, result['rows'], result['comparisons']), sep='\n')
  failed = [run for run, outcome in outcomes.items() if outcome in ('failed', 'not run')] + [*publisher.failed]
  done, reused = ([*outcomes.values()].count(outcome) for outcome in ('done', 'reused'))
  print(
    f'{settings.output}/report.md: {len(result["rows"])} rows; {done} stages trained, {reused} reused, '
    f'{len(failed)} failed, in {(time.time() - started) / 60:.1f} min'
  )
  if failed:
    print(f'recipe: failed: {", ".join(failed)}; the same command tries again', file=sys.stderr)
  return 1 if failed else 0


def _TellPlan(settings, chosen, stamps, take):
  """Prints what would be done with each of the chosen runs."""
  for run, stage in chosen.items():
    what, why = stage_run.Look(stage_run.RunDir(settings, run), stage, stamps)
    plans = {
      'done': 'reused',
      'train': f'trained, {stage.steps} steps',
      'resume': 'resumed',
      'changed': f'{"taken as it is" if run in take else "trained anew"}: {why}',
    }
    print(f'{run}: {plans[what]}')


def _DataCommand(settings):
  """What python is called with to make the data sets."""
  flags = ['--quick'] * settings.quick + [f'--corpora={settings.corpora}'] * bool(settings.corpora)
  return ['-m', 'tools.recipe_data', f'--output={settings.data_dir}', *flags]


def PrepareData(settings: stages_lib.Settings) -> None:
  """Makes the data sets, or reuses those that are there.

  Raises:
    errors.ConfigError: they could not be made.
    runner.Interrupted: a signal ended it; the second one kills it.
  """
  came, passed_on = [], 0
  with interrupts.HandledBy(lambda signum, _: came.append(signum)):
    # In a session of its own: a signal reaches the recipe alone, which passes it on once to all that makes data.
    with subprocess.Popen([sys.executable, *_DataCommand(settings)], start_new_session=True) as process:
      while process.poll() is None:
        if len(came) > passed_on:
          os.killpg(process.pid, signal.SIGKILL if passed_on else signal.SIGINT)
          passed_on = len(came)
        time.sleep(0.1)
  if came:
    raise runner.Interrupted(came[0], 'data sets that are whole are kept; the same command makes the others')
  if process.returncode:
    raise errors.ConfigError(
      f'{settings.data_dir}: the data sets could not be made (tools.recipe_data: exit code {process.returncode})'
    )
