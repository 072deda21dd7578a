"""A network namespace for this process and its children, with loopback alone, which nothing outside of them can reach.

TensorFlow's gRPC servers listen on every interface, whatever address a cluster's description names, and obey whoever
connects. Jobs on one machine need no more than loopback.
"""

import ctypes
import fcntl
import os
import socket
import struct

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1


def Enter() -> str:
  """Moves this process, which must have one thread, into a new network with loopback only.

  Returns:
    '' if it has, else why not; the process is then in its old network.
  """
  reason = _Try()
  if not reason:
    _Unshare()
  return reason


def _Try():
  """Tries it in a child process; returns why it fails, or ''. AppArmor may allow half of it, which cannot be undone."""
  reader, writer = os.pipe()
  child = os.fork()
  if not child:
    code = 1
    try:
      _Unshare()
      code = 0
    except OSError as e:
      os.write(writer, os.strerror(e.errno).encode())
    finally:
      os._exit(code)  # Whatever was raised: the child must not go on with the program.
  os.close(writer)
  with open(reader, encoding='utf-8') as f:
    reason = f.read()
  _, status = os.waitpid(child, 0)
  return reason or (f'a trial ended with status {status}' if status else '')


def _Unshare():
  """Makes the network; raises OSError where that is not allowed."""
  libc = ctypes.CDLL(None, use_errno=True)
  uid, gid = os.geteuid(), os.getegid()
  flags = _CLONE_NEWNET if uid == 0 else _CLONE_NEWNET | _CLONE_NEWUSER
  if libc.unshare(flags):
    raise OSError(ctypes.get_errno(), 'unshare')
  if uid:  # The user keeps its id, and so its files.
    for name, text in (('setgroups', 'deny'), ('uid_map', f'{uid} {uid} 1'), ('gid_map', f'{gid} {gid} 1')):
      with open(f'/proc/self/{name}', 'w', encoding='ascii') as f:
        f.write(text)
  with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    fcntl.ioctl(s, _SIOCSIFFLAGS, struct.pack('16sh14x', b'lo', _IFF_UP))
