"""Runs a dispatcher or a worker of a tf.data service, which reads, batches and augments training speech for trainers.

  python -m tools.data_service dispatcher --port=5050
  python -m tools.data_service worker --dispatcher=HOST:5050
  trainer --model=... --tf_data_service_address=HOST:5050

A service has one dispatcher and any number of workers, which may run on other hosts and may start and stop at any time.
They need this environment and the data under the same paths as the trainer; relative paths count from the folder where
a process is started. Trainers reach a worker by its host's own name, by --host, or at localhost if its --dispatcher is
on localhost. fm_lingvo/data/data_service.py describes the guarantees for the data. Ctrl-C and SIGTERM end a process,
with exit codes 130 and 143; 2 is wrong usage.
"""

import contextlib
import os
import signal
import socket
import sys

from fm_lingvo import errors
from fm_lingvo.runtime import quiet
from fm_lingvo.utils import files as file_system

from .common import command_line
from .common import exit_codes
from .common import interrupts


def StartDispatcher(args):
  """Starts a dispatcher; returns (server, address).

  Raises:
    errors.ConfigError: The port is out of range or cannot be used.
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
    errors.ConfigError: Nothing listens at --dispatcher, or the port is out of range or cannot be used.
  """
  _CheckPort(args)
  with quiet.Imports():  # TensorFlow, which --help does not need.
    from fm_lingvo.data import data_service
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
  """Turns TensorFlow's errors of a server that does not start into a ConfigError."""
  try:
    yield
  except Exception as e:  # TensorFlow raises several types, RuntimeError among them.
    raise errors.ConfigError(f'{flags}: cannot be served ({errors.Reason(e)})') from e


def _Service():
  """Imports tf.data.experimental.service."""
  with quiet.Imports():
    import tensorflow as tf

  return tf.data.experimental.service


def _Parser():
  parser = command_line.Parser('data_service', __doc__)
  jobs = parser.add_subparsers(required=True, metavar='dispatcher|worker')
  dispatcher = jobs.add_parser('dispatcher', help='assigns files to the workers')
  dispatcher.set_defaults(start=StartDispatcher)
  dispatcher.add_argument('--port', type=int, default=5050, help='port to listen on, 0: any (default: 5050)')
  dispatcher.add_argument(
    '--work_dir',
    type=file_system.ExpandUser,
    default='',
    help='folder of its journal; a restarted dispatcher resumes from it',
  )
  worker = jobs.add_parser('worker', help='makes batches')
  worker.set_defaults(start=StartWorker)
  worker.add_argument('--dispatcher', required=True, metavar='HOST:PORT', help='address of the dispatcher')
  worker.add_argument('--port', type=int, default=0, help='port to listen on, 0: any (default: 0)')
  worker.add_argument(
    '--wait_seconds', type=float, default=0.0, help='how long to wait for the dispatcher to start (default: 0)'
  )
  worker.add_argument(
    '--host',
    default='',
    help="name by which trainers reach this host (default: the host's own; localhost if --dispatcher is on localhost)",
  )
  return parser


def _Serve(args):
  """Serves until a signal."""
  server, address = args.start(args)  # Serves until it is garbage-collected.
  print(f'{args.start.__name__[5:].lower()}: ready, {address}', flush=True)
  while server:
    signal.pause()


def Main(argv: list[str] | None = None) -> int:
  """Runs the tool; returns the exit code."""
  args = _Parser().parse_args((argv or sys.argv)[1:])
  os.environ.setdefault('CUDA_VISIBLE_DEVICES', '-1')  # Leave the GPUs to the trainers.
  interrupts.Raise()
  return exit_codes.Report('data_service', lambda: _Serve(args), interrupted=None)


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
