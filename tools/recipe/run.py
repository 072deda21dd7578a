"""What `python -m tools.recipe` does after its flags are read: prepares data, trains, publishes the results."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable

from fm_lingvo import errors
from fm_lingvo.utils import files as file_system

from ..common import files
from ..common import interrupts
from ..common import this_machine
from ..figures import results
from . import claims
from . import comparisons
from . import data
from . import labels as labels_lib
from . import plan
from . import plot
from . import report
from . import rows as rows_lib
from . import runner
from . import stage_run
from . import stages as stages_lib
from . import stamps as stamps_lib

_IMAGE = os.path.join(this_machine.ROOT, 'docs', 'images', 'recipe.png')


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
  publisher = Publisher(settings, docs, seeds)
  for run, stage in chosen.items():
    if run not in publisher.stages:
      raise errors.ConfigError(f'{run}: no data set {settings.data_dir}/{stage.target}; see --corpora')
  chosen = {run: publisher.stages[run] for run in chosen}
  if report_only:
    publisher.Write()
    print(f'{settings.output}/report.md')
    return 0
  if dry_run:
    for run, stage in chosen.items():
      what, why = stage_run.Look(stage_run.RunDir(settings, run), stage, publisher.stamps)
      print(
        f'{run}: '
        + {
          'done': 'reused',
          'train': f'trained, {stage.steps} steps',
          'resume': 'resumed',
          'changed': f'{"taken as it is" if run in take else "trained anew"}: {why}',
        }[what]
      )
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


def ResultsPath(settings: stages_lib.Settings, docs: bool) -> str:
  """The results file: that of docs/, or the runs' own."""
  return results.Path('recipe') if docs else os.path.join(settings.output, 'recipe.json')


class Publisher:
  """Writes what is known so far: results, report and picture.

  The results have a row of each finished run of today's inputs, and keep rows of today's inputs whose runs are not
  here. No mean and no comparison may mix two kinds of inputs.
  """

  def __init__(self, settings: stages_lib.Settings, docs: bool, seeds: Iterable[int] = ()):
    """seeds: beside those of the plan and of the results file."""
    self._settings, self._docs = settings, docs
    self._path = ResultsPath(settings, docs)
    known = {row['seed'] for row in results.Rows(self._path)}
    self._labels = labels_lib.Labels(settings)
    self.stages = self._labels.Resolve(stages_lib.Plan(settings, {*seeds, *known}))
    self.stamps = stamps_lib.Stamps(settings, self.stages)
    self.failed = {}  # Run that is trained, but whose results cannot be read -> why.

  def Write(self) -> dict:
    """Writes everything; returns the result."""
    rows, left_out = [], []
    for run, stage in self.stages.items():
      state = stage_run.Read(stage_run.RunDir(self._settings, run))
      if stage.measured and state and state['done'] and state['stamp'] == self.stamps.Stamp(run):
        try:
          rows.append(rows_lib.Row(self._settings, self.stages, self._labels, run))
          self.failed.pop(run, None)
        except errors.ConfigError as e:
          if run not in self.failed:
            print(f'recipe: {run}: {e}', file=sys.stderr)
          self.failed[run] = e

    def _Keep(row):
      run = stages_lib.RunName(row['name'], row['seed'])
      keep = run in self.stages and row.get('stamp') == self.stamps.Stamp(run)
      if not keep:
        left_out.append(f'{row["name"]} (seed {row["seed"]})')
      return keep

    def _Comparisons(rows):
      pairs = [pair for claim in plan.CLAIMS for pair in claim.pairs] + [*plan.COMPARED]
      made = comparisons.Compare(self._settings, self.stages, self._labels, rows, pairs)
      earlier = []
      if os.path.exists(self._path):
        with open(self._path, encoding='utf-8') as f:
          earlier = json.load(f).get('comparisons', [])
      return {'comparisons': comparisons.WithKept(made, earlier, rows, pairs)}

    result = results.Merge(self._path, 'recipe', rows, keep=_Keep, extra=_Comparisons)
    if left_out:
      print(
        f'recipe: {self._path}: left out, for they were trained from other inputs: {", ".join(left_out)}',
        file=sys.stderr,
      )
    if result['rows']:
      image = os.path.join(self._settings.output, 'recipe.png')
      plot.Plot(result['rows'], image)
      if self._docs:
        shutil.copy(image, _IMAGE)
    report.Write(os.path.join(self._settings.output, 'report.md'), self._settings, self.stages, self._labels, result)
    return result
