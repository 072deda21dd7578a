"""Hooks of MkDocs (mkdocs.yml): pages and files from outside docs/, notebooks, the reference, diagrams.

A link of a page to a file of the checkout outside docs/ leads to a copy of it in the site, one to a folder to a list of
its files, so that the site is complete in itself. This module runs in the environment of requirements/docs.txt.
"""

import glob
import os
import posixpath
import re
import sys
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File
from mkdocs.structure.files import InclusionLevel

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import diagrams  # noqa: E402
import site_pages  # noqa: E402

ROOT = site_pages.ROOT
REFERENCE = os.path.join(ROOT, 'build', 'docs', 'reference')
_MERMAID = re.compile(r'(?ms)^```mermaid\n(.*?)^```$')


def _Read(path: str) -> str:
  with open(os.path.join(ROOT, path), encoding='utf-8') as f:
    return f.read()


def _ReferencePages() -> list[str]:
  names = sorted(os.path.basename(path) for path in glob.glob(os.path.join(REFERENCE, '*.md')))
  if not names:
    raise PluginError('no reference: python -m tools.docs_site.reference --output=build/docs/reference writes it')
  return [f'reference/{name}' for name in names]


def _FilesOf(folder: str) -> list[str]:
  paths = glob.glob(os.path.join(ROOT, folder, '*'))
  return sorted(os.path.relpath(path, ROOT) for path in paths if os.path.isfile(path) and not path.endswith('.pyc'))


def on_config(config: Any) -> Any:
  """Completes the navigation."""
  reference = [name for name in _ReferencePages() if name != 'reference/experiments.md']
  config['nav'] = site_pages.Nav(config['nav'], reference)
  return config


def on_files(files: Any, config: Any) -> Any:
  """Adds pages from outside docs/, notebooks, the reference, and copies of the files that pages link to."""
  texts = {f'docs/{file.src_uri}': file.content_string for file in files if file.src_uri.endswith('.md')}
  texts.update({origin: _Read(origin) for origin in site_pages.OUTSIDE.values()})
  for page, origin in site_pages.OUTSIDE.items():
    files.append(File.generated(config, page, content=texts[origin]))
  for name in _ReferencePages():
    files.append(File.generated(config, name, abs_src_path=os.path.join(REFERENCE, os.path.basename(name))))
  outside_nav = {}
  for path in sorted(glob.glob(os.path.join(ROOT, 'docs', 'notebooks', '*.ipynb'))):
    text = site_pages.Notebook(_Read(path))
    name = site_pages.Place(os.path.relpath(path, ROOT))
    outside_nav[name] = File.generated(config, name, content=text)
    texts[os.path.relpath(path, ROOT)] = text
  copied = set().union(*(site_pages.Copied(origin, text) for origin, text in texts.items()))
  for folder in sorted(path for path in copied if os.path.isdir(os.path.join(ROOT, path))):
    inside = _FilesOf(folder)
    copied |= set(inside)
    lines = [f'# {folder}', '', *(f'- [{posixpath.basename(path)}]({posixpath.basename(path)}.txt)' for path in inside)]
    name = site_pages.Place(folder)
    outside_nav[name] = File.generated(config, name, content='\n'.join(lines) + '\n')
  for path in copied:
    if os.path.isfile(os.path.join(ROOT, path)):
      files.append(File.generated(config, site_pages.Place(path), abs_src_path=os.path.join(ROOT, path)))
  for file in outside_nav.values():
    file.inclusion = InclusionLevel.NOT_IN_NAV
    files.append(file)
  return files


def on_page_markdown(markdown: str, page: Any, **unused: Any) -> str:
  """Leads links to files of the checkout to their places in the site, and draws diagrams."""
  here = page.file.src_uri
  if here.startswith(('reference/', 'source/')):
    return markdown
  try:
    text = site_pages.Moved(markdown, here)
    return _MERMAID.sub(lambda match: diagrams.Svg(match.group(1)) + '\n', text)
  except ValueError as e:
    raise PluginError(str(e)) from e
