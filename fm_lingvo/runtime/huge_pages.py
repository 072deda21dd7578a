"""Huge pages for what malloc gives: large tensors are then mapped in pieces of 2 MB, not of 4 KB.

A tensor of tens of megabytes is memory that malloc maps anew for every step and gives back after it, and Linux touches
it page by page: the transducer's loss took 2.8 times as long for that (docs/speed.md). glibc reads the setting when
a process starts, before Python runs, so that a program that wants it begins a second time.
"""

import os
import platform
import sys

TUNABLE = 'glibc.malloc.hugetlb=1'
_SINCE = (2, 35)  # glibc that knows it.
_POLICY = '/sys/kernel/mm/transparent_hugepage/enabled'


def Use():
  """Starts this program again with huge pages, unless it has them, cannot have them, or GLIBC_TUNABLES says otherwise.

  Where Linux gives them to all programs (`always`) or to none (`never`) there is nothing to ask for.
  """
  name, version = platform.libc_ver()
  if 'GLIBC_TUNABLES' in os.environ or name != 'glibc' or _Version(version) < _SINCE or _Policy() != 'madvise':
    return
  sys.stdout.flush()
  os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, 'GLIBC_TUNABLES': TUNABLE})


def _Version(text):
  return tuple(int(part) for part in text.split('.') if part.isdigit())


def _Policy():
  """Which programs get them: always, madvise (those that ask) or never; '' if Linux has none."""
  try:
    with open(_POLICY, encoding='utf-8') as f:
      return f.read().partition('[')[2].partition(']')[0]
  except OSError:
    return ''
