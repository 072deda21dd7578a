"""Parses Gin files and bindings into statements with their source locations.

Gin's own parser defines the grammar. Gin's evaluation is not used: it looks up names
before the Params tree that defines them exists, and its errors span many lines.
"""

import io
import os
import tokenize

from gin import config_parser
from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.config import bindings
from fm_lingvo.config import spelling
from fm_lingvo.config import value_types
from fm_lingvo.utils import files
from fm_lingvo.utils import shipped
from fm_lingvo.utils import suggest

GinError = errors.GinError
DidYouMean = suggest.DidYouMean

BINDINGS = spelling.FLAG
_MAX_BYTES = 1_000_000


class _Delegate(config_parser.ParserDelegate):
  """Keeps references and macros unevaluated."""

  def configurable_reference(self, scoped_configurable_name, evaluate):
    call = '()' if evaluate else ''
    return bindings.Reference(f'@{scoped_configurable_name}{call}')

  def macro(self, scoped_name):
    return bindings.Macro(scoped_name)


class Reader:
  """Reads Gin files and binding strings into one list of Bindings."""

  def __init__(self, search_paths=(), user=True):
    """Creates a reader without bindings.

    Args:
      search_paths: Folders to search for files, after the working directory and
        before the checkout.
      user: See Binding.

    Raises:
      GinError: A folder does not exist.
    """
    self.bindings = []
    self._search_paths = [files.ExpandUser(os.fspath(p)) for p in search_paths]
    for path in self._search_paths:
      if not files.IsFolder(path):
        raise GinError(f'--gin_search_paths={path}: no such folder')
    self._user = user
    self._open = []  # Paths of the files being read, outermost first.

  def Find(self, name, folders=()):
    """Returns the path of a Gin file: `name` itself, then in `folders`, then in the search paths; None if missing."""
    return next(filter(files.IsFile, self._Candidates(name, folders)), None)

  def ReadFile(self, name, asker=None):
    """Reads a file and the files that it includes.

    Args:
      name: File name as the user gave it.
      asker: What requested the file, for messages; the flag by default.
    """
    asker = asker or f'--gin_file={name}'
    folders = [os.path.dirname(self._open[-1])] if self._open else []
    path = self.Find(name, folders)
    if path is None:
      raise GinError(f'{asker}: no such file' + self._NearestFile(name, folders))
    if path in self._open:
      raise GinError(f'{asker}: the file includes itself')
    try:
      if tf.io.gfile.stat(path).length > _MAX_BYTES:
        raise GinError(f'{asker}: over {_MAX_BYTES:,} bytes; not a Gin file')
      with tf.io.gfile.GFile(path, 'r') as f:
        text = f.read().removeprefix('\ufeff')  # The byte order mark of some editors.
    except tf.errors.OpError as e:
      raise GinError(f'{asker}: cannot be read ({errors.Reason(e)})') from e
    except UnicodeDecodeError as e:
      raise GinError(f'{asker}: not a text file, expected UTF-8') from e
    self._open.append(path)
    self._Parse(text, lambda line: f'{Shown(path)}:{line}')
    self._open.pop()

  def ReadText(self, text):
    """Reads the text of one --gin_bindings flag, which may have several lines."""
    several = '\n' in text.strip()
    self._Parse(text, lambda line: f'{BINDINGS}:{line}' if several else BINDINGS)

  def _Parse(self, text, place):
    """Appends the statements of `text`; `place` maps a line number to its source location."""
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
      raise GinError(f'{place(e.lineno or 1)}: {line}: syntax error: {_SyntaxHint(e, line)}') from e
    except GinError:
      raise
    except (RecursionError, MemoryError) as e:
      raise GinError(f'{place(1)}: {" ".join(text.split())[:80]}: nested too deeply') from e
    except (TypeError, ValueError) as e:  # A dict whose key is a list or a dict; a null byte.
      raise GinError(f'{place(1)}: {" ".join(text.split())[:80]}: {e}') from e

  def _Add(self, statement, place):
    """Adds one parsed statement."""
    if isinstance(statement, config_parser.ImportStatement):
      raise GinError(
        f'{place}: {statement.format()}: a Gin file must not import '
        'Python; --import_module imports your own experiments'
      )
    if isinstance(statement, config_parser.IncludeStatement):
      self.ReadFile(statement.filename, f'{place}: include {statement.filename!r}')
    elif isinstance(statement, config_parser.BindingStatement):
      scope, selector, arg = statement.scope, statement.selector, statement.arg_name
      binding = bindings.Binding(scope, selector, arg, _ExpandPaths(statement.value), place, self._user)
      for part in bindings.Walk(binding.value):
        if isinstance(part, bindings.Reference):
          raise binding.Error(f'{part} refers to code; expected a plain value or a %MACRO')
      self.bindings.append(binding)
    # A BlockDeclaration is ignored: its bindings follow as statements of their own.

  def _Candidates(self, name, folders=()):
    """Returns the paths to try for the file `name`, in order, without duplicates."""
    name = files.ExpandUser(name)
    if os.path.isabs(name) or files.IsRemote(name):
      return [name]
    folders = ['', *folders, *self._search_paths, shipped.ROOT]
    return list(dict.fromkeys(os.path.join(f, name) for f in folders))

  def _NearestFile(self, name, folders):
    """Returns `; did you mean ...?` with the nearest Gin file in the folders that were searched."""
    base = os.path.basename(name)
    suggestions = {}  # Base name -> file name to suggest.
    for path in self._Candidates(name, folders):
      for other in FilesBeside(path):
        suggestions.setdefault(other, os.path.join(os.path.dirname(name), other))
    for other in FilesBeside(os.path.join(shipped.ROOT, 'params', 'gin', base)):
      suggestions.setdefault(other, os.path.join('params', 'gin', other))
    base = base if base.endswith('.gin') else base + '.gin'
    nearest = suggest.Nearest(base, suggestions)
    if nearest:
      return DidYouMean(suggestions[nearest])
    return f'; searched {suggest.Some(self._Candidates(name, folders))}'


