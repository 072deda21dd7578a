"""Runs commands of the project in forks of one process that has imported TensorFlow, which takes seconds each time.

  with fork_server.Server(checkout) as server:
    server.WriteProgram('bin/python')
    subprocess.run(['bin/python', '-m', 'tools.transcribe', ...])

The program behaves as `python`: a process whose streams, folder, environment, arguments, signals and exit code are
those of the command (tests/fork_client.py). What such a command starts by sys.executable is forked, too. With
FRESH_INTERPRETER=1 in the environment it is Python itself: tests of how a program starts, and the first use of each
program on the pages, have it.
"""

import array
import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import shlex
import signal
import socket
import struct
import subprocess
import sys
import tempfile

from fm_lingvo.runtime import huge_pages

_CLIENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'fork_client.py')
_CODE = 'from tests import fork_server; fork_server.Serve()'
_FILES = 5  # Of a client: its streams, its namespaces of users and of the network.


class Server:
  """The process that is forked; a context, at whose end it and all its forks end."""

  def __init__(self, checkout, preload='tests.faults.preload'):
    """Starts it.

    Args:
      checkout: Folder from which it imports the project.
      preload: Module that it imports first.
    """
    self._folder = tempfile.TemporaryDirectory()
    self._socket = os.path.join(self._folder.name, 'socket')
    environment = {**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '2', 'GLIBC_TUNABLES': huge_pages.TUNABLE}
    with socket.socket(socket.AF_UNIX) as listener:
      listener.bind(self._socket)
      listener.listen()
      self._process = subprocess.Popen(
        [sys.executable, '-c', _CODE, str(listener.fileno()), preload],
        cwd=checkout,
        env=environment,
        stdin=subprocess.PIPE,  # It ends with this process.
        pass_fds=(listener.fileno(),),
        start_new_session=True,  # Ctrl-C reaches forks through their clients, once.
      )

  def WriteProgram(self, path, *arguments):
    """Writes an executable file that runs as `python ARGUMENTS` does, in a fork."""
    client = shlex.join([sys.executable, '-I', '-S', _CLIENT, self._socket, sys.executable])
    with open(path, 'w', encoding='utf-8') as f:
      f.write(f'#!/bin/sh\nexec {client} {shlex.quote(os.path.abspath(path))} {shlex.join(arguments)} "$@"\n')
    os.chmod(path, 0o755)

  def __enter__(self):
    return self

  def __exit__(self, *unused):
    self._process.stdin.close()
    self._process.wait()
    with contextlib.suppress(ProcessLookupError):  # No fork is left.
      os.killpg(self._process.pid, signal.SIGKILL)
    self._folder.cleanup()


def Serve():
  """What the server's process does; returns in forks, once their commands are done."""
  importlib.import_module(sys.argv[2])
  gc.freeze()  # No collection of a fork looks at, and so copies, what it has not made itself.
  signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # Its forks leave no zombies.
  with socket.socket(fileno=int(sys.argv[1])) as listener:
    while listener in select.select([listener, 0], [], [])[0]:
      connection, _ = listener.accept()
      with connection:
        if os.fork() == 0:
          listener.close()
          signal.signal(signal.SIGCHLD, signal.SIG_DFL)
          request, files = _Receive(connection)
          if fork := os.fork():
            os._exit(_Attend(connection, fork))
          connection.close()
          return _Run(request, files)


def _Receive(connection):
  """A client's request, a dict, and its files."""
  header, ancillary, _, _ = connection.recvmsg(4, socket.CMSG_SPACE(_FILES * 4))
  files = array.array('i', ancillary[0][2])
  (length,) = struct.unpack('I', header)
  text = b''
  while len(text) < length:
    if not (more := connection.recv(length - len(text))):
      raise EOFError('the client has ended')
    text += more
  return json.loads(text), files


def _Attend(connection, fork):
  """Passes signals from the client to the fork, and the fork's exit code to the client; kills it if the client ends."""
  ended = os.pidfd_open(fork)
  while True:
    ready, _, _ = select.select([connection, ended], [], [])
    if ended in ready:
      break
    signals = connection.recv(16)
    for signum in signals or [signal.SIGKILL]:
      os.kill(fork, signum)
    if not signals:
      break
  _, status = os.waitpid(fork, 0)
  connection.send(struct.pack('i', os.waitstatus_to_exitcode(status)))
  return 0


def _Run(request, files):
  """The command, in this process."""
  for number, opened in enumerate(files[:3]):
    os.dup2(opened, number)
  for name, namespace in zip(('user', 'net'), files[3:]):
    _Enter(name, namespace)
  for opened in files:
    os.close(opened)
  os.chdir(request['folder'])
  known = os.environ.get('PYTHONPATH', '').split(os.pathsep)
  os.environ.clear()
  os.environ.update({'GLIBC_TUNABLES': huge_pages.TUNABLE, **request['environment']})
  module, *arguments = request['arguments']
  wanted = [path for path in os.environ.get('PYTHONPATH', '').split(os.pathsep) if path]
  sys.path[:] = [request['folder'], *wanted, *(path for path in sys.path[1:] if path not in known)]
  sys.executable, sys.orig_argv = request['program'], [request['program'], '-m', *request['arguments']]
  sys.argv[:] = [module, *arguments]
  sys.modules.pop(module, None)
  runpy.run_module(module, run_name='__main__', alter_sys=True)


def _Enter(name, namespace):
  """Moves this process into the client's namespace: tools/cluster/loopback.py isolates the network of a cluster."""
  own = os.open(f'/proc/self/ns/{name}', os.O_RDONLY)
  if not os.path.sameopenfile(namespace, own):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, 0):
      raise OSError(ctypes.get_errno(), f'setns: {name}')
  os.close(own)
