"""Gin text -> statements that know their place: files, includes, bindings, macros.

The grammar is Gin's own parser's. Gin's evaluation is not used: it looks a name up
before the Params tree that defines it can exist, and its errors take many lines.
"""

import io
import os
import tokenize

from gin import config_parser
from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.config import bindings
from fm_lingvo.utils import shipped
from fm_lingvo.utils import suggest

GinError = errors.GinError
DidYouMean = suggest.DidYouMean

BINDINGS = '--gin_bindings'
_MAX_BYTES = 1_000_000


class _Delegate(config_parser.ParserDelegate):
  """Keeps references and macros as written."""

  def configurable_reference(self, scoped_configurable_name, evaluate):
    call = '()' if evaluate else ''
    return bindings.Reference(f'@{scoped_configurable_name}{call}')

  def macro(self, scoped_name):
    return bindings.Macro(scoped_name)


class Reader:
  """Reads Gin files and binding strings into one list of Bindings."""

  def __init__(self, search_paths=(), user=True):
    """A reader without bindings.

    Args:
      search_paths: Folders to look for files in, after the working directory and
        before the checkout.
      user: See Binding.
    """
    self.bindings = []
    self._search_paths = [os.fspath(p) for p in search_paths]
    for path in self._search_paths:
      if not tf.io.gfile.isdir(path):
        raise GinError(f'--gin_search_paths={path}: no such folder')
    self._user = user
    self._open = []  # Files being read, outermost first.

  def Find(self, name, folders=()):
    """The path of a Gin file, or None: as it stands, then in `folders`, then others."""
    return next(
      (
        path
        for path in self._Candidates(name, folders)
        if (tf.io.gfile.exists(path) and not tf.io.gfile.isdir(path) if '://' in path else os.path.isfile(path))
      ),
      None,
    )

  def ReadFile(self, name, asker=None):
    """Reads a file and what it includes.

    Args:
      name: As the user gave it.
      asker: What asked for it, for messages; default the flag.
    """
    asker = asker or f'--gin_file={name}'
    folders = [os.path.dirname(self._open[-1])] if self._open else []
    path = self.Find(name, folders)
    if path is None:
      raise GinError(f'{asker}: no such file' + self._NearestFile(name, folders))
    if path in self._open:
      raise GinError(f'{asker}: the file includes itself')
    if tf.io.gfile.stat(path).length > _MAX_BYTES:
      raise GinError(f'{asker}: over {_MAX_BYTES:,} bytes, so no Gin file')
    try:
      with tf.io.gfile.GFile(path, 'r') as f:
        text = f.read()
    except UnicodeDecodeError as e:
      raise GinError(f'{asker}: not a text file, expected UTF-8') from e
    self._open.append(path)
    self._Parse(text, lambda line: f'{Shown(path)}:{line}')
    self._open.pop()

  def ReadText(self, text):
    """Reads the text of one --gin_bindings flag, of one or several lines."""
    several = '\n' in text.strip()
    self._Parse(text, lambda line: f'{BINDINGS}:{line}' if several else BINDINGS)

  def _Parse(self, text, place):
    """Appends the statements of `text`; `place` gives the place of a line's number."""
    try:
      parser = config_parser.ConfigParser(io.StringIO(text), _Delegate())
      for statement in parser:
        self._Add(statement, place(statement.location.line_num))
    except tokenize.TokenError as e:
      number = min(e.args[1][0], max(1, text.count('\n') + 1))
      line = text.split('\n')[number - 1] or text
      raise GinError(f'{place(number)}: {" ".join(line.split())}: syntax error: {e.args[0]}') from e
    except SyntaxError as e:
      lines = (text.split('\n') + [''])[: e.lineno or 1]
      # A statement that ends too early is reported at the line after it.
      line = ' '.join(((e.text or '').strip() or lines[-1].strip() or (lines[-2:-1] or [''])[0]).split())
      raise GinError(f'{place(e.lineno or 1)}: {line}: syntax error: {_SyntaxHint(e)}') from e
    except GinError:
      raise
    except (RecursionError, MemoryError) as e:
      raise GinError(f'{place(1)}: {" ".join(text.split())[:80]}: nested too deeply') from e
    except (TypeError, ValueError) as e:  # A dict whose key is a list or a dict; a null byte.
      raise GinError(f'{place(1)}: {" ".join(text.split())[:80]}: {e}') from e

  def _Add(self, statement, place):
    """Takes one parsed statement in."""
    if isinstance(statement, config_parser.ImportStatement):
      raise GinError(
        f'{place}: {statement.format()}: a Gin file may not import '
        'Python; register the experiment under params/ instead'
      )
    if isinstance(statement, config_parser.IncludeStatement):
      self.ReadFile(statement.filename, f'{place}: include {statement.filename!r}')
    elif isinstance(statement, config_parser.BindingStatement):
      scope, selector, arg = statement.scope, statement.selector, statement.arg_name
      binding = bindings.Binding(scope, selector, arg, statement.value, place, self._user)
      for part in bindings.Walk(binding.value):
        if isinstance(part, bindings.Reference):
          raise binding.Error(f'{part} refers to code; expected a plain value or a %MACRO')
      self.bindings.append(binding)
    # A BlockDeclaration needs nothing: its bindings follow as statements.

  def _Candidates(self, name, folders=()):
    """Paths at which the file `name` may be, best first, each once."""
    if os.path.isabs(name) or '://' in name:
      return [name]
    folders = ['', *folders, *self._search_paths, shipped.ROOT]
    return list(dict.fromkeys(os.path.join(f, name) for f in folders))

  def _NearestFile(self, name, folders):
    """`; did you mean ...?` among the Gin files where `name` was looked for."""
    base = os.path.basename(name)
    found = {}  # Base name -> name to give instead.
    for path in self._Candidates(name, folders):
      for other in FilesBeside(path):
        found.setdefault(other, os.path.join(os.path.dirname(name), other))
    for other in FilesBeside(os.path.join(shipped.ROOT, 'params', 'gin', base)):
      found.setdefault(other, os.path.join('params', 'gin', other))
    base = base if base.endswith('.gin') else base + '.gin'
    nearest = suggest.Nearest(base, found)
    if nearest:
      return DidYouMean(found[nearest])
    return f'; looked for {suggest.Some(self._Candidates(name, folders))}'


