"""Rows of the quantizer: its time and its memory."""

from . import party
from . import rows

_SIZES = {'batch': 8, 'seconds': 2, 'codes': 8192}
_QUICK = {'batch': 2, 'seconds': 1, 'codes': 64}
_OURS = ('ours, XLA', 'ours, graph')


def Run(setting):
  """Rows for 1 and for 16 codebooks."""
  for codebooks in (1, 16):
    sizes = {**(_QUICK if setting.quick else _SIZES), 'codebooks': codebooks}
    parties = [
      party.Party(name, 'tools.bench.ours.quantizer', {**sizes, 'xla': name.endswith('XLA')}) for name in _OURS
    ]
    parties.append(
      setting.peers.Party(
        'SpeechBrain', 'tools.bench.peers.quantizer', {**sizes, 'package': 'speechbrain'}, 'speechbrain'
      )
    )
    parties.append(party.Party('NumPy', 'tools.bench.peers.quantizer', {**sizes, 'package': 'numpy'}))
    race = setting.Race(parties)
    _Disqualify(race)
    what = f'G {codebooks}, V {sizes["codes"]}, {sizes["batch"]} x {sizes["seconds"]} s'
    yield rows.Compare(f'quantizer, {what}, beside SpeechBrain', race, _OURS, '>= 5', others=['SpeechBrain'])
    yield rows.Compare(f'its peak memory, {what}', race, _OURS, '<= 0.1', 'peak_gb', True, others=['SpeechBrain'])
    yield rows.Compare(f'quantizer, {what}, beside argmax in NumPy', race, _OURS, others=['NumPy'])


def _Disqualify(race):
  """Fails whoever gives one code to all frames."""
  for measured in race.values():
    if not measured.failed and measured.facts['codes'] < 2:
      measured.failed = 'one code for all frames'
