"""Runs the data preparation with Apache Beam: its flags, its log lines and its runner."""

import contextlib
import logging
import os
import sys

logging.disable(logging.WARNING)  # Beam warns that crcmod is missing even if google-crc32c is installed.
import apache_beam as beam
from apache_beam.options import pipeline_options

logging.disable(logging.NOTSET)

from fm_lingvo.utils import suggest

from ..common import exit_codes
from . import shards


def CheckFlags(args, known):
  """Checks that flags belong to Beam, which would ignore a misspelled one.

  Args:
    args: Flags that absl does not know.
    known: Names of the flags that absl knows, for the suggestion in the error.

  Returns:
    `args`.

  Raises:
    exit_codes.UsageError: A flag is unknown; the message has the nearest name.
  """
  if not args:
    return args  # get_all_options imports all of Beam.
  names = set(pipeline_options.PipelineOptions([]).get_all_options()) | {'runner'}
  for arg in args:
    if not arg.startswith('--'):
      raise exit_codes.UsageError(f'{arg}: expected flags only')
    name = arg[2:].split('=')[0]
    option = name.replace('-', '_')
    if option not in names and option.removeprefix('no_') not in names:
      raise exit_codes.UsageError(f'--{name}: no such flag{suggest.Hint(name, names | set(known))}')
  return args


def Run(shard_names, staging, limits, key, beam_args):
  """Writes the shards of a data set.

  Args:
    shard_names: Names of the shards, which shards.WriteListings returned.
    staging: Folder of the listings and the shards.
    limits: shards.Limits.
    key: That of the listings.
    beam_args: Flags for Beam.

  Raises:
    exit_codes.UsageError: There is no such runner.
  """
  if logging.getLogger('apache_beam').level == logging.NOTSET:
    logging.getLogger('apache_beam').setLevel(logging.WARNING)  # INFO logs every channel that is opened.
  for name in ('common', 'worker.bundle_processor', 'worker.sdk_worker', 'worker.data_plane'):
    # Errors that these loggers print are raised, too.
    logging.getLogger(f'apache_beam.runners.{name}').setLevel(logging.CRITICAL)
  options = pipeline_options.PipelineOptions(beam_args)
  runner = options.view_as(pipeline_options.StandardOptions).runner
  if runner in (None, 'DirectRunner'):
    # Beam's DirectRunner first tries to download and start the Prism runner, then falls back to this one.
    from apache_beam.runners.portability import fn_api_runner

    runner = fn_api_runner.FnApiRunner()
    direct = options.view_as(pipeline_options.DirectOptions)
    if not any(arg.startswith(('--direct_num_workers', '--direct_running_mode')) for arg in beam_args):
      # Threads suffice: decoders, resamplers and synthesisers release Python's global lock.
      direct.direct_running_mode = 'multi_threading'
      direct.direct_num_workers = min(os.cpu_count() or 1, 8)
  try:
    pipeline = beam.Pipeline(runner=runner, options=options)
  except ValueError as e:
    raise exit_codes.UsageError(f'--runner={runner}: {" ".join(str(e).split())}') from e
  with contextlib.redirect_stderr(_RaisedAnyway(sys.stderr)), pipeline as p:
    _ = (
      p
      | 'Shards' >> beam.Create(shard_names)
      | 'Spread' >> beam.Reshuffle()
      | 'WriteShard' >> beam.ParDo(shards.WriteShard(staging, limits, key))
    )


class _RaisedAnyway:
  """Wraps standard error to drop the tracebacks that Beam's workers print: the raised error contains them."""

  def __init__(self, stream):
    self._stream, self._dropped = stream, False

  def __getattr__(self, name):
    return getattr(self._stream, name)

  def write(self, text):
    self._dropped = text.startswith('Traceback (most recent call last):') or (self._dropped and text == '\n')
    return len(text) if self._dropped else self._stream.write(text)
