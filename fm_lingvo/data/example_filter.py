"""Which examples a stream accepts, and a running count of those it drops.

R: drop reasons.
"""

import contextlib
import re

from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.utils import audio

# Why an example that the stream selects is not used. Order of `counts`.
DROP_REASONS = ('unparsable', 'too_short', 'too_long', 'unlabeled', 'too_many_labels', 'damaged')

# Features of a record that are read, all bytes.
FEATURES = ('utt_id', 'audio', 'text', 'domain')

BYTES_PER_SAMPLE = 2

# Shares are as fine as this many hash buckets.
SHARE_BUCKETS = 1_000_000

_NOTHING_LEFT = 'no example is left of'


def Bucket(num_samples, bounds):
  """Returns the index, int64, of the length bucket of an utterance.

  Args:
    num_samples: int32 scalar.
    bounds: Ascending upper bounds in samples, list of int.
  """
  return tf.reduce_sum(tf.cast(num_samples > tf.constant(bounds), tf.int64))


def ShareBuckets(utt_ids, seed=0):
  """Hash buckets, of SHARE_BUCKETS, by which InShare chooses.

  Args:
    utt_ids: string tensor of any shape.
    seed: Integer >= 0; another one is another choice.

  Returns:
    int64 tensor of the same shape.
  """
  keyed = tf.strings.join([f'{seed}/', utt_ids])
  return tf.strings.to_hash_bucket_fast(keyed, SHARE_BUCKETS)


def InShare(utt_ids, share, seed=0):
  """Which utterances belong to a share of the data; shares are nested.

  Args:
    utt_ids: string tensor of any shape.
    share: In (0, 1].
    seed: See ShareBuckets.

  Returns:
    bool tensor of the same shape.
  """
  return ShareBuckets(utt_ids, seed) < int(round(share * SHARE_BUCKETS))


def MaxLabels(bounds, max_chars_per_second):
  """Labels, int, that an utterance of each length bucket may have.

  Args:
    bounds: Upper bounds of the buckets in samples, list of int.
    max_chars_per_second: See StreamParams.
  """
  return [int(b / audio.SAMPLE_RATE * max_chars_per_second) + 1 for b in bounds]


@contextlib.contextmanager
def NamingEmptyStreams():
  """Turns the error of a stream without an example to use, which TensorFlow wraps into pages, into a ConfigError."""
  try:
    yield
  except tf.errors.InvalidArgumentError as e:
    found = re.search(rf'\[([^\[\]]*: {_NOTHING_LEFT} [^\[\]]*)\]', e.message)
    if not found:
      raise
    raise errors.ConfigError(found.group(1)) from e


