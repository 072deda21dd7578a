"""A comparison: workers timed in turns, and the rows of docs/results/benchmark.json that their figures give."""

import dataclasses
import operator
import statistics
import sys
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

from . import peers_env
from . import timing
from .timing import Worker

Workers = dict[str, Worker]
_BARS = {'>=': operator.ge, '<=': operator.le}


@dataclasses.dataclass
class Setting:
  """How all rows are measured."""

  peers: peers_env.Peers
  threads: int
  rounds: int  # Turns of every worker, whose median counts.
  clock: str  # seconds or cpu_seconds.
  quick: bool = False  # Sizes of seconds, for a smoke test.


@dataclasses.dataclass
class Row:
  """What a row compares: by default the best of ours with the best peer."""

  name: str
  bar: str = ''  # What the ratio has to be, `>= 1.5`; '' only reports.
  unit: str = 's'
  figure: Callable[[Worker], float] = lambda worker: worker.seconds  # The less, the better.
  ratio: str = 'peer / ours'  # Or `ours / peer`, or `ours`: then the bar is on our figure.
  ours: tuple[str, ...] = ()  # Names of workers; default: all that are no peers.
  peers: tuple[str, ...] = ()  # Default: all peers.
  note: str = ''
  # Instead of the best: from all workers and the group's rows so far, some of `ours`, `peer`, `ratio`, `note`, `curve`.
  values: Callable[[Workers, Sequence[dict]], dict[str, Any]] | None = None


@dataclasses.dataclass
class Comparison:
  """Workers that are timed in turns."""

  workers: list[Worker]
  rows: list[Row]
  check: Callable[[Workers], None] = lambda workers: None  # Sets `failed` of workers that computed something else.


def Run(setting: Setting, comparison: Comparison, so_far: Sequence[dict]) -> Iterator[dict[str, Any]]:
  """Measures; the comparison's rows. `so_far`: the group's rows that are known, which grows meanwhile."""
  timing.Time(comparison.workers, setting.rounds, setting.threads, setting.clock)
  workers = {worker.name: worker for worker in comparison.workers}
  comparison.check(workers)
  for name, worker in workers.items():
    figures = worker.failed or f'{worker.seconds:.4g} s, {worker.peak_gb:.3g} GB'
    print(f'  {name}: {figures}', file=sys.stderr, flush=True)
  for row in comparison.rows:
    yield MakeRow(row, workers, so_far)


def MakeRow(row: Row, workers: Workers, so_far: Sequence[dict] = ()) -> dict[str, Any]:
  """A row of benchmark.json but its group and origin. `met` is false where there is nothing to compare."""
  found = {'ours': None, 'peer': None, 'note': row.note, **(row.values or _Best(row))(workers, so_far)}
  if 'ratio' not in found:
    ours, peer = found['ours'], found['peer']
    found['ratio'] = (
      ours
      if row.ratio == 'ours'
      else None
      if not ours or not peer
      # A peak of 0 is too small to be measured.
      else ours / peer
      if row.ratio == 'ours / peer'
      else peer / ours
    )
  met = None
  if row.bar:
    sign, number = row.bar.split()
    met = found['ratio'] is not None and bool(_BARS[sign](found['ratio'], float(number)))
  return {
    'name': row.name,
    'unit': row.unit,
    'bar': row.bar,
    'met': met,
    **found,
    'workers': {name: worker.Json() for name, worker in workers.items()},
  }


def _Best(row):
  """The default of Row.values: the least figure of ours, and of the peers."""

  def _Values(workers, so_far):
    del so_far
    ours = row.ours or [name for name, worker in workers.items() if not worker.is_peer]
    peers = row.peers or [name for name, worker in workers.items() if worker.is_peer]
    best = {}
    for side, names in (('ours', ours), ('peer', peers)):
      done = [workers[name] for name in names if name in workers and not workers[name].failed]
      if done:
        winner = min(done, key=row.figure)
        best[side] = row.figure(winner)
        if side == 'peer' or winner.name.startswith('ours, '):  # One of several ways to compute ours.
          best[f'{side}_is'] = winner.name
    return best

  return _Values


def CheckAgree(workers: Workers, fact: str, tolerance: float, expected: float | None = None) -> None:
  """Fails workers whose fact differs by more than a share `tolerance` from `expected`, or from the median of all."""
  done = [worker for worker in workers.values() if not worker.failed]
  if done and expected is None:
    expected = statistics.median_high(worker.facts[fact] for worker in done)
  for worker in done:
    if not abs(worker.facts[fact] / expected - 1) <= tolerance:  # NaN fails.
      worker.failed = f'{fact}: {worker.facts[fact]:.6g}, expected {expected:.6g}'


def CheckInside(workers: Workers, fact: str, low: float, high: float) -> None:
  """Fails workers whose fact is not in [low, high]."""
  for worker in workers.values():
    if not worker.failed and not low <= worker.facts[fact] <= high:
      worker.failed = f'{fact}: {worker.facts[fact]:.6g}, expected {low:.6g} to {high:.6g}'
