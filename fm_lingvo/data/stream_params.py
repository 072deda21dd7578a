"""Params of one data stream: definition, range checks, and the list of shards."""

import os
import re

from lingvo import compat as tf
from lingvo.core import hyperparams

from fm_lingvo import errors
from fm_lingvo.data import waveform_augment
from fm_lingvo.runtime import session
from fm_lingvo.utils import files
from fm_lingvo.utils import ranges
from fm_lingvo.utils import seeds


def StreamParams():
  """Returns the Params of one stream; `HydraInput` has one per stream name."""
  p = hyperparams.Params()
  p.Define(
    'file_pattern',
    '',
    'Glob, or list of globs, of TFRecord shards of tf.train.Example '
    'with utt_id, audio (16 kHz mono PCM16, little endian), text, domain.',
  )
  p.Define(
    'domain_regex',
    '',
    'RE2 expression that selects the examples whose whole domain matches, '
    'such as prompts/(en|es) or synth/.*; empty: all. Other examples are '
    'not counted as dropped.',
  )
  p.Define(
    'labeled', False, 'Whether transcripts are required: examples without one are dropped and counted as unlabeled.'
  )
  p.Define(
    'share',
    1.0,
    'Share of the examples to use, in (0, 1], selected by a hash of utt_id: '
    'a smaller share is a subset of every larger one. Other examples are '
    'not counted as dropped.',
  )
  p.Define('share_seed', 0, 'Seed of the hash for share, an integer >= 0.')
  p.Define(
    'tokenizer_file', '', 'Path of the SentencePiece model that converts transcripts to labels; empty: no labels.'
  )
  p.Define(
    'max_chars_per_second',
    30.0,
    'With labels: examples with more characters than this, > 0, times their '
    "bucket's upper bound are dropped and counted as too_many_labels. This "
    'bounds U, since a label stands for at least one character; pad_to_bucket '
    'therefore rejects tokenizers with byte pieces.',
  )
  p.Define('augment', None, 'waveform_augment.Params() for training waveforms; None: no augmentation.')
  p.Define(
    'batch_size', None, 'Utterances in a batch per device split, > 0, in all buckets; None: set by bucket_batch_size.'
  )
  p.Define(
    'bucket_upper_bound_seconds',
    [4.0, 8.0, 16.0],
    'Upper bounds of the length buckets in seconds, ascending; longer examples are cut (see cut_too_long), or dropped '
    'and counted as too_long.',
  )
  p.Define(
    'bucket_batch_size',
    None,
    'Utterances in a batch per device split, > 0, a list with one number per bucket; None: batch_size in each bucket.',
  )
  p.Define(
    'min_seconds', 0.1, 'Minimum length in seconds, >= 0; shorter examples are dropped and counted as too_short.'
  )
  p.Define(
    'cut_too_long',
    None,
    'Whether longer examples than the last bucket are cut at quiet places and counted as cut, not as dropped; without '
    'labels only, since a transcript cannot be cut. None: True without labels.',
  )
  p.Define(
    'shuffle',
    None,
    'Whether to shuffle files and examples in each epoch; None: True in training, False in evaluation.',
  )
  p.Define('shuffle_buffer_size', 1024, 'Examples in the shuffle buffer, > 0; an example of 10 s takes 320 kB.')
  p.Define(
    'seed',
    None,
    "Seed of the order, an integer >= 0; None: derived from the input's random_seed and the stream's name.",
  )
  p.Define('num_readers', 2, 'Files that are read in parallel, > 0.')
  p.Define(
    'max_damaged_records',
    100,
    'Records in damaged and missing shards that are tolerated, an integer >= 0: '
    'they are skipped and counted as damaged. More of them end the run.',
  )
  return p


def _RegexProblem(pattern):
  """Returns why a pattern is not a valid RE2 expression; '' if it is valid."""
  with tf.Graph().as_default(), tf.Session(config=session.Config()) as sess:
    try:
      sess.run(tf.strings.regex_full_match('', pattern))
    except tf.errors.InvalidArgumentError as e:
      return errors.Reason(e)
  return ''


