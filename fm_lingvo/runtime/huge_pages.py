"""Enables huge pages for malloc, so that large tensors are mapped in pages of 2 MB instead of 4 KB.

malloc maps the memory of a tensor of tens of megabytes in every step and unmaps it afterwards, and Linux faults it in
page by page. Without huge pages the transducer loss took 2.8 times as long (docs/speed.md). glibc reads the setting
when a process starts, before Python runs, so the program has to restart itself once.
"""

import os
import platform
import sys

TUNABLE = 'glibc.malloc.hugetlb=1'
_MIN_GLIBC = (2, 35)  # First version with this tunable.
_POLICY = '/sys/kernel/mm/transparent_hugepage/enabled'


def Use():
  """Restarts this program with huge pages, unless GLIBC_TUNABLES is set or the system does not support them.

  Does nothing either if the kernel's policy is `always` or `never`; only `madvise` lets a program choose.
  """
  name, version = platform.libc_ver()
  if 'GLIBC_TUNABLES' in os.environ or name != 'glibc' or _Version(version) < _MIN_GLIBC or _Policy() != 'madvise':
    return
  sys.stdout.flush()
  os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, 'GLIBC_TUNABLES': TUNABLE})


def _Version(text):
  return tuple(int(part) for part in text.split('.') if part.isdigit())


def _Policy():
  """Returns the kernel's policy: always, madvise (programs that request them) or never; '' if not supported."""
  try:
    with open(_POLICY, encoding='utf-8') as f:
      return f.read().partition('[')[2].partition(']')[0]
  except OSError:
    return ''
