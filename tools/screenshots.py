"""Screenshots of TensorBoard on a run, in headless Chromium, checked not to be blank.

  python -m tools.screenshots runs/BestRqPretrain-... --output=docs/images

Writes tensorboard_{scalars,images,histograms,audio,text}.png. A picture is taken once
all tags that TensorBoard serves for a tab are on the page and their panels are drawn.
Exit code 2: something is missing or does not render, said in one line. Needs the
Debian package chromium, and no network.
"""

import argparse
import collections
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

import numpy as np

from fm_lingvo import errors

from . import chromium
from . import event_files
from .common import exit_codes

# plugin: TensorBoard's name of the tab. tags: regex of the tags to show. panel: CSS
# selector of what draws one tag. ready: JavaScript condition on a panel `p`. prepare:
# JavaScript run once the panels are there. size: width and height of the window, in
# pixels. coloured: least share of a panel's pixels that are saturated.
View = collections.namedtuple('View', 'plugin tags panel ready prepare size coloured')

_SCALARS = 'accuracy|entropy|code_|^loss$|learning_rate|audio_seconds_per'
VIEWS = (
  View('scalars', _SCALARS, 'vz-line-chart2', 'true', 'setCheckbox(/Ignore outliers/, false)', (1480, 985), 0.001),
  View(
    'images',
    '.',
    'img[src*=individualImage]',
    'p.complete && p.naturalWidth > 0',
    'setCheckbox(/actual image size/, true)',
    (1400, 740),
    0.1,
  ),
  View(
    'histograms',
    '.',
    'vz-histogram-timeseries',
    'true',
    "deep('paper-icon-button').find(b => b.icon === 'fullscreen').click()",
    (1400, 740),
    0.02,
  ),
  View('audio', '.', 'audio', 'p.readyState > 0 && p.duration > 0', '', (1400, 420), 0.0),
  View('text', '.', 'tf-markdown-view', 'p.getBoundingClientRect().height > 10', '', (1400, 900), 0.0),
)
_MOST_TAGS = 9  # Of a tab, that its window has room for.
# Elements and text are in shadow roots, which querySelectorAll does not enter.
_HELPERS = """
  const deep = (selector, root = document) => {
    const found = [...root.querySelectorAll(selector)];
    for (const e of root.querySelectorAll('*'))
      if (e.shadowRoot) found.push(...deep(selector, e.shadowRoot));
    return found;
  };
  const drawn = e => e.getBoundingClientRect().height > 0;
  const visible = e => {  // At least half of it, or half of the window.
    const r = e.getBoundingClientRect();
    const height = Math.min(r.bottom, innerHeight) - Math.max(r.top, 0);
    return r.width > 4 && height > 4 && 2 * height >= Math.min(r.height, innerHeight);
  };
  const setCheckbox = (label, on) => deep('paper-checkbox')
      .filter(c => label.test(c.textContent) && c.checked !== on)
      .forEach(c => c.click());
"""


class TensorBoard:
  """TensorBoard on a run, on a free port of the loopback; a context manager."""

  def __init__(self, run, timeout=180):
    """Starts it.

    Raises:
      errors.ConfigError: `run` has no event files, or TensorBoard did not start.
    """
    event_files.Folders(run)
    parent, name = os.path.split(os.path.abspath(run))
    self._run, self._log = run, tempfile.TemporaryFile()
    # In the parent, so that the page shows the run's name and no path.
    self._process = subprocess.Popen(
      [
        sys.executable,
        '-m',
        'tensorboard.main',
        f'--logdir={name}',
        '--port=0',
        '--host=127.0.0.1',
        '--load_fast=false',
      ],
      cwd=parent,
      stdin=subprocess.DEVNULL,
      stdout=self._log,
      stderr=self._log,
    )
    try:
      self.version, self.url = self._WaitForAddress(time.time() + timeout)
    except BaseException:
      self.Close()
      raise

  def __enter__(self):
    return self

  def __exit__(self, *unused):
    self.Close()

  def Close(self):
    """Ends it."""
    self._process.kill()
    self._process.wait()
    self._log.close()

  def _WaitForAddress(self, deadline):
    while True:
      self._log.seek(0)
      log = self._log.read().decode(errors='replace')
      match = re.search(r'TensorBoard (\S+) at (http://\S+)', log)
      if match:
        return match.groups()
      if self._process.poll() is not None or time.time() > deadline:
        last = (log.strip().splitlines() or ['no output'])[-1]
        raise errors.ConfigError(f'TensorBoard did not start: {last}')
      time.sleep(0.3)

  def Tags(self, plugin, pattern, timeout=60):
    """Sorted tags of a tab that match a regex; waits until there are any.

    Raises:
      errors.ConfigError: None came.
    """
    deadline = time.time() + timeout
    while True:
      with urllib.request.urlopen(f'{self.url}data/plugin/{plugin}/tags') as reply:
        found = sorted({tag for tags in json.load(reply).values() for tag in tags})
      tags = [tag for tag in found if re.search(pattern, tag)]
      if tags:
        return tags
      if time.time() > deadline:
        raise errors.ConfigError(
          f'{self._run}: no {plugin} with a tag like {pattern!r}; tags found: {", ".join(found) or "none"}'
        )
      time.sleep(0.5)


