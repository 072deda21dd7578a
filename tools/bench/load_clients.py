"""Clients that load a server: how many requests of which kind were sent, what became of each, and how long it took.

Most clients wait for their answer. Some send more than the server takes, some stop in the middle of the upload, and
some do not wait for the answer. Every request has one end, which the server has to have counted, too:

  sent = answered + refused + gone + failed, and failed = 0
"""

import asyncio
import collections
import dataclasses
import itertools
import re
import time
from collections.abc import AsyncIterator
from collections.abc import Iterator
from collections.abc import Sequence

import httpx

PATH = '/v1/audio/transcriptions'
WHOLE, LARGE, HALF, IMPATIENT = 'whole', 'too large', 'stops in the middle', 'does not wait'
_PATIENCE_SECONDS = 0.02  # Of a client that does not wait.
_BOUNDARY = 'load'


class _Stop(Exception):
  """The client stops sending."""


@dataclasses.dataclass
class Counts:
  """What became of the requests of one load."""

  sent: int = 0
  answered: int = 0
  refused: collections.Counter[int] = dataclasses.field(default_factory=collections.Counter)  # By status.
  gone: int = 0
  failed: list[str] = dataclasses.field(default_factory=list)  # What else happened.
  seconds: list[float] = dataclasses.field(default_factory=list)  # To each answer.
  audio_seconds: float = 0.0  # Of the recordings that were answered.
  wall_seconds: float = 0.0
  texts: dict[str, set[str]] = dataclasses.field(default_factory=dict)  # Recording -> its transcripts.

  @property
  def lost(self) -> int:
    """Requests without an end: 0."""
    return self.sent - self.answered - self.refused.total() - self.gone - len(self.failed)

  def Percentile(self, percent: float) -> float:
    """Seconds within which so many percent of the answers came."""
    ordered = sorted(self.seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


def Kinds(every: int) -> Iterator[str]:
  """Yields the kinds of requests: of each kind but the first, one in `every`; 0: of the first alone."""
  for i in itertools.count(1):
    yield {0: LARGE, 1: HALF, 2: IMPATIENT}.get(i % every, WHOLE) if every else WHOLE


async def Load(
  url: str,
  recordings: Sequence[tuple[str, bytes]],
  clients: int,
  requests: int,
  every: int = 0,
  large_bytes: int = 0,
  model: str = '',
  token: str = '',
) -> Counts:
  """Loads a server.

  Args:
    url: Of the server.
    recordings: (name, content) of each, sent in turn.
    clients: How many send at the same time, each one request after the other.
    requests: How many they send together.
    every: See Kinds.
    large_bytes: Size of the requests that are too large.
    model: The one to ask for; '': the only one.
    token: The server's, if it needs one.

  Returns:
    Counts.
  """
  counts, kinds, turns = Counts(), Kinds(every), itertools.cycle(recordings)
  form = {'response_format': 'verbose_json', **({'model': model} if model else {})}
  started = time.monotonic()

  async def _Client() -> None:
    headers = {'Authorization': f'Bearer {token}'} if token else {}
    async with httpx.AsyncClient(base_url=url, timeout=600, headers=headers) as client:
      while counts.sent < requests:
        await _Request(client, counts, form, next(kinds), *next(turns), large_bytes)

  await asyncio.gather(*(_Client() for _ in range(clients)))
  counts.wall_seconds = time.monotonic() - started
  return counts


async def _Request(
  client: httpx.AsyncClient,
  counts: Counts,
  form: dict[str, str],
  kind: str,
  name: str,
  content: bytes,
  large_bytes: int,
) -> None:
  """Sends one request, and counts its end."""
  counts.sent += 1
  started = time.monotonic()
  headers = {'Content-Type': f'multipart/form-data; boundary={_BOUNDARY}'}
  try:
    if kind == HALF:
      ask = client.post(PATH, content=_Half(content), headers=headers)
    else:
      sound = bytes(large_bytes) if kind == LARGE else content
      ask = client.post(PATH, data=form, files={'file': (name, sound)})
    answer = await asyncio.wait_for(ask, _PATIENCE_SECONDS if kind == IMPATIENT else None)
  except (_Stop, asyncio.TimeoutError):
    counts.gone += 1
  except httpx.HTTPError as e:
    counts.failed.append(f'{kind}: {type(e).__name__}: {e}')
  else:
    if answer.status_code == 200:
      row = answer.json()
      counts.answered += 1
      counts.seconds.append(time.monotonic() - started)
      counts.audio_seconds += row['duration']
      counts.texts.setdefault(name, set()).add(row['text'])
    elif answer.status_code in (413, 429):
      counts.refused[answer.status_code] += 1
      if answer.status_code == 429:
        await asyncio.sleep(min(1.0, float(answer.headers['Retry-After'])))
    else:
      counts.failed.append(f'{kind}: {answer.status_code}: {answer.text[:200]}')


async def _Half(content: bytes) -> AsyncIterator[bytes]:
  """Yields the first half of a form, and stops."""
  yield f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'.encode()
  yield content[: len(content) // 2]
  await asyncio.sleep(0)
  raise _Stop


def Metric(url: str, name: str, token: str = '') -> dict[str, float]:
  """Reads a metric of a server: labels -> value."""
  headers = {'Authorization': f'Bearer {token}'} if token else {}
  text = httpx.get(f'{url}/metrics', headers=headers).text
  return {labels: float(value) for labels, value in re.findall(rf'(?m)^{name}(?:\{{(.*)\}})? (\S+)$', text)}


def Statuses(url: str, token: str = '') -> collections.Counter[int]:
  """Returns status -> how many transcriptions a server has ended with it."""
  found: collections.Counter[int] = collections.Counter()
  for labels, value in Metric(url, 'fm_serve_requests_total', token).items():
    path, status = re.findall(r'="([^"]*)"', labels)
    if path == PATH:
      found[int(status)] += int(value)
  return found