def Validate(path, p):
  """Raises errors.ConfigError, one line with field and value, if `p` is invalid.

  Args:
    path: Path of the stream's Params, such as 'input.streams.unlabeled'.
    p: A StreamParams().
  """

  def Check(ok, field, expected):
    if not ok:
      raise errors.ConfigError(f'{path}.{field} = {p.Get(field)!r}: expected {expected}')

  patterns = Patterns(p)
  Check(patterns and all(isinstance(x, str) and x for x in patterns), 'file_pattern', 'a glob or a list of globs')
  if p.domain_regex:
    problem = _RegexProblem(p.domain_regex)
    Check(not problem, 'domain_regex', f'an RE2 regular expression ({problem})')
  Check(p.shuffle in (None, True, False), 'shuffle', 'None, True or False')
  Check(0 < p.share <= 1, 'share', 'a share in (0, 1]')
  seeds.Check(f'{path}.share_seed', p.share_seed, none=False)
  Check(p.max_chars_per_second > 0, 'max_chars_per_second', '> 0')
  Check(p.labeled or not p.tokenizer_file, 'labeled', 'True, since tokenizer_file is set')
  Check(p.batch_size is None or ranges.IsWhole(p.batch_size, 1), 'batch_size', 'an integer > 0')
  Check(
    (p.batch_size is None) != (p.bucket_batch_size is None),
    'batch_size',
    'a number of utterances if bucket_batch_size is None, else None',
  )
  for field in ('shuffle_buffer_size', 'num_readers'):
    Check(ranges.IsWhole(p.Get(field), 1), field, 'an integer > 0')
  Check(ranges.IsWhole(p.max_damaged_records, 0), 'max_damaged_records', 'an integer >= 0')
  seeds.Check(f'{path}.seed', p.seed)
  bounds = p.bucket_upper_bound_seconds
  Check(
    isinstance(bounds, (list, tuple))
    and bounds
    and all(isinstance(b, (int, float)) and b > 0 for b in bounds)
    and all(a < b for a, b in zip(bounds, bounds[1:])),
    'bucket_upper_bound_seconds',
    'an ascending list of seconds > 0',
  )
  sizes = p.bucket_batch_size
  Check(
    sizes is None
    or (isinstance(sizes, (list, tuple)) and len(sizes) == len(bounds) and all(ranges.IsWhole(b, 1) for b in sizes)),
    'bucket_batch_size',
    f'None or {len(bounds)} integers > 0, one for each of bucket_upper_bound_seconds',
  )
  Check(p.cut_too_long in (None, True, False), 'cut_too_long', 'None, True or False')
  Check(
    not (p.labeled and p.cut_too_long),
    'cut_too_long',
    'None or False, since the stream has labels, which cannot be cut',
  )
  if Cuts(p):
    Check(bounds[-1] >= 0.02, 'bucket_upper_bound_seconds', 'a last bound >= 0.02, or cut_too_long = False')
  Check(
    0 <= p.min_seconds <= bounds[-1], 'min_seconds', f'>= 0 and <= {bounds[-1]}, the last of bucket_upper_bound_seconds'
  )


def Idle(p):
  """The params of a stream that have no effect with the values of the others; see config/idle.py."""
  idle = {} if p.share < 1 else {'share_seed': 'with share = 1'}
  if p.shuffle is False:
    idle.update(shuffle_buffer_size='with shuffle = False')
  if not p.tokenizer_file:
    idle.update(max_chars_per_second='without tokenizer_file')
  if p.augment is not None:
    idle.update({f'augment.{path}': why for path, why in waveform_augment.Idle(p.augment).items()})
  return idle


def Cuts(p):
  """Whether a stream cuts examples that are too long."""
  return not p.labeled if p.cut_too_long is None else p.cut_too_long


def Patterns(p):
  """Returns the list of globs of Params with a file_pattern."""
  return [p.file_pattern] if isinstance(p.file_pattern, str) else list(p.file_pattern)


def Glob(pattern):
  """Returns the files that match, except in hidden folders, which contain data sets that are still being prepared."""
  hidden = re.compile(r'(^|/)\.[^./]')
  found = tf.io.gfile.glob(files.LiteralFolder(pattern))
  return [f for f in found if hidden.search(pattern) or not hidden.search(f)]


def WithoutRecords(p):
  """Returns the globs of Params with a file_pattern that match no file, or empty files only."""
  return [x for x in Patterns(p) if not x or not any(tf.io.gfile.stat(f).length for f in Glob(x))]


def ListFiles(path, p):
  """Returns the sorted shards of a stream.

  Args:
    path: Path of the stream's Params, for the message.
    p: A StreamParams().

  Raises:
    errors.ConfigError: A pattern matches no file; the message describes what exists.
  """
  shards = set()
  for pattern in Patterns(p):
    found = Glob(pattern)
    if not found:
      raise errors.ConfigError(f'{path}.file_pattern = {pattern!r}: {_WhyEmpty(pattern)}')
    shards.update(found)
  return sorted(shards)


def _WhyEmpty(pattern):
  """Returns a description of what exists where `pattern` matches nothing."""
  folder = os.path.dirname(pattern) or '.'
  if not files.IsRemote(pattern) and (os.path.isdir(folder) or not any(c in folder for c in '*?[')):
    if os.path.isdir(folder):
      shards = sorted(f for f in os.listdir(folder) if not f.startswith('.'))
      shown = ', '.join(shards[:3]) + (', ...' if len(shards) > 3 else '')
      return f'no such file; the directory {folder} exists and contains {shown or "nothing"}'
    nearest = files.NearestFolder(folder)
    return f'no such file; the directory {folder} does not exist, the nearest that does is {nearest}'
  return 'no such file'
