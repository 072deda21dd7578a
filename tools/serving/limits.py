"""Bounds on what clients can make the server do, and the flags that set them."""

import argparse
import dataclasses
import math

from fm_lingvo import errors


@dataclasses.dataclass(frozen=True)
class Limits:
  """Bounds; a request beyond one is refused with the status code in brackets."""

  max_upload_mb: float = 100.0  # Body of a request, in 1e6 bytes (413).
  max_audio_seconds: float = 1800.0  # Of a recording (413), and of a stream.
  max_queue: int = 64  # Requests that upload, wait or are recognised (429).
  max_streams: int = 8  # Open streams (close code 1013).
  timeout_seconds: float = 300.0  # From a request's start to its answer (408 while uploading, else 504).
  idle_seconds: float = 60.0  # Between two messages of a stream (close code 1008).
  max_batch: int = 16  # Windows that are recognised together; also threads that decode.
  max_wait_ms: float = 10.0  # That a window waits for others.
  grace_seconds: float = 30.0  # That requests have to finish after SIGTERM.

  def __post_init__(self) -> None:
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      least = 0 if field.name in ('max_wait_ms', 'max_streams') else 1 if field.type in (int, 'int') else 1e-3
      if not least <= value < math.inf:
        raise errors.ConfigError(f'--{field.name}={value:g}: expected >= {least:g} and finite')

  @property
  def max_upload_bytes(self) -> int:
    return int(self.max_upload_mb * 1e6)


_HELP = {
  'max_upload_mb': 'largest request in MB',
  'max_audio_seconds': 'longest recording, and longest stream',
  'max_queue': 'requests that may upload, wait or run at once; more get 429',
  'max_streams': 'streams that may be open at once; 0: none',
  'timeout_seconds': "longest time from a request's start to its answer",
  'idle_seconds': 'longest time between two messages of a stream',
  'max_batch': 'windows that are recognised together at most',
  'max_wait_ms': 'longest time that a window waits for others to form a batch',
  'grace_seconds': 'time that running requests have after SIGTERM',
}


def AddFlags(parser: argparse.ArgumentParser) -> None:
  """Adds a flag for each limit."""
  for field in dataclasses.fields(Limits):
    kind = int if isinstance(field.default, int) else float
    parser.add_argument(
      f'--{field.name}', type=kind, default=field.default, help=f'{_HELP[field.name]} (default: {field.default:g})'
    )


def FromArgs(args: argparse.Namespace) -> Limits:
  """Returns the limits of parsed flags.

  Raises ConfigError if one is out of range.
  """
  return Limits(**{field.name: getattr(args, field.name) for field in dataclasses.fields(Limits)})
