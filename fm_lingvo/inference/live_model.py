"""Streaming recognition with a loaded model, see api.Model; does not import TensorFlow."""

import threading
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

from fm_lingvo.inference import api_arguments
from fm_lingvo.inference import stream_events
from fm_lingvo.inference import streaming
from fm_lingvo.runtime import quiet

# Gin's configuration, Lingvo's flags and the level of its log belong to the process.
LOADING = threading.RLock()


class LiveModel:
  """Base of api.Model: streams."""

  _run: Any  # A run.Run.
  _recognizer: Any  # A recognizer.Recognizer.

  @property
  def can_stream(self) -> bool:
    """Whether the model can do streaming recognition; if not, the error of stream() says why."""
    return not self._recognizer.WhyNoStream()

  def stream(
    self,
    *,
    beam_size: int | None = None,
    step_seconds: float = streaming.STEP_SECONDS,
    endpoint_seconds: float | None = streaming.ENDPOINT_SECONDS,
    reset: bool = False,
  ) -> streaming.Stream:
    """Starts streaming recognition: audio is recognised while it arrives, such as that of a microphone.

    The first stream with a beam size and a step builds their graph, which takes seconds; the weights are shared. Any
    number of streams may run at once, in as many threads.

    The final words do not depend on the sizes of the chunks in which the samples arrive. Without finals in between
    (endpoint_seconds = None) they are those that transcribe finds in a window: the same labels and words, a score
    within 1e-3. With finals, a pause of endpoint_seconds also ends a word, and a beam keeps only hypotheses that begin
    with the final text. The limit of labels of an utterance (max_labels_per_frame) does not apply, since its length is
    not known.

    Args:
      beam_size: Hypotheses kept, >= 1; None: the model's.
      step_seconds: Seconds of speech that are recognised at once, at most 60, rounded to whole encoded frames, or to
        whole chunks of the attention: less gives text sooner, more costs less.
      endpoint_seconds: A pause of at least so many seconds ends a Final; None: only the end of the stream does.
      reset: Whether encoder and decoder return to their initial states after a Final, as at the start of a recording:
        for hours of speech with a model that was trained on short utterances.

    Returns:
      A streaming.Stream: accept(samples, sampling_rate) gives a list of events, stream_events.Partial and Final, and
      finish() the last ones; transcript() is what is final so far.

    Raises:
      errors.ConfigError: The model is not causal or is closed, or an option is out of range.
    """
    api_arguments.CheckStream(beam_size, step_seconds, endpoint_seconds, reset)
    engine = self._recognizer.StreamEngine(beam_size, step_seconds, build=False)
    if engine is None:
      from fm_lingvo.inference import graph_mode

      with LOADING, quiet.RootLogger(), graph_mode.GraphMode():
        engine = self._recognizer.StreamEngine(beam_size, step_seconds, build=True)
    return streaming.Stream(engine, endpoint_seconds, reset, self._run.language)

  def transcribe_stream(
    self, chunks: Iterable[Any], sampling_rate: int | None = None, **options: Any
  ) -> Iterator[stream_events.Event]:
    """Recognises the chunks of an iterable while it yields them.

    Args:
      chunks: Chunks as Stream.accept takes them, or tuples (samples, sampling_rate).
      sampling_rate: Hz, of chunks without one.
      **options: Those of stream.

    Returns:
      An iterator of stream_events.Partial and Final, which reads the next chunk when it is asked for more.

    Raises:
      errors.ConfigError, errors.AudioError: See stream and Stream.accept.
    """
    return streaming.Events(self.stream(**options), chunks, sampling_rate)