class Accountant:
  """A step of tf.data's scan over the records of a stream, epoch by epoch.

  The running counts travel with the accepted examples, so that they say at
  batch k the same in an uninterrupted and in a resumed run.
  """

  def __init__(self, params, *, path, bounds, num_files, must_accept, num_damaged=0):
    """Constructor.

    Args:
      params: StreamParams.
      path: Where `params` are, for the error.
      bounds: Ascending upper bounds of the buckets in samples.
      num_files: Number of shards, for the error.
      must_accept: Whether an epoch without an accepted example is an error.
      num_damaged: Records of an epoch that are lost, see fm_lingvo/data/shard_integrity.py.
    """
    self._params, self._path, self._bounds = params, path, bounds
    self._num_files, self._must_accept = num_files, must_accept
    self._num_damaged = num_damaged

  def InitialState(self, counts, passed):
    """State of Step: counts of all epochs, of this one, an example held."""
    zero = tf.zeros([], tf.int64)
    return dict(
      counts=counts,
      passed=passed,
      next_index=zero,
      accepted=zero,
      unselected=zero,
      holds=tf.constant(False),
      held={k: tf.constant('') for k in FEATURES},
    )

  def Step(self, state, element):
    """Counts drops; hands an example on when the next one has come.

    The delay lets an example carry the drops that follow it, those at the end
    of the data too.

    Args:
      state: What InitialState or the last step returned.
      element: (index, is_end, features): the record's number in its epoch,
        whether it is the marker behind the last, and its features. Numbers that
        are missing are records that did not parse.

    Returns:
      (state, (emit, example)): example has features, num_samples and counts,
      and is to be used where emit is true.
    """
    index, is_end, features = element
    selected, reasons = self._Judge(features)
    selected = tf.logical_and(selected, tf.logical_not(is_end))
    dropped = tf.cast(selected, tf.int64) * reasons
    accept = tf.logical_and(selected, tf.equal(tf.reduce_sum(reasons), 0))
    lost = tf.one_hot(0, len(DROP_REASONS), index - state['next_index'], tf.zeros([], tf.int64))
    damaged = tf.one_hot(
      DROP_REASONS.index('damaged'),
      len(DROP_REASONS),
      tf.cast(is_end, tf.int64) * self._num_damaged,
      tf.zeros([], tf.int64),
    )
    counts = state['counts'] + dropped + lost + damaged
    accepted = state['accepted'] + tf.cast(accept, tf.int64)
    unselected = state['unselected'] + tf.cast(tf.logical_not(tf.logical_or(selected, is_end)), tf.int64)

    checks = []
    if self._must_accept:
      ok = tf.logical_or(tf.logical_not(is_end), accepted > 0)
      tallies = [index] + tf.unstack(counts) + [unselected]
      checks.append(tf.cond(ok, lambda: True, lambda: self._RaiseNothingLeft(tallies)))
    with tf.control_dependencies(checks):
      emit = tf.logical_and(state['holds'], tf.logical_or(accept, is_end))
    example = dict(state['held'], counts=counts)
    example['num_samples'] = tf.strings.length(example['audio']) // BYTES_PER_SAMPLE
    bucket = tf.one_hot(Bucket(example['num_samples'], self._bounds), len(self._bounds), dtype=tf.int64)
    pass_over = tf.minimum(state['passed'], bucket * tf.cast(emit, tf.int64))
    emit = tf.logical_and(emit, tf.equal(tf.reduce_sum(pass_over), 0))

    def Restart(value):
      return tf.where(is_end, tf.zeros_like(value), value)

    new_state = dict(
      counts=counts,
      passed=state['passed'] - pass_over,
      next_index=Restart(index + 1),
      accepted=Restart(accepted),
      unselected=Restart(unselected),
      holds=tf.logical_and(tf.logical_not(is_end), tf.logical_or(accept, state['holds'])),
      held={k: tf.where(accept, v, state['held'][k]) for k, v in features.items()},
    )
    return new_state, (emit, example)

  def _Judge(self, features):
    """Returns whether it is selected, and the first reason to drop it, if any.

    Args:
      features: Dict of string scalars.

    Returns:
      (bool scalar, int64 [R] with at most one 1).
    """
    p = self._params
    selected = tf.constant(True)
    if p.domain_regex:
      selected = tf.strings.regex_full_match(features['domain'], p.domain_regex)
    if p.share < 1:
      selected &= InShare(features['utt_id'], p.share, p.share_seed)
    num_bytes = tf.strings.length(features['audio'])
    samples = num_bytes // BYTES_PER_SAMPLE
    malformed = tf.logical_or(tf.equal(num_bytes, 0), tf.not_equal(num_bytes % BYTES_PER_SAMPLE, 0))
    min_samples = int(round(p.min_seconds * audio.SAMPLE_RATE))
    no_text = tf.equal(tf.strings.strip(features['text']), '')
    bucket = tf.minimum(Bucket(samples, self._bounds), len(self._bounds) - 1)
    chars = tf.strings.length(features['text'], unit='UTF8_CHAR')
    # A SentencePiece model puts a word boundary before the first character.
    too_many = chars + 1 > tf.constant(MaxLabels(self._bounds, p.max_chars_per_second))[bucket]
    reasons = tf.cast(
      tf.stack(
        [
          malformed,
          samples < min_samples,
          samples > self._bounds[-1],
          tf.logical_and(p.labeled, no_text),
          tf.logical_and(bool(p.tokenizer_file), too_many),
          False,  # damaged: it never comes here.
        ]
      ),
      tf.int64,
    )
    return selected, reasons * tf.cast(tf.cumsum(reasons) <= 1, tf.int64)

  def _RaiseNothingLeft(self, tallies):
    dropped = ', '.join(f'{reason} {{}}' for reason in DROP_REASONS)
    message = tf.strings.format(
      f'{self._path}: {_NOTHING_LEFT} {{}} in {self._num_files} files; '
      f'dropped: {dropped}; outside of domain_regex and share: {{}}',
      tallies,
    )
    with tf.control_dependencies([tf.debugging.Assert(False, [message])]):
      return tf.constant(True)
