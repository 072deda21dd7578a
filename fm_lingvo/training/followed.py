"""Shows a run in TensorBoard's tab HParams and in experiment trackers while it trains."""

import contextlib

from fm_lingvo import errors
from fm_lingvo.run_files import dashboard
from fm_lingvo.run_files import trackers


def Loggers(flags, is_cluster):
  """Returns the names of trackers in --logger.

  Raises:
    errors.ConfigError: There is no such tracker, its package is not installed, or the job is a cluster's.
  """
  names = trackers.Names(flags.logger)
  if names and is_cluster:
    raise errors.ConfigError(f'--logger={flags.logger}: only local runs have trackers')
  return names


@contextlib.contextmanager
def Followed(logdir, settings, loggers, rows, is_new):
  """Context of a run's training.

  Args:
    logdir: Folder of the run.
    settings: What the run is compared by, see dashboard.Compared.
    loggers: Names of trackers.
    rows: The run's metrics_log.MetricsLog, which the trackers follow.
    is_new: Whether the run starts here, not resumes.
  """
  if is_new:  # TensorBoard keeps the first of each.
    dashboard.Write(logdir, dashboard.RunStart(logdir, settings), 'start')
  followers = trackers.Trackers(loggers, logdir, settings)
  rows.Follow(followers.Log)
  try:
    yield
  except BaseException:
    followers.End(False)
    raise
  followers.End(True)
  dashboard.Write(logdir, dashboard.RunEnd(), 'end')
