"""Runs transcriptions: a bounded number at once, each until it is done, its time is up or its client is gone."""

import asyncio
import collections
import concurrent.futures
import contextlib
import dataclasses
import os
import time
from collections.abc import AsyncIterator
from collections.abc import Mapping
from typing import Any

from fm_lingvo import errors
from fm_lingvo.inference import api
from fm_lingvo.inference import shared_batches
from fm_lingvo.inference import transcript as transcript_lib

from . import limits as limits_lib
from . import metrics as metrics_lib
from . import problems
from . import uploads

_RECENT = 32  # Requests whose time tells when to come again.


@dataclasses.dataclass(frozen=True)
class Served:
  """A model, under the name that clients use."""

  name: str
  model: api.Model
  batches: shared_batches.SharedBatches
  created: int  # Unix time of its checkpoint.


class Jobs:
  """The transcriptions of one server."""

  def __init__(self, models: Mapping[str, api.Model], limits: limits_lib.Limits, metrics: metrics_lib.Metrics) -> None:
    """Starts the threads.

    Args:
      models: Name -> model; they are closed by Close.
      limits: The bounds.
      metrics: Is told what happens.
    """
    self._limits = limits
    self._metrics = metrics
    self._threads = concurrent.futures.ThreadPoolExecutor(limits.max_batch, 'transcription')
    self._recent: collections.deque[float] = collections.deque(maxlen=_RECENT)
    self.running = 0  # Requests that upload, wait or are recognised.
    self.is_ending = False
    self.models = {name: self._Served(name, model) for name, model in models.items()}
    self.languages = {name: model.language for name, model in models.items()}  # None: not known.
    metrics.Gauge('fm_serve_requests_running', 'Requests that upload, wait or are recognised.', lambda: self.running)
    metrics.Gauge(
      'fm_serve_windows_waiting',
      'Windows that wait to be recognised.',
      lambda: sum(served.batches.waiting for served in self.models.values()),
    )

  def _Served(self, name: str, model: api.Model) -> Served:
    windows, seconds = self._metrics.batch_windows.labels(name), self._metrics.batch_seconds.labels(name)

    def _Watch(size: int, took: float) -> None:
      windows.observe(size)
      seconds.observe(took)

    batches = shared_batches.SharedBatches(
      model.recognizer, self._limits.max_batch, self._limits.max_wait_ms / 1000, _Watch
    )
    return Served(name, model, batches, _CheckpointTime(model.checkpoint))

  def Close(self) -> None:
    """Cancels what runs and frees the models."""
    self._threads.shutdown(wait=False, cancel_futures=True)
    for served in self.models.values():
      served.batches.Close()
    for served in self.models.values():
      served.model.close()

  @contextlib.asynccontextmanager
  async def Admitted(self) -> AsyncIterator[None]:
    """Context of a request.

    Raises:
      problems.Problem: There are too many (429), or the server ends (503).
    """
    if self.is_ending:
      raise problems.Ending()
    if self.running >= self._limits.max_queue:
      raise problems.Problem(
        429,
        f'{self.running} requests are running, the limit here; try again',
        code='queue_full',
        headers={'Retry-After': str(self._RetrySeconds())},
      )
    self.running += 1
    try:
      yield
    finally:
      self.running -= 1

  async def Transcribe(
    self, name: str, form: uploads.Form, body: uploads.Body, started: float
  ) -> transcript_lib.Transcript:
    """Transcribes the file of a form.

    Args:
      name: Of the model.
      form: Its file is kept until the thread that reads it is done, and then deleted.
      body: The request's, which tells when the client is gone.
      started: When the request came, on the monotonic clock.

    Raises:
      problems.Problem: The file is no recording (400) or too long (413), the time is up (504), or the client is gone.
    """
    served = self.models[name]
    caller = shared_batches.Caller(served.batches)
    job = self._threads.submit(self._Read, served.model.with_recognizer(caller), form)
    job.add_done_callback(lambda _: form.Close())
    work = asyncio.wrap_future(job)
    gone = asyncio.ensure_future(body.WaitUntilGone())
    left = max(0.0, started + self._limits.timeout_seconds - time.monotonic())
    try:
      ends: set[asyncio.Future[Any]] = {work, gone}
      await asyncio.wait(ends, timeout=left, return_when=asyncio.FIRST_COMPLETED)
      if work.done():
        found = await work
      elif gone.done():
        raise problems.Gone()
      else:
        raise problems.Problem(504, f'not done within {self._limits.timeout_seconds:g} s', code='timeout')
    except shared_batches.Cancelled as e:
      raise problems.Ending() from e
    finally:
      gone.cancel()
      if not work.done():
        work.add_done_callback(lambda done: done.cancelled() or done.exception())  # Nobody waits for it any more.
        caller.Cancel()
        job.cancel()
    if isinstance(found, errors.AudioError):
      raise _AudioProblem(found)
    self._recent.append(time.monotonic() - started)
    self._metrics.audio_seconds.labels(name, 'file').inc(found.duration)
    self._metrics.request_seconds.labels(name).observe(self._recent[-1])
    return found

  def _Read(self, model: api.Model, form: uploads.Form) -> transcript_lib.Transcript | errors.AudioError:
    """Decodes and transcribes, in a thread."""
    assert form.file is not None
    return model.transcribe(form.file.name, max_hours=self._limits.max_audio_seconds / 3600, on_error='return')

  def _RetrySeconds(self) -> int:
    """Returns the seconds after which a place should be free: the time of a request, as it was of late."""
    return max(1, round(sum(self._recent) / len(self._recent))) if self._recent else 1


def _AudioProblem(error: errors.AudioError) -> problems.Problem:
  status = 413 if error.reason == 'too_long' else 400
  detail = f': {error.detail}' if error.detail else ''
  return problems.Problem(status, f'file: {error.reason}{detail}', param='file', code=error.reason)


def _CheckpointTime(checkpoint: str) -> int:
  """Returns when weights were written: the prefix of a checkpoint, or a safetensors file; 0 where that is not known."""
  for path in (f'{checkpoint}.index', checkpoint):
    with contextlib.suppress(OSError):
      return int(os.path.getmtime(path))
  return 0
