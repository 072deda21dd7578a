"""Selects the examples that a stream uses, and counts those that it drops.

R: drop reasons, N: counts, those of drops and of what is cut.
"""

import contextlib
import re

from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.utils import audio

# Reasons why a selected example is dropped, in the order of `counts`.
DROP_REASONS = ('unparsable', 'too_short', 'too_long', 'unlabeled', 'too_many_labels', 'damaged')

# All that is counted: dropped examples by reason, and records that were cut to pieces.
COUNTS = (*DROP_REASONS, 'cut')

# What an element of record_reader.Records has in addition to its features: whether it is the end marker of an epoch,
# whether it is the first or only piece of a record, how many records could not be parsed, whether it begins a record
# that was cut.
KINDS = ('is_end', 'records', 'unparsable', 'cut')

# Features that are read from a record; all are bytes.
FEATURES = ('utt_id', 'audio', 'text', 'domain')

BYTES_PER_SAMPLE = 2

# Number of hash buckets, which is the resolution of shares.
SHARE_BUCKETS = 1_000_000

_NOTHING_LEFT = 'no example is left of'


def Bucket(num_samples, bounds):
  """Returns the index of an utterance's length bucket, int64 scalar.

  Args:
    num_samples: int32 scalar.
    bounds: Ascending upper bounds in samples, list of int.
  """
  return tf.reduce_sum(tf.cast(num_samples > tf.constant(bounds), tf.int64))


def ShareBuckets(utt_ids, seed=0):
  """Returns the hash buckets, in [0, SHARE_BUCKETS), from which InShare selects.

  Args:
    utt_ids: string tensor of any shape.
    seed: Integer >= 0; different seeds select different examples.

  Returns:
    int64 tensor of the same shape.
  """
  keyed = tf.strings.join([f'{seed}/', utt_ids])
  return tf.strings.to_hash_bucket_fast(keyed, SHARE_BUCKETS)


def InShare(utt_ids, share, seed=0):
  """Returns which utterances belong to a share of the data; a smaller share is a subset of a larger one.

  Args:
    utt_ids: string tensor of any shape.
    share: Share of the data, in (0, 1].
    seed: See ShareBuckets.

  Returns:
    bool tensor of the same shape.
  """
  return ShareBuckets(utt_ids, seed) < int(round(share * SHARE_BUCKETS))


def MaxLabels(bounds, max_chars_per_second):
  """Returns the maximum number of labels of an utterance in each length bucket, list of int.

  Args:
    bounds: Upper bounds of the buckets in samples, list of int.
    max_chars_per_second: See StreamParams.
  """
  return [int(b / audio.SAMPLE_RATE * max_chars_per_second) + 1 for b in bounds]


@contextlib.contextmanager
def NamingEmptyStreams():
  """Converts the error of a stream without usable examples, which TensorFlow wraps in long traces, to a ConfigError."""
  try:
    yield
  except tf.errors.InvalidArgumentError as e:
    found = re.search(rf'\[([^\[\]]*: {_NOTHING_LEFT} [^\[\]]*)\]', e.message)
    if not found:
      raise
    raise errors.ConfigError(found.group(1)) from e


