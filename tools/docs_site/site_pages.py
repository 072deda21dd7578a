"""Where files of the checkout are in the site, and what its pages are made from; hooks.py gives that to MkDocs.

Standard library alone: MkDocs has an environment of its own, without fm_lingvo and TensorFlow.
"""

import json
import os
import posixpath
import re
from collections.abc import Iterator

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Page of the site -> file of the checkout.
OUTSIDE = {
  'index.md': 'README.md',
  'changelog.md': 'CHANGELOG.md',
  'code_of_conduct.md': 'CODE_OF_CONDUCT.md',
  'contributing.md': 'CONTRIBUTING.md',
  'requirements.md': 'requirements/README.md',
  'security.md': 'SECURITY.md',
  'texts.md': 'tools/texts/README.md',
}
_LINK = re.compile(r'(\]\()([^)#\s]+)(#[^)\s]*)?(\))')
_CODE = re.compile(r'(?ms)^(```+).*?^\1$|`[^`\n]+`')


def Nav(nav: list, reference: list[str]) -> list:
  """The navigation with the pages of the reference in the place of `reference/`.

  Args:
    nav: Of mkdocs.yml.
    reference: Pages of the reference.
  """
  out = []
  for entry in nav:
    ((title, value),) = entry.items()
    if value == 'reference/':
      value = [{name.removeprefix('reference/').removesuffix('.md'): name} for name in reference]
    elif isinstance(value, list):
      value = Nav(value, reference)
    out.append({title: value})
  return out


def Origin(page: str) -> str:
  """The file of the checkout that a page of the site is made from; its links are relative to it."""
  return OUTSIDE.get(page, f'docs/{page}')


def Place(path: str) -> str | None:
  """The place in the site of a file or folder of the checkout; None: there is no such file."""
  for page, origin in OUTSIDE.items():
    if path == origin:
      return page
  full = os.path.join(ROOT, path)
  if os.path.isdir(full):
    return f'source/{path.lstrip(".")}/files.md'  # MkDocs leaves out names with a dot at their beginning.
  if not os.path.isfile(full):
    return None
  if path.startswith('docs/') and not path.endswith('.json'):
    place = path.removeprefix('docs/')
    return place.removesuffix('.ipynb') + '.md' if place.endswith('.ipynb') else place
  return f'source/{path.lstrip(".")}.txt'


def Links(text: str) -> Iterator[str]:
  """Targets of the links of a page to files, outside of code."""
  for match in _LINK.finditer(_CODE.sub('', text)):
    if _IsFile(match.group(2)):
      yield match.group(2)


def _IsFile(target: str) -> bool:
  return '://' not in target and not target.startswith('mailto:')


def Copied(origin: str, text: str) -> set[str]:
  """Files and folders of the checkout that a page links to and that the site needs a copy of."""
  targets = {posixpath.normpath(posixpath.join(posixpath.dirname(origin), target)) for target in Links(text)}
  return {target for target in targets if (Place(target) or '').startswith('source/')}


def Moved(text: str, page: str) -> str:
  """The text of a page with its links leading to where their files are in the site.

  Args:
    text: Markdown, as in the checkout.
    page: Its place in the site.

  Raises:
    ValueError: A link to a file that does not exist.
  """
  origin = Origin(page)

  def _Move(match: re.Match) -> str:
    opening, target, anchor, closing = match.groups()
    if not _IsFile(target):
      return match.group(0)
    place = Place(posixpath.normpath(posixpath.join(posixpath.dirname(origin), target)))
    if place is None:
      raise ValueError(f'{origin}: link to {target}: no such file')
    return f'{opening}{posixpath.relpath(place, posixpath.dirname(page) or ".")}{anchor or ""}{closing}'

  pieces, position = [], 0
  for code in _CODE.finditer(text):
    pieces += [_LINK.sub(_Move, text[position : code.start()]), code.group(0)]
    position = code.end()
  return ''.join(pieces) + _LINK.sub(_Move, text[position:])


def Notebook(text: str) -> str:
  """A notebook as Markdown: its texts and its code."""
  cells = []
  for cell in json.loads(text)['cells']:
    source = ''.join(cell['source'])
    cells.append(source if cell['cell_type'] == 'markdown' else f'```python\n{source}\n```')
  return '\n\n'.join(cells) + '\n'