def Shown(path):
  """A file's path for messages: short if it is in the checkout."""
  return os.path.relpath(path, shipped.ROOT) if path.startswith(shipped.ROOT + os.sep) else path


def FilesBeside(path):
  """Sorted base names of the Gin files in the folder of `path`."""
  folder = os.path.dirname(path) or '.'
  if not tf.io.gfile.isdir(folder):
    return []
  return sorted(f for f in tf.io.gfile.listdir(folder) if f.endswith('.gin'))


def RewriteGinArgs(argv):
  """Turns `--gin.NAME=VALUE` into `--gin_bindings=NAME = VALUE`.

  A VALUE that is no Gin value, such as a bare word, is taken for a string and quoted:
  `--gin.BestRqPretrain.size=base` binds 'base'. What starts like a Gin value (a
  quote, a bracket, `%`, `@`) is never quoted. Arguments after `--` stay.

  Args:
    argv: List of arguments.

  Returns:
    A new list.

  Raises:
    GinError: `--gin.NAME` without `=VALUE`.
  """
  rewritten = []
  for i, arg in enumerate(argv):
    if arg == '--':
      return rewritten + list(argv[i:])
    if arg.startswith('--gin.'):
      name, equals, value = arg[len('--gin.') :].partition('=')
      if not equals:
        raise GinError(f'{arg}: expected --gin.NAME=VALUE')
      value = value.strip()
      if not (value[:1] in tuple('\'"([{%@') or _IsValue(value)):
        value = repr(value)
      arg = f'{BINDINGS}={name} = {value}'
    rewritten.append(arg)
  return rewritten


def _IsValue(text):
  """Whether Gin parses the whole text as one value."""
  try:
    statements = list(config_parser.ConfigParser(f'name = {text}\n', _Delegate()))
  except (SyntaxError, tokenize.TokenError):
    return False
  return len(statements) == 1 and bool(text)


def _SyntaxHint(error):
  """One line for what Gin's parser said."""
  message = error.msg.strip()
  _, failed, token = message.partition('Failed to parse token ')
  if not failed:
    return ' '.join(message.split())
  word = token.strip()[1:-1]
  constant = {'true': 'True', 'false': 'False', 'none': 'None', 'null': 'None'}
  if word.lower() in constant:
    return f'{word} is no Gin value; did you mean {constant[word.lower()]}?'
  return f'{word} is no Gin value; a string needs quotes: {word!r}'
