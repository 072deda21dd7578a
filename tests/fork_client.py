"""A command that runs in a fork of tests/fork_server.py; this process stands for it.

  python -I -S fork_client.py SOCKET PYTHON PROGRAM -m MODULE [arguments]

It hands over its streams, folder, environment and network, passes signals on, and ends as the fork does. The fork ends
with it. Whatever is no `-m MODULE` runs in a new interpreter, PYTHON.
"""

import array
import json
import os
import select
import signal
import socket
import struct
import sys

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def Main(path, python, program, *arguments):
  """Runs the command; path: of the server's socket; program: what the command takes for its interpreter."""
  if arguments[:1] != ('-m',) or os.environ.get('FRESH_INTERPRETER'):
    os.execv(python, [python, *arguments])
  request = {'program': program, 'arguments': arguments[1:], 'folder': os.getcwd(), 'environment': dict(os.environ)}
  with socket.socket(socket.AF_UNIX) as server:
    server.connect(path)
    # A handler in Python would wait for the end of a call that began just after its signal came.
    signals, written = socket.socketpair()
    written.setblocking(False)
    signal.set_wakeup_fd(written.fileno())
    for signum in _PASSED_ON:
      signal.signal(signum, lambda number, _: None)  # Its number is written all the same.
    files = [0, 1, 2, *(os.open(f'/proc/self/ns/{name}', os.O_RDONLY) for name in ('user', 'net'))]
    text = json.dumps(request).encode()
    header = struct.pack('I', len(text))
    server.sendmsg([header], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', files))])
    server.sendall(text)
    while server not in select.select([server, signals], [], [])[0]:
      server.send(signals.recv(16))
    status = server.recv(4)
  if len(status) < 4:
    sys.exit('fork_client: the server of the forks has ended')
  (code,) = struct.unpack('i', status)
  if code < 0:  # By a signal.
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
  sys.exit(code)


if __name__ == '__main__':
  Main(*sys.argv[1:])
