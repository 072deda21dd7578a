"""Shows the progress of data preparation by counting the rows that the workers have written."""

import glob
import os
import sys
import threading

import tqdm

from fm_lingvo.utils import files as file_system

from . import shards

_POLL_SECONDS = 0.5
_LINE_SECONDS = 15


class Watch:
  """Context manager that shows a bar on a terminal, otherwise a line every 15 s; nothing for a remote directory."""

  def __init__(self, staging, total):
    self._pattern = os.path.join(glob.escape(staging), '.*' + shards.ROWS_SUFFIX)
    self._done_pattern = os.path.join(glob.escape(staging), '[!.]*' + shards.ROWS_SUFFIX)
    self._total = total
    self._lines = {}  # Path -> (bytes read, lines).
    self._stop = threading.Event()
    self._thread = None if file_system.IsRemote(staging) else threading.Thread(target=self._Run, daemon=True)

  def __enter__(self):
    if self._thread:
      self._thread.start()
    return self

  def __exit__(self, *unused_exc):
    if self._thread:
      self._stop.set()
      self._thread.join()

  def _Count(self):
    """Returns the number of lines so far; each call reads only what was appended to the files since the last."""
    total = 0
    for path in glob.glob(self._pattern) + glob.glob(self._done_pattern):
      key = os.path.basename(path).lstrip('.').split('.tfrecord')[0]
      offset, lines = self._lines.get(key, (0, 0))
      try:
        with open(path, 'rb') as f:
          f.seek(offset)
          data = f.read()
      except FileNotFoundError:  # Renamed between glob and open; the next call counts it.
        data = b''
      self._lines[key] = (offset + len(data), lines + data.count(b'\n'))
      total += self._lines[key][1]
    return total

  def _Run(self):
    terminal = sys.stderr.isatty()
    bar = tqdm.tqdm(total=self._total, unit='utt', desc='prepare', leave=False, disable=not terminal)
    polls = 0
    while not self._stop.wait(_POLL_SECONDS):
      done = self._Count()
      polls += 1
      if terminal:
        bar.update(done - bar.n)
      elif polls % round(_LINE_SECONDS / _POLL_SECONDS) == 0:
        print(f'prepare: {done} of {self._total} utterances', file=sys.stderr, flush=True)
    bar.close()
