"""Hotwords: phrases whose occurrences in a transcript add to its score.

B: utterances, V: vocabulary with blank (id 0), M: hypotheses of all utterances, S: states.

Each occurrence of a phrase as whole words adds its boost. So that the beam keeps the beginning of a phrase, a share of
the boost is added with each of its labels, and subtracted again if the transcript continues otherwise or ends. The
automaton (Aho and Corasick, 1975) reads the bytes that labels spell, with a space before and after the transcript: it
does not matter into which labels a tokenizer splits a phrase.
"""

import collections
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo import errors

_MOST_ENTRIES = 100_000_000  # Of a table [S, V].
_SPACE = ord(' ')


class Hotwords:
  """The phrases of one tokenizer, compiled; Scorer() is one of fusion.py."""

  def __init__(self, phrases: Sequence[str | tuple[str, float]], default_boost: float, tokenizer) -> None:
    """Compiles phrases.

    Args:
      phrases: Phrases as transcripts spell them, or pairs (phrase, boost in nats, below 0 against it).
      default_boost: Boost of phrases without one.
      tokenizer: The tokenizer.Tokenizer of the labels.

    Raises:
      errors.ConfigError: A boost is not a finite number, a phrase is empty, given twice, or has characters that the
        tokenizer cannot spell, or there are too many of them.
    """
    boosts: dict[bytes, float] = {}
    for phrase in phrases:
      text, boost = (phrase, default_boost) if isinstance(phrase, str) else _Pair(phrase)
      spelled = _Spelled(text, tokenizer)
      if not math.isfinite(boost):
        raise errors.ConfigError(f'hotword {text!r}: boost = {boost}: expected a finite number')
      if spelled in boosts:
        raise errors.ConfigError(f'hotword {text!r}: appears twice; expected one boost per phrase')
      boosts[spelled] = float(boost)
    states = 1 + sum(map(len, boosts))  # At most.
    if states * tokenizer.vocab_size > _MOST_ENTRIES:
      raise errors.ConfigError(
        f'{len(boosts)} hotwords of {states} bytes, with {tokenizer.vocab_size} labels: expected at most '
        f'{_MOST_ENTRIES // tokenizer.vocab_size} bytes'
      )
    self._table = _Compile(boosts, tokenizer.surfaces)

  def Scorer(self) -> '_Scorer':
    """Returns the scorer; its tables are constants of the current graph."""
    return _Scorer(*self._table)


class _Scorer:
  """See fusion.py."""

  def __init__(self, following: np.ndarray, added: np.ndarray, final: np.ndarray, start: int) -> None:
    """Constructor.

    Args:
      following: int32 [S, V], the state after a label.
      added: float32 [S, V], what that label adds.
      final: float32 [S], what the end of an utterance adds.
      start: The first state.
    """
    self._vocab_size, self._start = following.shape[1], start
    self._following = tf.constant(following.reshape(-1))  # [S * V]
    self._added, self._final = tf.constant(added), tf.constant(final)

  def ZeroState(self, batch):
    return py_utils.NestedMap(state=tf.fill([batch], self._start))

  def Step(self, ids, state):
    now = tf.gather(self._following, state.state * self._vocab_size + ids)  # [M]
    return tf.gather(self._added, now), py_utils.NestedMap(state=now)

  def Final(self, state):
    return tf.gather(self._final, state.state)


def _Pair(entry: Any) -> tuple[str, float]:
  """Returns a pair (phrase, boost)."""
  is_pair = isinstance(entry, list | tuple) and len(entry) == 2 and isinstance(entry[0], str)
  if not is_pair or isinstance(entry[1], bool) or not isinstance(entry[1], int | float):
    raise errors.ConfigError(f'hotword {entry!r}: expected a phrase, or a pair (phrase, boost in nats)')
  return entry[0], entry[1]


def _Spelled(text: str, tokenizer) -> bytes:
  """Returns a phrase's bytes, with a space before and after it."""
  words = text.split()
  if not words:
    raise errors.ConfigError(f'hotword {text!r}: expected a word or more')
  phrase = ' '.join(words)
  labels = tokenizer.EncodeText(phrase)
  if tokenizer.unk_id in labels:
    unknown = ''.join(dict.fromkeys(c for c in phrase if tokenizer.unk_id in tokenizer.EncodeText(c)))
    raise errors.ConfigError(
      f'hotword {text!r}: the tokenizer has no {unknown!r}; expected the spelling of the transcripts that the run was '
      'trained on'
    )
  # As the tokenizer's own normalisation spells it, which may fold case or compatibility characters.
  return f' {tokenizer.DecodeIds(labels)} '.encode()


def _Compile(boosts: dict[bytes, float], surfaces: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
  """Returns (following [S, V], added [S, V], final [S], start) of _Scorer."""
  children: list[dict[int, int]] = [{}]
  credit = [0.0]  # Of each state: the share of the boost for the beginning of a phrase.
  complete = [0.0]  # Boosts of the phrases that end here, those of the state's suffixes included.
  spaced = [False]  # Whether its last byte is a space.
  for phrase, boost in boosts.items():
    state = 0
    for depth, byte in enumerate(phrase, 1):
      if byte not in children[state]:
        children[state][byte] = len(children)
        children.append({})
        credit.append(0.0)
        complete.append(0.0)
        spaced.append(byte == _SPACE)
      state = children[state][byte]
      if 1 < depth < len(phrase):  # All phrases have the first space, and a whole one is complete.
        credit[state] = max(credit[state], boost * (depth - 1) / (len(phrase) - 1))
    complete[state] += boost
  count = len(children)
  fallback = [0] * count
  order: collections.deque[int] = collections.deque([0])
  moves: list[dict[int, int]] = [{} for _ in children]  # Of each state: byte -> state; other bytes lead to state 0.
  while order:
    state = order.popleft()
    if state:
      moves[state] = dict(moves[fallback[state]])
      complete[state] += complete[fallback[state]]
    for byte, child in children[state].items():
      fallback[child] = moves[state].get(byte, 0)
      moves[state][byte] = child
      order.append(child)
  after = {byte: np.zeros([count], np.int32) for byte in {_SPACE, *b''.join(surfaces)}}  # Byte -> [S].
  for state, of_state in enumerate(moves):
    for byte, target in of_state.items():
      if byte in after:
        after[byte][state] = target
  # Several spaces are one.
  after[_SPACE] = np.where(spaced, np.arange(count), after[_SPACE]).astype(np.int32)
  credits, completed = np.array(credit), np.array(complete)

  def Move(text: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Returns the state [S] after some bytes from each state, and the score [S] that they add."""
    now, gained = np.arange(count), -credits
    for byte in text:
      before, now = now, after[byte][now]
      gained = gained + np.where(now != before, completed[now], 0.0)
    return now, gained + credits[now]

  found = [Move(surface) for surface in surfaces]
  end, final = Move(b' ')
  return (
    np.stack([now for now, _ in found], axis=1).astype(np.int32),
    np.stack([gained for _, gained in found], axis=1).astype(np.float32),
    (final - credits[end]).astype(np.float32),
    children[0].get(_SPACE, 0),
  )
