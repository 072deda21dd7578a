"""N-gram language models of ARPA files as scorers (fusion.py), over words or over a tokenizer's pieces.

B: utterances, V: vocabulary with blank (id 0), W: words, A: n-grams, M: hypotheses of all utterances.

If all words of a file are pieces of the tokenizer, each label is a word of the model. Otherwise the model is of words,
and a word's score is added where it ends: with the label that begins with a space, or with the end of the utterance.
"""

import numpy as np
from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.decoding import arpa
from fm_lingvo.decoding import search
from fm_lingvo.utils import shipped

EXTENSIONS = ('.arpa', '.arpa.gz')
_SPACE = b' '


class Model:
  """An ARPA file for the labels of one tokenizer; Scorer() is one of fusion.py."""

  def __init__(self, path, tokenizer):
    """Reads the file.

    Args:
      path: Local or remote path, *.arpa or *.arpa.gz.
      tokenizer: The tokenizer.Tokenizer of the labels.

    Raises:
      errors.ConfigError: The file does not exist or is malformed, or the tokenizer's labels cannot be scored with it.
    """
    self._ngrams = arpa.Read(shipped.Find(path, 'language model', 'a file in ARPA format ends in .arpa or .arpa.gz'))
    words = self._ngrams.words.keys() - {arpa.START, arpa.END, arpa.UNKNOWN}
    pieces = tokenizer.pieces
    self._pieces = pieces if words <= set(pieces) else None
    if self._pieces is None and any('\u2581' in word for word in words):
      missing = sorted(words - set(pieces))[0]
      raise errors.ConfigError(
        f'{path}: of pieces of another tokenizer than {tokenizer.path}, which has no {missing!r}'
      )
    self._surfaces = tokenizer.surfaces
    if self._pieces is None:
      self._CheckSpaces(path, tokenizer)

  @property
  def unit(self) -> str:
    """What the model's words are, `word` or `label`."""
    return 'word' if self._pieces is None else 'label'

  def _CheckSpaces(self, path, tokenizer):
    for label, surface in enumerate(self._surfaces):
      if label != tokenizer.unk_id and _SPACE in surface.lstrip(_SPACE):
        raise errors.ConfigError(
          f'{path}: a model of words, but the piece {tokenizer.pieces[label]!r} of {tokenizer.path} has a space after '
          'letters; expected a model of its pieces'
        )

  def Scorer(self, weight, bonus):
    """Returns the scorer; its tables are constants of the current graph.

    Args:
      weight: float, of the log-probabilities.
      bonus: float, added for each word of the model.
    """
    if self._pieces is None:
      return _Words(self._ngrams, self._surfaces, weight, bonus)
    return _Labels(self._ngrams, self._pieces, weight, bonus)


class _Lookup:
  """The model in the current graph."""

  def __init__(self, ngrams):
    self._size, self._order = len(ngrams.words), ngrams.order
    self._keys, self._scores = tf.constant(ngrams.keys), tf.constant(ngrams.scores)
    self._following = tf.constant(ngrams.following)
    self._backoff, self._shorter = tf.constant(ngrams.backoff), tf.constant(ngrams.shorter)

  def Score(self, contexts, words):
    """Returns (log-probabilities float32 [...] of words int32 [...] in contexts int32 [...], the next contexts)."""
    scores = tf.zeros_like(contexts, tf.float32)
    following = tf.zeros_like(contexts)
    done = tf.zeros_like(contexts, tf.bool)
    for _ in range(self._order):
      keys = tf.cast(contexts, tf.int64) * self._size + tf.cast(words, tf.int64)
      place = _Search(self._keys, keys)
      hit = ~done & tf.equal(tf.gather(self._keys, place), keys)
      scores += tf.where_v2(hit, tf.gather(self._scores, place), 0.0)
      following = tf.where_v2(hit, tf.gather(self._following, place), following)
      done |= hit
      scores += tf.where_v2(done, 0.0, tf.gather(self._backoff, contexts))
      contexts = tf.where_v2(done, contexts, tf.gather(self._shorter, contexts))
    return scores, following


def _Search(sorted_values, values):
  """Returns the place of each value, or any other place if it is not there. int64 [A], [...] -> int32 [...]."""
  flat = tf.searchsorted(sorted_values, tf.reshape(values, [-1]))
  return tf.minimum(tf.reshape(flat, py_utils.GetShape(values)), py_utils.GetShape(sorted_values)[0] - 1)


