"""Docstrings in Google's style as Markdown, and tables of params and knobs."""

import ast
import inspect
import io
import re
import textwrap
import tokenize
from typing import Any

_SECTION = re.compile(r'(Args|Returns|Yields|Raises|Attributes|Usage|Example):$')
_ITEM = re.compile(r'(\*{0,2}[\w.`]+(?:, [\w.`]+)*): (.*)')


def Escape(text: str) -> str:
  """Text whose characters have no meaning in Markdown or HTML; code between backticks stays as it is."""
  parts = re.split(r'(`[^`]*`)', text)
  return ''.join(part if part.startswith('`') else re.sub(r'([*_<>|\[\]#])', r'\\\1', part) for part in parts)


def Cell(text: str) -> str:
  """Escaped text on one line, for a cell of a table."""
  return ' '.join(Escape(text).split())


def Code(value: Any, limit: int = 60) -> str:
  """A value as code in a cell of a table; longer ones are cut."""
  text = ' '.join(repr(value).split())
  text = text if len(text) <= limit else text[: limit - 3] + '...'
  return '`' + text.replace('|', r'\|').replace('`', "'") + '`'


def Markdown(doc: str | None) -> str:
  """A docstring as Markdown: paragraphs, lists of arguments, and indented examples as code."""
  lines, out = inspect.cleandoc(doc or '').splitlines(), []
  in_section = False
  for index, line in enumerate(lines):
    text, indent = line.strip(), len(line) - len(line.lstrip())
    section = _SECTION.match(text) if not indent else None
    if section:
      in_section = True
      out += ['', f'**{section.group(1)}**', '']
    elif not text:
      out.append('')
    elif in_section and indent:
      item = _ITEM.match(text) if indent == 2 else None
      if item:
        out.append(f'- `{item.group(1).replace("`", "")}`: {Escape(item.group(2))}')
      else:
        starts = out[-1] == ''
        out.append(f'- {Escape(text)}' if starts and indent == 2 else f'  {Escape(text)}')
    elif indent >= 2 and (out and (out[-1] == '' or out[-1].startswith('    '))):
      out.append('    ' + line)  # An example.
    else:
      in_section = False
      item = text.startswith(('- ', '* '))
      if item and index and out[-1] and not out[-1].startswith('- '):
        out.append('')
      out.append(f'- {Escape(text[2:])}' if item else Escape(text))
  return '\n'.join(out).strip() + '\n'


def Comments(cls: type) -> dict[str, str]:
  """Knob -> the comment beside its definition, of a class and its parents."""
  found: dict[str, str] = {}
  for base in reversed(cls.__mro__):
    try:
      source = textwrap.dedent(inspect.getsource(base))
    except (OSError, TypeError):
      continue
    comments = {
      token.start[0]: token.string.lstrip('# ')
      for token in tokenize.generate_tokens(io.StringIO(source).readline)
      if token.type == tokenize.COMMENT
    }
    for node in ast.walk(ast.parse(source)):
      if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        words = [comments[n] for n in range(node.lineno, (node.end_lineno or node.lineno) + 1) if n in comments]
        if words:
          found[node.target.id] = ' '.join(words)
  return found
