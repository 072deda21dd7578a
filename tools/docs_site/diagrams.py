"""Draws the flow charts of the pages, written in Mermaid, as SVG, so that the site loads no script from elsewhere.

Only what the pages use: `graph TD` or `graph LR`, and arrows `a[label] --> b --> c((label))`.
"""

import html
import re

from grandalf import graphs
from grandalf import layouts

_NODE = re.compile(r'(\w+)(?:\[(.*?)\]|\(\((.*?)\)\))?$')
_HEIGHT, _CHARACTER, _PADDING = 32, 7.4, 24


class _Box:
  """What the layout needs of a node: its width and height; it sets xy."""

  def __init__(self, w: float, h: float):
    self.w, self.h = w, h
    self.xy = (0.0, 0.0)


def Parse(text: str) -> tuple[str, dict[str, str], list[tuple[str, str]]]:
  """Reads a flow chart.

  Returns:
    (direction, TD or LR; dict: node -> label; list of arrows, from and to).

  Raises:
    ValueError: A line is none of the forms that this module knows.
  """
  head, *lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
  kind, _, direction = head.partition(' ')
  if kind != 'graph' or direction not in ('TD', 'LR'):
    raise ValueError(f'diagram: {head}: expected graph TD or graph LR')
  labels: dict[str, str] = {}
  arrows = []
  for line in lines:
    names = []
    for part in line.split('-->'):
      match = _NODE.match(part.strip())
      if not match:
        raise ValueError(f'diagram: {line}: expected a --> b[label] --> c((label))')
      name, label = match.group(1), match.group(2) or match.group(3)
      labels[name] = label or labels.get(name, name)
      names.append(name)
    arrows += zip(names, names[1:])
  return direction, labels, arrows


def _Layout(direction, labels, arrows):
  """Returns dict node -> (x, y, width) of its centre."""
  vertices = {name: graphs.Vertex(name) for name in labels}
  for name, vertex in vertices.items():
    width = _PADDING + _CHARACTER * len(labels[name])
    # The layout goes downwards: for one to the right, width and height change places.
    vertex.view = _Box(width, _HEIGHT) if direction == 'TD' else _Box(_HEIGHT, width)
  edges = [graphs.Edge(vertices[a], vertices[b]) for a, b in arrows]
  layout = layouts.SugiyamaLayout(graphs.Graph(list(vertices.values()), edges).C[0])
  layout.xspace, layout.yspace = 18, 34
  layout.init_all(optimize=True)
  layout.draw(3)
  places = {}
  for name, vertex in vertices.items():
    x, y = vertex.view.xy if direction == 'TD' else reversed(vertex.view.xy)
    places[name] = (x, y, _PADDING + _CHARACTER * len(labels[name]))
  return places


def _Arrow(a, b, direction):
  """Path from the edge of box a to that of box b."""
  (ax, ay, aw), (bx, by, bw) = a, b
  if direction == 'TD':
    ay, by = ay + _HEIGHT / 2, by - _HEIGHT / 2
    middle = (ay + by) / 2
    return f'M{ax:.0f},{ay:.0f}C{ax:.0f},{middle:.0f} {bx:.0f},{middle:.0f} {bx:.0f},{by:.0f}'
  ax, bx = ax + aw / 2, bx - bw / 2
  middle = (ax + bx) / 2
  return f'M{ax:.0f},{ay:.0f}C{middle:.0f},{ay:.0f} {middle:.0f},{by:.0f} {bx:.0f},{by:.0f}'


def Svg(text: str) -> str:
  """A flow chart as an SVG element on one line, as Markdown takes it."""
  direction, labels, arrows = Parse(text)
  places = _Layout(direction, labels, arrows)
  left = min(x - w / 2 for x, _, w in places.values()) - 10
  right = max(x + w / 2 for x, _, w in places.values()) + 10
  top = min(y for _, y, _ in places.values()) - _HEIGHT
  bottom = max(y for _, y, _ in places.values()) + _HEIGHT
  width, height = right - left, bottom - top
  parts = [
    f'<svg class="diagram" xmlns="http://www.w3.org/2000/svg" viewBox="{left:.0f} {top:.0f} {width:.0f} {height:.0f}" '
    f'style="max-width:100%;width:{width:.0f}px" font-family="sans-serif" font-size="13" text-anchor="middle">',
    '<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="6" markerHeight="6" orient="auto">'
    '<path d="M0,0L10,5L0,10z" fill="#888"/></marker></defs>',
  ]
  for a, b in arrows:
    path = _Arrow(places[a], places[b], direction)
    parts.append(f'<path d="{path}" fill="none" stroke="#888" marker-end="url(#arrow)"/>')
  for name, (x, y, w) in places.items():
    parts.append(
      f'<rect x="{x - w / 2:.0f}" y="{y - _HEIGHT / 2:.0f}" width="{w:.0f}" height="{_HEIGHT}" rx="5" fill="#e3edf8" '
      f'stroke="#2b6cb0"/><text x="{x:.0f}" y="{y + 4.5:.0f}" fill="#222">{html.escape(labels[name])}</text>'
    )
  return ''.join([*parts, '</svg>'])