def Take(board, browser, view):
  """Screenshot of one tab.

  Args:
    board: TensorBoard.
    browser: chromium.Browser.
    view: View.

  Returns:
    (png, tags): the bytes of the picture and the tags of the tab.

  Raises:
    errors.ConfigError: A tag did not appear, or a panel stayed blank.
  """
  tags = board.Tags(view.plugin, view.tags)
  browser.Resize(*view.size)
  fragment = f'#{view.plugin}&_smoothingWeight=0'
  if view.tags != '.':
    fragment += f'&tagFilter={view.tags}'
  browser.Open(board.url + fragment)
  browser.WaitFor(
    _Script(f"""
    const text = deep('*').filter(drawn).flatMap(e => [...e.childNodes])
        .filter(n => n.nodeType === Node.TEXT_NODE).map(n => n.textContent).join(' ');
    const panels = deep({json.dumps(view.panel)}).filter(visible);
    return panels.length > 0 && panels.every(p => {view.ready}) &&
        {json.dumps(tags[:_MOST_TAGS])}.every(tag => text.includes(tag));"""),
    f"TensorBoard's {view.plugin} tab with {', '.join(tags[:_MOST_TAGS])}",
  )
  if view.prepare:
    browser.Evaluate(_Script(view.prepare))
  return _WaitForInk(browser, view), tags


def _WaitForInk(browser, view, timeout=60):
  """A screenshot whose panels are drawn, and the same twice in a row."""
  deadline, previous = time.time() + timeout, None
  while True:
    boxes = browser.Evaluate(
      _Script(f"""
      return deep({json.dumps(view.panel)}).filter(visible).map(p => {{
        const r = p.getBoundingClientRect();
        return [r.left, r.top, r.right, r.bottom];
      }});""")
    )
    png = browser.Screenshot()
    blank = BlankBoxes(png, boxes, view.coloured)
    if boxes and not blank and png == previous:
      return png
    if time.time() > deadline:
      raise errors.ConfigError(
        f"TensorBoard's {view.plugin} tab: {len(blank)} of {len(boxes)} panels blank "
        f'or still changing after {timeout} s'
      )
    previous = png
    time.sleep(1.0)


def BlankBoxes(png, boxes, coloured):
  """Which boxes of a picture are blank.

  Args:
    png: Bytes of the picture.
    boxes: List of (left, top, right, bottom) in pixels; what lies outside is cut off.
    coloured: Least share of saturated pixels: grid lines and text are grey.

  Returns:
    List of the boxes that have one grey value throughout, or too little colour.
  """
  from PIL import Image  # matplotlib brings it.

  pixels = np.asarray(Image.open(io.BytesIO(png)).convert('RGB'), np.int16)
  blank = []
  for box in boxes:
    left, top, right, bottom = (max(0, int(v)) for v in box)
    part = pixels[top:bottom, left:right]
    if part.size == 0:
      blank.append(box)
      continue
    saturated = (part.max(axis=-1) - part.min(axis=-1) > 60).mean()
    if part.mean(axis=-1).std() < 2.0 or saturated < coloured:
      blank.append(box)
  return blank


def _Script(body):
  return f'(() => {{ {_HELPERS} {body} }})()'


def Main(argv):
  """Runs the tool; returns the exit code."""
  names = [view.plugin for view in VIEWS]
  parser = argparse.ArgumentParser(
    prog='screenshots', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('run', metavar='RUN', help='folder of a run')
  parser.add_argument('--output', default='docs/images', help='folder of the pictures')
  parser.add_argument('--tabs', default=','.join(names), help='comma-separated')
  args = parser.parse_args(argv[1:])
  return exit_codes.Report('screenshots', lambda: _Run(args, names))


def _Run(args, names):
  """Takes the pictures that the arguments ask for, of the tabs `names`."""
  tabs = [tab for tab in args.tabs.split(',') if tab]
  for tab in tabs:
    if tab not in names:
      raise errors.ConfigError(f'--tabs={tab}: expected some of {", ".join(names)}')
  with chromium.Browser() as browser, TensorBoard(args.run) as board:
    print(f'TensorBoard {board.version} in {browser.Version()}')
    os.makedirs(args.output, exist_ok=True)
    for view in VIEWS:
      if view.plugin in tabs:
        png, tags = Take(board, browser, view)
        path = os.path.join(args.output, f'tensorboard_{view.plugin}.png')
        with open(path, 'wb') as f:
          f.write(png)
        print(f'wrote {path}: {", ".join(tags)}', flush=True)


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
