"""Rows of the BEST-RQ training step: features in, update out, at two sizes, in float32 and bfloat16."""

from . import party
from . import rows

TINY = {'batch': 8, 'seconds': 2, 'layers': 4, 'width': 144, 'heads': 4, 'kernel': 15, 'channels': 32, 'codes': 512}
BASE = {
  'batch': 8,
  'seconds': 8,
  'layers': 12,
  'width': 512,
  'heads': 8,
  'kernel': 31,
  'channels': 32,
  'codes': 8192,
  'calls': 1,
}
QUICK = {'batch': 2, 'seconds': 1, 'layers': 1, 'width': 16, 'heads': 2, 'kernel': 5, 'channels': 4, 'codes': 32}
_DTYPES = ('float32', 'bfloat16')


def RunTiny(setting):
  """Rows at size tiny."""
  for dtype in _DTYPES:
    yield _Step(setting, 'tiny', QUICK if setting.quick else TINY, dtype, '>= 1.5')


def RunBase(setting):
  """Rows at size base, and what share of the matrix products' own rate a step reaches."""
  sizes, ours = QUICK if setting.quick else BASE, {}
  for dtype in _DTYPES:
    row = _Step(setting, 'base', sizes, dtype, '>= 1.2')
    ours[dtype] = row['ours']
    yield row
  yield rows.Row(
    'bfloat16 step beside our float32 step, base',
    's',
    ours['bfloat16'],
    ours['float32'],
    '>= 2',
    note=('where the processor has no bfloat16 products, they are computed in float32 and rounded'),
  )
  products = setting.Race([party.Party('sgemm', 'tools.bench.ours.products', sizes)])['sgemm']
  name = "share of the step's time that its matrix products take by themselves, base, float32"
  if products.failed or not ours['float32']:
    yield rows.Row(name, 's', ours['float32'], None, '>= 0.7', note=products.failed)
    return
  rate = products.facts['gflop'] / products.seconds
  yield rows.Row(
    name,
    's',
    ours['float32'],
    products.seconds,
    '>= 0.7',
    note=(
      f'{products.facts["gflop"]:.0f} GFLOP at {rate:.0f} GFLOP/s, those of blocks and head, forward and backward, in NumPy'
    ),
  )


def _Step(setting, size, sizes, dtype, bar):
  """The row of a size and a dtype."""
  sizes = {**sizes, 'dtype': dtype}
  race = setting.Race(
    [party.Party('ours, graph', 'tools.bench.ours.step', sizes)]
    + [
      setting.peers.Party(title, 'tools.bench.peers.step', {**sizes, 'package': package}, package)
      for title, package in (('SpeechBrain', 'speechbrain'), ('plain PyTorch', 'torch'))
    ]
  )
  _Disqualify(race)
  return rows.Compare(f'BEST-RQ training step, {size} ({_Describe(sizes)}), {dtype}', race, ['ours, graph'], bar)


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
