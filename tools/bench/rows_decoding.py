"""Rows of greedy transducer decoding: encoded frames in, labels out, as a real-time factor."""

from . import party
from . import rows

_FRAME_SECONDS = 0.04
# params/gin/transducer/small.gin and base.gin, with the tokenizers of params/tokenizers and the width of their encoders.
_SIZES = {
  'small': {'width': 192, 'embedded': 64, 'predicted': 128, 'joint': 128, 'vocab': 30, 'tokenizer': 'graphemes_en'},
  'base': {
    'width': 256,
    'embedded': 320,
    'predicted': 640,
    'joint': 640,
    'vocab': 1024,
    'tokenizer': 'wordpieces_en_1024',
  },
}
_QUICK = {'small': {**_SIZES['small'], 'predicted': 16, 'joint': 16}}
_OURS = ('ours, XLA', 'ours, graph')
_NOTE = (
  "seconds for a second of audio, the encoder's not counted; random weights, the same on both sides, that give a label "
  'in about three frames, at most one at a frame; ours looks at the frame again after a label, SpeechBrain, so limited, '
  'does not'
)


def Run(setting):
  """Rows of both sizes, in a batch and by itself."""
  for name, widths in (_QUICK if setting.quick else _SIZES).items():
    for batch in (2,) if setting.quick else (16, 1):
      sizes = {
        **widths,
        'batch': batch,
        'frames': 25 if setting.quick else 250,
        'tokenizer': f'params/tokenizers/{widths["tokenizer"]}.model',
      }
      parties = [party.Party(one, 'tools.bench.ours.decoding', {**sizes, 'xla': one.endswith('XLA')}) for one in _OURS]
      parties.append(setting.peers.Party('SpeechBrain', 'tools.bench.peers.decoding', sizes, 'speechbrain'))
      race = setting.Race(parties)
      _Disqualify(race, batch * sizes['frames'])
      seconds = sizes['frames'] * _FRAME_SECONDS
      what = f'P {sizes["predicted"]}, J {sizes["joint"]}, V {sizes["vocab"]}'
      row = rows.Compare(
        f'greedy decoding, {name} ({what}), B {batch} x {seconds:g} s', race, _OURS, '>= 1', note=_NOTE
      )
      yield {**row, 'unit': 'RTF', **{k: row[k] and row[k] / (batch * seconds) for k in ('ours', 'peer')}}


def _Disqualify(race, frames):
  """Fails whoever's labels are too many, too few, or not as many as those of the others, within 2 %."""
  done = [m for m in race.values() if not m.failed]
  middle = sorted(m.facts['labels'] for m in done)[len(done) // 2] if done else 0
  for measured in done:
    labels = measured.facts['labels']
    if not frames / 6 < labels < frames / 2:
      measured.failed = f'{labels} labels in {frames} frames'
    elif abs(labels / middle - 1) > 0.02:
      measured.failed = f'{labels} labels, others {middle}'
