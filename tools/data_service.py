"""Processes of a tf.data service, which read, batch and augment training speech for trainers.

  python -m tools.data_service dispatcher --port=5050
  python -m tools.data_service worker --dispatcher=HOST:5050
  trainer --model=... --tf_data_service_address=HOST:5050

One dispatcher, any number of workers, also on other hosts: they need this environment and see the data under the
trainer's paths, relative ones from where they are started. Trainers reach a worker by the name that its host has for
itself, or by --host; one whose --dispatcher is localhost, at localhost. Workers may come and go.
fm_lingvo/data/data_service.py says which guarantees the data has then. A process ends on Ctrl-C and SIGTERM, with exit
code 130 and 143; 2 is wrong usage.
"""

import argparse
import contextlib
import os
import signal
import socket
import sys

from fm_lingvo import errors
from fm_lingvo.runtime import quiet

from .common import interrupts

with quiet.Imports():
  from fm_lingvo.data import data_service


def StartDispatcher(args):
  """Starts a dispatcher; returns (server, address).

  Raises:
    errors.ConfigError: no such port, or it cannot be served.
  """
  _CheckPort(args)
  service = _Service()
  with _Serving(f'--port={args.port}' + (f' --work_dir={args.work_dir}' if args.work_dir else '')):
    server = service.DispatchServer(
      service.DispatcherConfig(port=args.port, work_dir=args.work_dir or None, fault_tolerant_mode=bool(args.work_dir))
    )
  return server, server.target.partition('://')[2]


def StartWorker(args):
  """Starts a worker; returns (server, address).

  Raises:
    errors.ConfigError: nothing listens at --dispatcher, no such port, or it cannot be served.
  """
  _CheckPort(args)
  data_service.CheckAddress('dispatcher', args.dispatcher, args.wait_seconds)
  service = _Service()
  is_local = args.dispatcher.rpartition(':')[0].strip('[]') in ('localhost', '127.0.0.1', '::1')
  host = args.host or ('localhost' if is_local else socket.gethostname())
  with _Serving(f'--port={args.port}'):
    server = service.WorkerServer(
      service.WorkerConfig(dispatcher_address=args.dispatcher, worker_address=f'{host}:%port%', port=args.port)
    )
  return server, host


def _CheckPort(args):
  if not 0 <= args.port < 2**16:
    raise errors.ConfigError(f'--port={args.port}: expected a port in [0, {2**16 - 1}]')


@contextlib.contextmanager
def _Serving(flags):
  """Turns what TensorFlow says of a server that does not start into a ConfigError."""
  try:
    yield
  except Exception as e:  # Of several kinds, some of them plain.
    raise errors.ConfigError(f'{flags}: cannot be served ({errors.Reason(e)})') from e


def _Service():
  """tf.data.experimental.service."""
  import tensorflow as tf  # Heavy: --help need not wait.

  return tf.data.experimental.service


def _Parser():
  parser = argparse.ArgumentParser(
    prog='data_service', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  jobs = parser.add_subparsers(required=True, metavar='dispatcher|worker')
  dispatcher = jobs.add_parser('dispatcher', help='knows the workers, deals out the files')
  dispatcher.set_defaults(start=StartDispatcher)
  dispatcher.add_argument('--port', type=int, default=5050, help='to listen on, 0: any (default: 5050)')
  dispatcher.add_argument('--work_dir', default='', help='folder of its journal: started again there, it goes on')
  worker = jobs.add_parser('worker', help='makes batches')
  worker.set_defaults(start=StartWorker)
  worker.add_argument('--dispatcher', required=True, metavar='HOST:PORT')
  worker.add_argument('--port', type=int, default=0, help='to listen on, 0: any (default: 0)')
  worker.add_argument('--wait_seconds', type=float, default=0.0, help='for the dispatcher to start (default: 0)')
  worker.add_argument(
    '--host',
    default='',
    help='name of this host for the trainers (default: its own; localhost beside a dispatcher there)',
  )
  return parser


def Main(argv: list[str] | None = None) -> int:
  """Runs the tool; returns the exit code."""
  args = _Parser().parse_args((argv or sys.argv)[1:])
  os.environ.setdefault('CUDA_VISIBLE_DEVICES', '-1')  # It reads and batches; the trainers have the GPUs.
  interrupts.Raise()
  try:
    server, address = args.start(args)  # It serves as long as it is not collected.
    print(f'{args.start.__name__[5:].lower()}: ready, {address}', flush=True)
    while server:
      signal.pause()
  except errors.ConfigError as e:
    print(f'data_service: {e}', file=sys.stderr)
    return 2
  except KeyboardInterrupt as e:
    return 128 + e.args[0]
  return 0


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
