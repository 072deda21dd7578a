"""A row of docs/results/benchmark.json: one question, ours beside the best peer, and whether the bar is met."""

import dataclasses
import operator
import sys

from . import party

_BARS = {'>=': operator.ge, '<=': operator.le}


@dataclasses.dataclass
class Setting:
  """How all rows are measured."""

  peers: object  # peers_env.Peers.
  threads: int
  rounds: int  # Turns of every party, whose median counts.
  clock: str  # seconds or cpu_seconds.
  quick: bool = False  # Sizes of seconds, for a smoke test.

  def Race(self, parties, rounds=None):
    """dict: name -> party.Measured; says on the terminal what each took."""
    found = party.Race(parties, rounds or self.rounds, self.threads, self.clock)
    for name, measured in found.items():
      print(
        f'  {name}: ' + (measured.failed or f'{measured.seconds:.4g} s, {measured.peak_gb:.3g} GB'),
        file=sys.stderr,
        flush=True,
      )
    return found


def Row(name, unit, ours, peer, bar='', *, ratio=None, note='', **more):
  """A row.

  Args:
    name: What is measured.
    unit: Of `ours` and `peer`.
    ours, peer: Figures, or None where there is none.
    bar: '>= 1.5': what the ratio has to be; '': none, the row only reports.
    ratio: peer / ours, how many times as fast, unless given.
    note: What a reader must know.
    **more: Further fields, see docs/results/README.md.

  Returns:
    dict. `met` is None where there is no bar, and False where nothing to compare was measured.
  """
  if ratio is None and ours and peer is not None:
    ratio = peer / ours
  met = None
  if bar:
    sign, number = bar.split()
    met = ratio is not None and bool(_BARS[sign](ratio, float(number)))
  return {
    'name': name,
    'ours': ours,
    'peer': peer,
    'unit': unit,
    'ratio': ratio,
    'bar': bar,
    'met': met,
    'note': note,
    **more,
  }


def Best(race, names, figure='seconds'):
  """The Measured of the least figure among `names` that did not fail; None if all did."""
  done = [race[n] for n in names if n in race and not race[n].failed]
  return min(done, key=lambda m: getattr(m, figure), default=None)


def Compare(name, race, ours, bar='', figure='seconds', inverse=False, note='', others=None):
  """Row of the best of ours against the best of the others in a race.

  Args:
    name: Of the row.
    race: As Setting.Race returns.
    ours: Names of our parties.
    bar: See Row.
    figure: seconds or peak_gb.
    inverse: ratio is ours / peer (a share), not peer / ours (times as fast).
    note: See Row.
    others: Names of those compared with; None: all that are not ours.
  """
  mine = Best(race, ours, figure)
  other = Best(race, others or [n for n in race if n not in ours], figure)
  a, b = (getattr(m, figure) if m else None for m in (mine, other))
  ratio = None
  if a and b:  # A peak of 0 is below what can be measured.
    ratio = a / b if inverse else b / a
  return Row(
    name,
    's' if figure == 'seconds' else 'GB',
    a,
    b,
    bar,
    ratio=ratio,
    note=note,
    ours_is=mine.party.name if mine else '',
    peer_is=other.party.name if other else '',
    parties={n: m.Json() for n, m in race.items()},
  )