class _Labels:
  """Scores labels, each a word of the model. See fusion.py."""

  def __init__(self, ngrams, pieces, weight, bonus):
    self._lookup, self._ngrams, self._weight, self._bonus = _Lookup(ngrams), ngrams, weight, bonus
    self._words = tf.constant([ngrams.words.get(p, ngrams.words[arpa.UNKNOWN]) for p in pieces])  # [V]
    self._labels = tf.constant([0.0] + [1.0] * (len(pieces) - 1))

  def ZeroState(self, batch):
    return py_utils.NestedMap(context=tf.fill([batch], self._ngrams.start))

  def Step(self, ids, state):
    _, following = self._lookup.Score(state.context, tf.gather(self._words, ids))
    now = tf.where_v2(ids > 0, following, state.context)  # [M]
    shape = [py_utils.GetShape(now)[0], py_utils.GetShape(self._words)[0]]
    every = tf.broadcast_to(now[:, tf.newaxis], shape)  # [M, V]
    scores, _ = self._lookup.Score(every, tf.broadcast_to(self._words, shape))
    return self._labels * (self._weight * scores + self._bonus), py_utils.NestedMap(context=now)

  def Final(self, state):
    return _End(self._lookup, self._ngrams, state.context, self._weight)


class _Words:
  """Scores words where they end. See fusion.py.

  The state has the hash of the letters of a word that has begun, whether there are any, and the context before it.
  """

  def __init__(self, ngrams, surfaces, weight, bonus):
    self._lookup, self._ngrams, self._weight, self._bonus = _Lookup(ngrams), ngrams, weight, bonus
    known = sorted((_Hash(word.encode()), i) for word, i in ngrams.words.items())
    if len({value for value, _ in known}) < len(known):
      raise errors.ConfigError('two words of the language model have the same hash; expected another spelling of one')
    self._hashes = tf.constant(np.array([value for value, _ in known], np.int64))  # [W]
    self._ids = tf.constant(np.array([i for _, i in known], np.int32))
    letters = [surface.replace(_SPACE, b'') for surface in surfaces]
    self._ends = tf.constant([surface.startswith(_SPACE) for surface in surfaces])  # [V]
    self._has_letters = tf.constant([bool(x) for x in letters])
    # The hash after a label is before * factor + added.
    self._factors = tf.constant(np.array([_Signed(pow(search.HASH_FACTOR, len(x), 2**64)) for x in letters], np.int64))
    self._added = tf.constant(np.array([_Hash(x) for x in letters], np.int64))

  def ZeroState(self, batch):
    return py_utils.NestedMap(
      context=tf.fill([batch], self._ngrams.start),
      hash=tf.zeros([batch], tf.int64),
      is_open=tf.zeros([batch], tf.bool),
    )

  def Step(self, ids, state):
    label = ids > 0
    ends = label & tf.gather(self._ends, ids)  # [M]
    _, following = self._Word(state)
    context = tf.where_v2(ends & state.is_open, following, state.context)
    before = tf.where_v2(ends, tf.zeros_like(state.hash), state.hash)
    now = py_utils.NestedMap(
      context=context,
      hash=tf.where_v2(label, before * tf.gather(self._factors, ids) + tf.gather(self._added, ids), state.hash),
      is_open=(state.is_open & ~ends) | (label & tf.gather(self._has_letters, ids)),
    )
    word, _ = self._Word(now)
    scores = tf.where_v2(now.is_open, self._weight * word + self._bonus, 0.0)  # [M]
    return scores[:, tf.newaxis] * tf.cast(self._ends, tf.float32), now

  def Final(self, state):
    word, following = self._Word(state)
    context = tf.where_v2(state.is_open, following, state.context)
    last = tf.where_v2(state.is_open, self._weight * word + self._bonus, 0.0)
    return last + _End(self._lookup, self._ngrams, context, self._weight)

  def _Word(self, state):
    """Returns (log-probability [M], context [M]) of the word that has begun, as if it ended."""
    place = _Search(self._hashes, state.hash)
    known = tf.equal(tf.gather(self._hashes, place), state.hash)
    words = tf.where_v2(known, tf.gather(self._ids, place), self._ngrams.words[arpa.UNKNOWN])
    return self._lookup.Score(state.context, words)


def _End(lookup, ngrams, contexts, weight):
  """Returns the weighted log-probability of the end, float32 [M]; 0 if the file has none."""
  if arpa.END not in ngrams.words:
    return tf.zeros_like(contexts, tf.float32)
  scores, _ = lookup.Score(contexts, tf.fill(py_utils.GetShape(contexts), ngrams.words[arpa.END]))
  return weight * scores


def _Hash(text):
  """Returns the hash of bytes, an int64; empty: 0."""
  value = 0
  for byte in text:
    value = (value * search.HASH_FACTOR + byte + 1) % 2**64
  return _Signed(value)


def _Signed(value):
  """Returns an int of 64 bits as int64."""
  return value - 2**64 if value >= 2**63 else value
