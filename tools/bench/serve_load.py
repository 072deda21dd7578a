"""Measures the server: starts tools.serve on a run, loads it with clients, and says what became of each request.

  python -m tools.bench.serve_load RUN my_audio --clients=1,8,32 --requests=200
  python -m tools.bench.serve_load RUN my_audio --add=serving --label='tiny model'

Each client sends one request after the other, with the recordings in turn. With --every=N, one request in N is too
large, one stops in the middle of its upload, and one does not wait for its answer. Prints requests and seconds of audio
per second, the latency's percentiles, the server's most memory, and the counts: sent = answered + refused + gone.
--add writes the figures to docs/results/NAME.json. Exit code 0: nothing was lost; 1: a request failed or was lost; 2:
wrong usage, or a server that does not start.
"""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading

import psutil

from fm_lingvo import errors
from fm_lingvo.utils import files as file_system

from ..common import command_line
from ..common import exit_codes
from ..common import flag_types
from ..common import recordings as recordings_lib
from ..figures import kept_figures

_SAMPLE_SECONDS = 0.2


class _Server:
  """tools.serve as a process; a context."""

  def __init__(self, run, flags):
    # -m NAME in the package above, whose name differs in the wheel.
    module = f'{__package__.rpartition(".")[0]}.serve'
    self._process = subprocess.Popen(
      [sys.executable, '-m', module, run, '--port=0', *flags], stdout=subprocess.PIPE, text=True
    )
    ready = re.fullmatch(r'serve: ready, (http://\S+)\n', self._process.stdout.readline())
    if not ready:
      raise errors.ConfigError(f'{run}: the server did not start, exit code {self._process.wait()}')
    self.url = ready.group(1)
    self.most_bytes = 0
    self._status = psutil.Process(self._process.pid)
    self._is_over = threading.Event()
    self._watch = threading.Thread(target=self._Watch)
    self._watch.start()

  def _Watch(self):
    with contextlib.suppress(psutil.NoSuchProcess):  # The server has ended: the requests tell.
      while not self._is_over.wait(_SAMPLE_SECONDS):
        self.most_bytes = max(self.most_bytes, self._status.memory_info().rss)

  def CpuSeconds(self):
    """Processor time of the server so far, which other work on the machine changes less than wall clock."""
    return sum(self._status.cpu_times()[:2])

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self._is_over.set()
    self._watch.join()
    self._process.send_signal(signal.SIGTERM)
    self._process.wait()


def _Run(args):
  """Measures; returns the exit code."""
  try:
    import httpx

    from . import load_clients
  except ModuleNotFoundError as e:
    if e.name != 'httpx':
      raise
    raise errors.ConfigError('no module httpx: expected the packages of requirements/dev.txt') from e
  if args.requests < 1:
    raise errors.ConfigError(f'--requests={args.requests}: expected >= 1')
  kept_figures.Start('bench.serve_load', args)
  paths, missing = recordings_lib.Find(args.audio, print)
  if missing or not paths:
    raise errors.ConfigError(f'{(missing or [("AUDIO", "no recordings")])[0][0]}: expected recordings')
  sounds = []
  for path, _ in paths:
    with open(path, 'rb') as f:
      sounds.append((os.path.basename(path), f.read()))
  with _Server(args.run, args.server_flags.split()) as server:
    try:
      # TensorFlow optimises the graph for the first ones.
      asyncio.run(load_clients.Load(server.url, sounds, 1, len(sounds)))
      are_lost = [_Measure(args, server, sounds, clients) for clients in args.clients]
    except (httpx.HTTPError, psutil.NoSuchProcess) as e:
      raise errors.RunError(f'{args.run}: the server does not answer any more ({errors.Reason(e)})') from e
  return 1 if any(are_lost) else 0


def _Measure(args, server, sounds, clients):
  """Loads the server with some clients and keeps the figures; returns whether a request was lost or failed."""
  from . import load_clients

  before = load_clients.Statuses(server.url)
  server.most_bytes, cpu_before = 0, server.CpuSeconds()
  counts = asyncio.run(load_clients.Load(server.url, sounds, clients, args.requests, args.every, args.large_bytes))
  statuses = load_clients.Statuses(server.url) - before
  part = f'{clients} client{"s" if clients > 1 else ""}'
  cpu_seconds = server.CpuSeconds() - cpu_before
  kept_figures.Keep(args, _Report(clients, counts, statuses, server.most_bytes, cpu_seconds), part)
  return bool(counts.lost or counts.failed)


def _Report(clients, counts, statuses, most_bytes, cpu_seconds):
  """Prints a load; returns its figures."""
  refused = ', '.join(f'{count} with {status}' for status, count in sorted(counts.refused.items())) or '0'
  print(
    f'{clients} clients: {counts.sent} sent = {counts.answered} answered + {refused} refused + {counts.gone} gone + '
    f'{len(counts.failed)} failed + {counts.lost} lost; the server counted {dict(sorted(statuses.items()))}'
  )
  for failure in counts.failed[:3]:
    print(f'  failed: {failure}')
  different = sum(len(texts) > 1 for texts in counts.texts.values())
  print(f'  {len(counts.texts)} recordings, {different} with more than one transcript')
  figures = [
    ('requests answered', counts.answered / counts.wall_seconds, 'per s'),
    ('audio transcribed', counts.audio_seconds / counts.wall_seconds, 's per s'),
    ('processor time of the server', cpu_seconds / max(counts.audio_seconds, 1e-9), 's per s of audio'),
    ('latency, median', counts.Percentile(50), 's'),
    ('latency, 95th percentile', counts.Percentile(95), 's'),
    ('latency, 99th percentile', counts.Percentile(99), 's'),
    ('most memory of the server', most_bytes / 1e9, 'GB'),
  ]
  for name, value, unit in figures:
    print(f'  {name}: {value:.4g} {unit}')
  return figures


def Main(argv: list[str] | None = None) -> int:
  """Runs the tool; returns the exit code."""
  parser = command_line.Parser('serve_load', __doc__)
  parser.add_argument('run', metavar='RUN', type=file_system.ExpandUser, help='folder of a run')
  parser.add_argument('audio', nargs='+', metavar='AUDIO', type=file_system.ExpandUser, help='file or folder')
  parser.add_argument(
    '--clients',
    type=flag_types.Numbers(int),
    default=[1, 8],
    metavar='N,N,...',
    help='clients at once, one load each (default: 1,8)',
  )
  parser.add_argument('--requests', type=int, default=100, help='requests of each load (default: 100)')
  parser.add_argument(
    '--every',
    type=int,
    default=0,
    metavar='N',
    help='of N requests one is too large, one breaks off, one does not wait; 0: none',
  )
  parser.add_argument('--large_bytes', type=int, default=2 * 10**8, help='size of those that are too large')
  parser.add_argument('--server_flags', default='', help='flags of tools.serve, in quotes')
  kept_figures.AddFlags(parser)
  args = parser.parse_args((argv or sys.argv)[1:])
  args.given = (argv or sys.argv)[1:]
  return exit_codes.Report('serve_load', lambda: _Run(args))


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
