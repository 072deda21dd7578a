"""Rows of the stages beside one another: the Hydra's step and its branches', adapting and full finetuning."""

from . import party
from . import rows

_MODULE = 'tools.bench.ours.experiment'


def Run(setting):
  """Rows of asr.JustHydra and of asr.AdapterFinetune."""
  race = setting.Race(
    [_Party(setting, name) for name in ('JustHydra', 'Supervised', 'BestRqPretrain', 'AdapterFinetune', 'FullFinetune')]
  )
  _Disqualify(race)
  branches = [race[name] for name in ('Supervised', 'BestRqPretrain')]
  parts = None if any(m.failed for m in branches) else sum(m.seconds for m in branches)
  hydra, adapter, full = (race[name] for name in ('JustHydra', 'AdapterFinetune', 'FullFinetune'))
  both = adapter.failed or full.failed
  more = {'parties': {name: m.Json() for name, m in race.items()}}
  return [
    _Row(
      'JustHydra step beside its two branches as steps of their own',
      's',
      None if hydra.failed else hydra.seconds,
      parts,
      '<= 0.9',
      **more,
    ),
    _Row(
      'AdapterFinetune step beside FullFinetune',
      's',
      None if both else adapter.seconds,
      None if both else full.seconds,
      '<= 0.65',
      **more,
    ),
    _Row(
      'its peak memory, inputs and weights not counted',
      'GB',
      None if both else adapter.peak_gb,
      None if both else full.peak_gb,
      '<= 0.5',
      **more,
    ),
  ]


def _Row(name, unit, ours, other, bar, **more):
  """A row whose ratio is a share: ours / other."""
  ratio = ours / other if ours is not None and other else None
  return rows.Row(name, unit, ours, other, bar, ratio=ratio, **more)


def _Party(setting, name):
  """An experiment at the recipe's size, 16 s of audio a stream, in utterances of 4 s."""
  size = 'tiny' if setting.quick else 'small'
  bindings = [f'{name}.batch_seconds = 16.0', f'{name}.max_seconds = 4.0', f'{name}.size = {size!r}']
  return party.Party(name, _MODULE, {'model': f'asr.{name}', 'bindings': bindings, 'seconds': 4.0})


def _Disqualify(race):
  """Fails whoever's loss is no number."""
  for measured in race.values():
    if not measured.failed and not 0 < measured.facts['loss'] < 1e6:
      measured.failed = f'its loss is {measured.facts["loss"]}'