class FilterScan:
  """The scan over a stream's records that accepts or drops examples and keeps the counts.

  The running counts are attached to the accepted examples, so that at batch k
  they are the same in an uninterrupted and in a resumed run.
  """

  def __init__(self, params, *, path, bounds, num_files, must_accept, num_damaged=0):
    """Constructor.

    Args:
      params: StreamParams.
      path: Path of `params`, for the error message.
      bounds: Ascending upper bounds of the buckets in samples.
      num_files: Number of shards, for the error message.
      must_accept: Whether an epoch without an accepted example is an error.
      num_damaged: Damaged records per epoch, see fm_lingvo/data/shard_integrity.py.
    """
    self._params, self._path, self._bounds = params, path, bounds
    self._num_files, self._must_accept = num_files, must_accept
    self._num_damaged = num_damaged

  def InitialState(self, counts, passed):
    """Returns the initial state of Step.

    Args:
      counts: int64 [N], initial running counts of all epochs.
      passed: int64 [number of buckets], accepted examples of each bucket to skip first.
    """
    zero = tf.zeros([], tf.int64)
    return dict(
      counts=counts,
      passed=passed,
      records=zero,
      accepted=zero,
      unselected=zero,
      has_pending=tf.constant(False),
      pending={k: tf.constant('') for k in FEATURES},
    )

  def Step(self, state, element):
    """Counts dropped examples; emits an accepted example when the next one arrives.

    The delay attaches the drops that follow an example to it, including those at
    the end of the data.

    Args:
      state: Result of InitialState or of the previous step.
      element: (kind, features) of record_reader.Records: a dict of the KINDS, int64 scalars, and a dict of strings.

    Returns:
      (state, (emit, example)): example has features, num_samples and counts, and
      is valid only if emit is true.
    """
    kind, features = element
    is_end = kind['is_end'] > 0
    speech = tf.logical_not(is_end | (kind['unparsable'] > 0))
    selected, reasons = self._CheckExample(features)
    selected &= speech
    accept = selected & tf.equal(tf.reduce_sum(reasons), 0)
    counts = state['counts'] + tf.cast(selected, tf.int64) * tf.pad(reasons, [[0, len(COUNTS) - len(DROP_REASONS)]])
    for name, count in (
      ('unparsable', kind['unparsable']),
      ('damaged', kind['is_end'] * self._num_damaged),
      ('cut', kind['cut'] * tf.cast(selected, tf.int64)),
    ):
      counts += tf.one_hot(COUNTS.index(name), len(COUNTS), count, tf.zeros([], tf.int64))
    records = state['records'] + kind['records']
    accepted = state['accepted'] + tf.cast(accept, tf.int64)
    unselected = state['unselected'] + kind['records'] * tf.cast(speech & ~selected, tf.int64)
    utt_id = tf.strings.join([features['utt_id'], features['part']])
    features = {name: utt_id if name == 'utt_id' else features[name] for name in FEATURES}

    checks = []
    if self._must_accept:
      ok = tf.logical_or(tf.logical_not(is_end), accepted > 0)
      tallies = [records, *tf.unstack(counts)[: len(DROP_REASONS)], unselected]
      checks.append(tf.cond(ok, lambda: True, lambda: self._RaiseNothingLeft(tallies)))
    with tf.control_dependencies(checks):
      emit = tf.logical_and(state['has_pending'], tf.logical_or(accept, is_end))
    example = dict(state['pending'], counts=counts)
    example['num_samples'] = tf.strings.length(example['audio']) // BYTES_PER_SAMPLE
    bucket = tf.one_hot(Bucket(example['num_samples'], self._bounds), len(self._bounds), dtype=tf.int64)
    pass_over = tf.minimum(state['passed'], bucket * tf.cast(emit, tf.int64))
    emit = tf.logical_and(emit, tf.equal(tf.reduce_sum(pass_over), 0))

    def Restart(value):
      return tf.where(is_end, tf.zeros_like(value), value)

    new_state = dict(
      counts=counts,
      passed=state['passed'] - pass_over,
      records=Restart(records),
      accepted=Restart(accepted),
      unselected=Restart(unselected),
      has_pending=tf.logical_and(tf.logical_not(is_end), tf.logical_or(accept, state['has_pending'])),
      pending={k: tf.where(accept, v, state['pending'][k]) for k, v in features.items()},
    )
    return new_state, (emit, example)

  def _CheckExample(self, features):
    """Returns whether an example is selected, and the first reason to drop it, if any.

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
    # SentencePiece adds a word boundary before the first character.
    too_many = chars + 1 > tf.constant(MaxLabels(self._bounds, p.max_chars_per_second))[bucket]
    reasons = tf.cast(
      tf.stack(
        [
          malformed,
          samples < min_samples,
          samples > self._bounds[-1],
          tf.logical_and(p.labeled, no_text),
          tf.logical_and(bool(p.tokenizer_file), too_many),
          False,  # damaged: such records are never read.
        ]
      ),
      tf.int64,
    )
    return selected, reasons * tf.cast(tf.cumsum(reasons) <= 1, tf.int64)

  def _RaiseNothingLeft(self, tallies):
    """Raises InvalidArgumentError with the numbers of records, of drops by reason and of unselected examples."""
    dropped = ', '.join(f'{reason} {{}}' for reason in DROP_REASONS)
    message = tf.strings.format(
      f'{self._path}: {_NOTHING_LEFT} {{}} in {self._num_files} files; '
      f'dropped: {dropped}; outside of domain_regex and share: {{}}',
      tallies,
    )
    with tf.control_dependencies([tf.debugging.Assert(False, [message])]):
      return tf.constant(True)
