"""Publishes what the recipe's runs gave: its results, the report and the picture."""

import json
import os
import shutil
import sys
from collections.abc import Iterable

from fm_lingvo import errors

from ..common import this_machine
from ..figures import results
from . import comparisons
from . import labels as labels_lib
from . import plan
from . import plot
from . import report
from . import rows as rows_lib
from . import stage_run
from . import stages as stages_lib
from . import stamps as stamps_lib

_IMAGE = os.path.join(this_machine.ROOT, 'docs', 'images', 'recipe.png')


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
    left_out = []

    def _Keep(row):
      run = stages_lib.RunName(row['name'], row['seed'])
      keep = run in self.stages and row.get('stamp') == self.stamps.Stamp(run)
      if not keep:
        left_out.append(f'{row["name"]} (seed {row["seed"]})')
      return keep

    result = results.Merge(self._path, 'recipe', self._Rows(), keep=_Keep, extra=self._Comparisons)
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

  def _Rows(self) -> list[dict]:
    """The rows of the runs that are finished and of today's inputs; what cannot be read is told once."""
    rows = []
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
    return rows

  def _Comparisons(self, rows: list[dict]) -> dict:
    """The comparisons of rows, with those of the results file whose runs are not here."""
    pairs = [pair for claim in plan.CLAIMS for pair in claim.pairs] + [*plan.COMPARED]
    made = comparisons.Compare(self._settings, self.stages, self._labels, rows, pairs)
    earlier = []
    if os.path.exists(self._path):
      with open(self._path, encoding='utf-8') as f:
        earlier = json.load(f).get('comparisons', [])
    return {'comparisons': comparisons.WithKept(made, earlier, rows, pairs)}