def ReadAll(gin_files, gin_bindings=(), search_paths=()):
  """Returns the list of Bindings in Gin files, then in binding strings.

  Raises:
    GinError: A file or binding cannot be read.
  """
  try:
    reader = Reader(search_paths)
    for name in gin_files:
      reader.ReadFile(name)
    for text in gin_bindings:
      reader.ReadText(text)
  except GinError:
    raise
  except errors.ConfigError as e:  # Of a remote file system.
    raise GinError(e) from e
  return reader.bindings


def _ExpandPaths(value):
  """Returns a Gin value with each string that begins with `~`, which is a path, as files.ExpandUser returns it."""
  if isinstance(value, str):
    return files.ExpandUser(value)
  if isinstance(value, dict):
    return {_ExpandPaths(key): _ExpandPaths(part) for key, part in value.items()}
  if isinstance(value, (list, tuple)):
    return type(value)(map(_ExpandPaths, value))
  return value


def Shown(path):
  """Returns a path for messages: relative to the checkout if the file is in it."""
  return os.path.relpath(path, shipped.ROOT) if path.startswith(shipped.ROOT + os.sep) else path


def FilesBeside(path):
  """Returns the sorted base names of the Gin files in the folder of `path`."""
  folder = os.path.dirname(path) or '.'
  if not tf.io.gfile.isdir(folder):
    return []
  return sorted(f for f in files.List(folder) if f.endswith('.gin'))


def RewriteGinArgs(argv):
  """Turns `--gin.NAME=VALUE` into `--gin_bindings=NAME = VALUE`.

  A VALUE that is not a Gin value, such as a bare word, is quoted as a string:
  `--gin.BestRqPretrain.size=base` binds 'base'. A VALUE that starts like a Gin value (a
  quote, a bracket, `%`, `@`) is never quoted. Arguments after `--` are not changed.

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
  """Whether Gin parses the whole text as a single value."""
  try:
    statements = list(config_parser.ConfigParser(f'name = {text}\n', _Delegate()))
  except (SyntaxError, tokenize.TokenError):
    return False
  return len(statements) == 1 and bool(text)


def _SyntaxHint(error, line):
  """Returns the message of Gin's parser in one line, with a hint for common mistakes.

  Args:
    error: The SyntaxError.
    line: The line with the mistake.
  """
  message = error.msg.strip()
  value = line.partition('=')[2].strip()
  number = spelling.Number(value)  # First: the parser calls 010 a token that fails from Python 3.12 on only.
  if number is not None:
    return f'{value} is not a Gin value; did you mean {number}?'
  _, failed, token = message.partition('Failed to parse token ')
  if failed:
    word = token.strip()[1:-1]
    constant = spelling.Constant(word)
    if constant:
      return f'{word} is not a Gin value; did you mean {constant}?'
    elements = spelling.Sequence(value) if value[:1] in ('(', '[') else None
    if elements is not None:  # With the brackets as they are written.
      elements = tuple(elements) if value[0] == '(' else elements
      return f'{word} is not a Gin value; a string needs quotes: {value_types.Literal(elements)}'
    return f'{word} is not a Gin value; a string needs quotes: {word!r}'
  if message.startswith('Unable to parse value'):
    if not value:
      return 'expected a value after ='
    return f'{value} is not a Gin value; a string needs quotes: {value!r}'
  return ' '.join(message.split())
