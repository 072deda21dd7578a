"""Errors that one line tells a user, without a traceback."""


class ConfigError(ValueError):
  """A param, flag, file or checkpoint that cannot be used; the message is one line:

  what, where, what was expected. The trainer prints it and exits with code 2.
  """
