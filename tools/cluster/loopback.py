"""Isolates this process and its children in a network namespace that has only loopback.

TensorFlow's gRPC servers listen on every interface, whatever address the cluster spec names, and accept any client.
Jobs on one machine need only loopback.
"""

import ctypes
import fcntl
import os
import socket
import struct

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1


def Enter() -> str:
  """Moves this process, which must have a single thread, into a new network namespace with only loopback.

  Returns:
    '' on success, otherwise the reason of the failure; the process then keeps its network.
  """
  reason = _Try()
  if not reason:
    _Unshare()
  return reason


def _Try():
  """Tries _Unshare in a child process; returns the reason if it fails, or ''.

  AppArmor may allow only its first part, which cannot be undone in this process.
  """
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
      os._exit(code)  # After any exception: the child must not continue with the program.
  os.close(writer)
  with open(reader, encoding='utf-8') as f:
    reason = f.read()
  _, status = os.waitpid(child, 0)
  return reason or (f'a trial ended with status {status}' if status else '')


def _Unshare():
  """Creates the network namespace; raises OSError if that is not allowed."""
  libc = ctypes.CDLL(None, use_errno=True)
  uid, gid = os.geteuid(), os.getegid()
  flags = _CLONE_NEWNET if uid == 0 else _CLONE_NEWNET | _CLONE_NEWUSER
  if libc.unshare(flags):
    raise OSError(ctypes.get_errno(), 'unshare')
  if uid:  # Keep the user's id, and so the access to files.
    for name, text in (('setgroups', 'deny'), ('uid_map', f'{uid} {uid} 1'), ('gid_map', f'{gid} {gid} 1')):
      with open(f'/proc/self/{name}', 'w', encoding='ascii') as f:
        f.write(text)
  with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    fcntl.ioctl(s, _SIOCSIFFLAGS, struct.pack('16sh14x', b'lo', _IFF_UP))
