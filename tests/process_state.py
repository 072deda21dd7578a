"""What tests of one process share beside files; conftest.py restores it after each test."""

import contextlib
import logging
import os
import signal
import sys
import warnings

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGALRM, signal.SIGUSR1)
_LOGGERS = ('', 'absl', 'tensorflow')
_PROJECT = ('fm_lingvo.', 'params.', 'tools.')
# Tables: (module, the table's name).
_TABLES = (('fm_lingvo.config.user_modules', '_imported'), ('fm_lingvo.data.shard_integrity', '_known'))
# How the process computes, as a run sets it: (module, the object's name, attributes).
_SETTINGS = ('fm_lingvo.runtime.computing', 'SETTINGS', ('parts', 'operation_threads', 'deterministic'))


@contextlib.contextmanager
def Restored():
  """Context after which the state of the process is as before it, whatever was called or imported in between."""
  restore = [
    function()
    for function in (_Files, _Flags, _Tables, _Settings, _Configured, _Importers, _Signals, _Logging, _Warnings)
  ]
  try:
    yield
  finally:
    for undo in restore:
      undo()


def _Files():
  environ, path, folder = dict(os.environ), list(sys.path), os.getcwd()

  def _Undo():
    os.chdir(folder)
    sys.path[:] = path
    if dict(os.environ) != environ:
      os.environ.clear()
      os.environ.update(environ)

  return _Undo


def _Flags():
  """Values of the flags; those that are defined since keep theirs."""
  from absl import flags
  from absl.testing import flagsaver

  before, parsed = flagsaver.save_flag_values(flags.FLAGS), flags.FLAGS.is_parsed()

  def _Undo():
    defined_since = {n: v for n, v in flagsaver.save_flag_values(flags.FLAGS).items() if n not in before}
    flagsaver.restore_flag_values({**defined_since, **before})
    if parsed and not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()

  return _Undo


def _Tables():
  before = {key: dict(getattr(sys.modules[key[0]], key[1])) for key in _TABLES if key[0] in sys.modules}

  def _Undo():
    for (module, name), values in before.items():
      table = getattr(sys.modules[module], name)
      if table != values:
        table.clear()
        table.update(values)

  return _Undo


def _Settings():
  module, name, attributes = _SETTINGS
  settings = getattr(sys.modules.get(module), name, None)
  before = {key: getattr(settings, key) for key in attributes} if settings else {}

  def _Undo():
    for key, value in before.items():
      setattr(settings, key, value)

  return _Undo


def _Configured():
  """Gin's bindings. Experiments stay registered, since Gin cannot forget a class: their names differ in all tests."""
  configured = _IsConfigured()

  def _Undo():
    if _IsConfigured() and not configured:  # A whole class may have one configuration.
      sys.modules['fm_lingvo.config.gin_config'].Reset()

  return _Undo


def _Importers():
  """Importers of tests; those of the project stay, for they are registered once, when imported."""
  importers = sys.modules.get('fm_lingvo.data.importers')
  before = set(importers._registered) if importers else set()

  def _Undo():
    for name in set(importers._registered) - before if importers else ():
      if not importers._registered[name].function.__module__.startswith(_PROJECT):
        del importers._registered[name]

  return _Undo


def _IsConfigured():
  gin_config = sys.modules.get('fm_lingvo.config.gin_config')
  return gin_config is not None and gin_config._config is not None


def _Signals():
  before = {number: signal.getsignal(number) for number in _SIGNALS}

  def _Undo():
    for number, handler in before.items():
      if signal.getsignal(number) is not handler:
        signal.signal(number, handler)

  return _Undo


def _Logging():
  before = {name: (logging.getLogger(name).level, list(logging.getLogger(name).handlers)) for name in _LOGGERS}

  def _Undo():
    for name, (level, handlers) in before.items():
      logger = logging.getLogger(name)
      if logger.level != level:
        logger.setLevel(level)
      logger.handlers[:] = handlers

  return _Undo


def _Warnings():
  before = list(warnings.filters)

  def _Undo():
    if warnings.filters != before:
      warnings.filters[:] = before

  return _Undo
