"""Rows of the BEST-RQ training step: features in, update out, at two sizes, in float32 and bfloat16."""

from tools.bench import party
from tools.bench import rows

_TINY = {'batch': 8, 'seconds': 2, 'layers': 4, 'width': 144, 'heads': 4, 'kernel': 15, 'channels': 32, 'codes': 512}
_BASE = {'batch': 8, 'seconds': 8, 'layers': 12, 'width': 512, 'heads': 8, 'kernel': 31, 'channels': 32, 'codes': 8192}
_QUICK = {'batch': 2, 'seconds': 1, 'layers': 1, 'width': 16, 'heads': 2, 'kernel': 5, 'channels': 4, 'codes': 32}
_DTYPES = ('float32', 'bfloat16')


def RunTiny(setting):
  """Rows at size tiny."""
  return _Rows(setting, f'tiny ({_Describe(_TINY)})', _QUICK if setting.quick else _TINY, '>= 1.5')[0]


def RunBase(setting):
  """Rows at size base, and what share of the matrix products' own rate a step reaches."""
  sizes = _QUICK if setting.quick else _BASE
  found, ours = _Rows(setting, f'base ({_Describe(_BASE)})', sizes, '>= 1.2')
  times = [None if m is None else m.seconds for m in ours]
  found.append(rows.Row('bfloat16 beside our float32, base', 's', times[1], times[0], '>= 2', note=(
      'where the processor has no bfloat16 products, TensorFlow computes them in float32 and rounds')))
  products = setting.Race([party.Party('sgemm', 'tools.bench.ours.products', sizes)])['sgemm']
  if times[0] and not products.failed:
    found.append(rows.Row(
        "share of the step's time that its matrix products take by themselves, base, float32", 's', times[0],
        products.seconds, '>= 0.7', note=f'{products.facts["gflop"]:.0f} GFLOP at {products.facts["gflop"] / products.seconds:.0f} GFLOP/s, '
        'the products of blocks and head, forward and backward, in NumPy'))
  return found


def _Rows(setting, name, sizes, bar):
  """(a row a dtype, the Measured of our fastest in each)."""
  found, ours = [], []
  for dtype in _DTYPES:
    own = {**sizes, 'dtype': dtype}
    race = setting.Race([party.Party('ours, graph', 'tools.bench.ours.step', own)] + [
        setting.peers.Party(title, 'tools.bench.peers.step', {**own, 'package': package}, package)
        for title, package in (('SpeechBrain', 'speechbrain'), ('plain PyTorch', 'torch'))])
    _Disqualify(race)
    ours.append(rows.Best(race, ['ours, graph']))
    found.append(rows.Compare(f'BEST-RQ training step, {name}, {dtype}', race, ['ours, graph'], bar))
  return found, ours


def _Disqualify(race):
  """Fails whoever's weights are not those of the others, within 5 %: another model; and whose loss is no number."""
  done = [m for m in race.values() if not m.failed]
  middle = sorted(m.facts['weights'] for m in done)[len(done) // 2] if done else 0
  for measured in done:
    if abs(measured.facts['weights'] / middle - 1) > 0.05:
      measured.failed = f'it has {measured.facts["weights"]:,} weights, others {middle:,}'
    elif not 0 < measured.facts['first'] < 100:
      measured.failed = f'its loss is {measured.facts["first"]}'


def _Describe(sizes):
  return f'{sizes["layers"]} x {sizes["width"]}, V {sizes["codes"]}, B {sizes["batch"]} x {sizes["seconds"]} s'
