"""Cuts speech that is too long for a stream at its quietest places, in-graph.

S: samples (16 kHz) of a record, C: its pieces. A hop is 10 ms; cuts are whole hops from the start of the record.
"""

from lingvo import compat as tf

from fm_lingvo.utils import audio

_HOP = audio.SAMPLE_RATE // 100
_QUIET_HOPS = 20  # A cut is in the middle of the quietest 200 ms.


def Starts(samples, shortest: int, longest: int):
  """Returns where the pieces of a record start.

  A cut is at the quietest hop of a search range. The range ends where the piece would be longer than `longest` or the
  rest shorter than the shortest piece, and begins half of `longest` earlier. No piece is shorter than a quarter of it.

  Args:
    samples: int16 [S].
    shortest: Samples of the shortest piece, >= 0; up to half of `longest` it is kept by every piece.
    longest: Samples of the longest piece, >= 2 hops.

  Returns:
    int32 [C], the first of them 0.
  """
  size = tf.size(samples)
  most = max(1, longest // _HOP)
  least = max(1, min(max(-(-shortest // _HOP), most // 4), most // 2))
  loudness = _Loudness(samples)

  def Next(starts):
    start = starts[-1]  # In hops.
    last = tf.minimum(start + most, size // _HOP - least)
    first = tf.maximum(last - most // 2, start + least)
    cut = first + tf.argmin(loudness[first : last + 1], output_type=tf.int32)
    return (tf.concat([starts, [cut]], axis=0),)

  starts = tf.while_loop(
    lambda starts: size - starts[-1] * _HOP > longest,
    Next,
    (tf.zeros([1], tf.int32),),
    shape_invariants=(tf.TensorShape([None]),),
  )
  (starts,) = tf.nest.flatten(starts)  # A loop of one variable returns it alone or in a tuple.
  return starts * _HOP


def _Loudness(samples):
  """Returns the mean power of the 200 ms around the start of each hop, float64 [hops + 1]."""
  hops = -(-tf.size(samples) // _HOP)
  padded = tf.pad(tf.cast(samples, tf.float32), [[0, hops * _HOP - tf.size(samples)]])
  power = tf.reduce_mean(tf.square(tf.reshape(padded, [hops, _HOP])), axis=1)
  total = tf.pad(tf.cumsum(tf.cast(power, tf.float64)), [[1, 0]])  # [hops + 1]
  places = tf.range(hops + 1)
  low = tf.maximum(places - _QUIET_HOPS // 2, 0)
  high = tf.minimum(places + _QUIET_HOPS // 2, hops)
  return (tf.gather(total, high) - tf.gather(total, low)) / tf.cast(high - low, tf.float64)
