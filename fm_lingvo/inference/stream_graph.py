"""A step of streaming recognition as one call: samples and a state -> what the hypotheses add, and the next state.

C: encoded frames of a step, T: log-mel frames of a step, W: samples of a step's window, K: hypotheses, L: labels that a
hypothesis may get in a step.
"""

import dataclasses
import threading
from collections.abc import Callable

import numpy as np
from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.decoding import existence
from fm_lingvo.inference import session_graph
from fm_lingvo.inference import transcript
from fm_lingvo.utils import audio

State = list[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Found:
  """What a step adds to the hypotheses, see fm_lingvo/decoding/streaming.py; without the dimension of utterances."""

  ancestors: np.ndarray  # int32 [K]
  labels: np.ndarray  # int32 [K, L]
  frames: np.ndarray  # int32 [K, L]
  label_scores: np.ndarray  # float32 [K, L]
  counts: np.ndarray  # int32 [K]
  exists: np.ndarray  # bool [K]
  scores: np.ndarray  # float32 [K]
  final: np.ndarray  # float32 [K]
  score: float


def WhyNot(task, head_name: str) -> str:
  """Returns why a HydraTask cannot stream with this head, '' if it can."""
  head = task.Head(head_name)
  if not head.Streams():
    return f'{head_name}: {type(head).__name__} does not decode streams'
  try:
    with tf.Graph().as_default():
      task.encoder.zero_state(1)
      task.frontend.CheckStreams()
  except errors.ConfigError as e:
    return str(e)
  return ''


class Engine:
  """Runs steps, which all have the same shapes, with the weights of a task's graph; threads may share it."""

  def __init__(
    self,
    task,
    head_name: str,
    beam_size: int | None,
    step_frames: int,
    text: Callable[[list[int], list[int]], tuple[str, tuple[transcript.Word, ...]]],
    best: Callable[[list[tuple[list[int], list[int], list[float], float]]], transcript.Hypothesis],
  ):
    """Adds the operations of a step to the current graph, which is the task's.

    Args:
      task: A HydraTask that can stream, see WhyNot.
      head_name: Name of the head that decodes.
      beam_size: Hypotheses K; None: the head's.
      step_frames: Encoded frames C.
      text: Function: labels and their encoded frames -> the text and its words.
      best: Function: hypotheses (labels, their frames, their scores, score), best first -> the first one, with the
        probabilities of its words.

    Raises:
      errors.ConfigError: The head has no beam of this size.
    """
    encoder, head, frontend, theta = task.encoder, task.Head(head_name), task.frontend, task.theta
    self.Text, self.Best = text, best
    self.step_frames = step_frames
    self._frame_samples, self._overlap = task.encoded_frame_samples, frontend.overlap_samples
    samples = tf.placeholder(tf.int16, [1, self.window_samples])
    lengths = tf.placeholder(tf.int32, [1])
    zero = py_utils.NestedMap(encoder=encoder.zero_state(1), head=head.StreamState(theta[head_name], 1, beam_size))
    state = zero.Transform(lambda t: tf.placeholder(t.dtype, t.shape))
    features = frontend.StreamStep(theta.frontend, tf.cast(samples, tf.float32) / 32768.0)  # [1, T, F]
    frames = py_utils.GetShape(features)[1]
    paddings = 1.0 - tf.sequence_mask(lengths * encoder.downsample_factor, frames, tf.float32)
    features = head.Corrupt(theta[head_name], features * (1.0 - paddings[..., tf.newaxis]), paddings).features
    after = py_utils.NestedMap()
    encoded, _, after.encoder = encoder.StreamStep(theta.encoder, features, paddings, state.encoder)
    found, after.head = head.StreamDecode(theta[head_name], encoded, lengths, state.head)
    assert zero.IsCompatible(after), 'a step must keep the structure of the state'
    self._inputs = [samples, lengths, *state.Flatten()]
    self._names = [field.name for field in dataclasses.fields(Found)]
    self._outputs = [*(found[name][0] for name in self._names), *after.Flatten()]
    self._zero = zero.Flatten()
    paths = [path for path, _ in zero.FlattenItems()]
    self._scores = paths.index('head.scores') if 'head.scores' in paths else None
    self._open = threading.Condition()
    self._running = 0
    self._run: Callable | None = None

  def Start(self, sess) -> None:
    """Uses a session of the graph, and runs a step for TensorFlow to optimise the graph."""
    self._zero = sess.run(self._zero)
    self._run = sess.make_callable(self._outputs, feed_list=self._inputs)
    self._run(np.zeros([1, self.window_samples], np.int16), np.zeros([1], np.int32), *self._zero)

  def Close(self) -> None:
    """Waits for the steps that run; later ones are refused."""
    with self._open:
      self._run = None
      self._open.wait_for(lambda: not self._running)

  @property
  def frame_seconds(self) -> float:
    """Seconds of an encoded frame."""
    return self._frame_samples / audio.SAMPLE_RATE

  @property
  def step_samples(self) -> int:
    """Samples of C encoded frames: a step's window begins so many samples after the one before."""
    return self.step_frames * self._frame_samples

  @property
  def window_samples(self) -> int:
    """Samples W that a step needs: the last log-mel windows reach beyond the last encoded frame."""
    return self.step_samples + self._overlap

  def ZeroState(self) -> State:
    """Returns the state before the first frame."""
    return self._zero

  def FramesOf(self, num_samples: int) -> int:
    """Returns the encoded frames that are complete in so many samples: all their log-mel windows end inside."""
    return max(0, num_samples - self._overlap) // self._frame_samples

  def Step(self, samples: np.ndarray, frames: int, state: State) -> tuple[Found, State]:
    """Recognises the next encoded frames.

    Args:
      samples: int16 [W], from the first frame on.
      frames: Number of encoded frames to recognise, 1 to C.
      state: State from the step before or from ZeroState.

    Returns:
      (what the step adds, the new state).

    Raises:
      errors.ConfigError: The model is closed.
    """
    with self._open:
      run = self._run
      if run is None:
        raise errors.ConfigError(session_graph.CLOSED)
      self._running += 1
    try:
      values = run(samples[np.newaxis], np.array([frames], np.int32), *state)
    finally:
      with self._open:
        self._running -= 1
        self._open.notify_all()
    found = Found(**dict(zip(self._names, values)))
    return found, list(values[len(self._names) :])

  def Keep(self, state: State, kept: list[int]) -> State:
    """Returns the state without the hypotheses other than `kept`."""
    if self._scores is None:
      return state
    scores = np.full_like(state[self._scores], existence.NEVER)
    scores[:, kept] = state[self._scores][:, kept]
    return [*state[: self._scores], scores, *state[self._scores + 1 :]]
