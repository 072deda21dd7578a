"""Params of one data stream: their checks, and the shards that they name."""

import os
import re

from lingvo import compat as tf
from lingvo.core import hyperparams

from fm_lingvo import errors
from fm_lingvo.runtime import session


def StreamParams():
  """Returns the Params of one stream; `HydraInput` holds one per name."""
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
    'Uses only examples whose whole domain matches this RE2 expression, '
    'such as prompts/(en|es) or synth/.*; empty: all. A selection, so '
    'the others are not counted as dropped.',
  )
  p.Define(
    'labeled', False, 'Whether the stream needs transcripts: examples without are dropped and counted as unlabeled.'
  )
  p.Define(
    'share',
    1.0,
    'Share, in (0, 1], of the examples that is used, chosen by a hash of '
    'utt_id: a smaller share is a part of every larger one. A selection, so '
    'the others are not counted as dropped.',
  )
  p.Define('share_seed', 0, 'Seed of that hash, an integer >= 0.')
  p.Define('tokenizer_file', '', 'SentencePiece model that turns transcripts into labels; empty: none.')
  p.Define(
    'max_chars_per_second',
    30.0,
    'With labels, examples with more characters than this times their '
    "bucket's upper bound are dropped and counted as too_many_labels; > 0. "
    'It bounds U, for a label stands for a character or more; so '
    'pad_to_bucket refuses tokenizers with pieces of bytes.',
  )
  p.Define('augment', None, 'augment.Params() of what is done to training waveforms; None: nothing.')
  p.Define(
    'batch_size', None, 'Utterances in a batch per device split, > 0, in all buckets; None: bucket_batch_size says it.'
  )
  p.Define(
    'bucket_upper_bound_seconds',
    [4.0, 8.0, 16.0],
    'Ascending upper bounds of the length buckets; longer examples than the last are dropped and counted as too_long.',
  )
  p.Define(
    'bucket_batch_size',
    None,
    'Utterances in a batch per device split, one number per bucket; None: batch_size in each. One of the two is given.',
  )
  p.Define('min_seconds', 0.1, 'Shorter examples are dropped and counted as too_short; >= 0.')
  p.Define(
    'shuffle',
    None,
    'Whether to shuffle files and examples, anew in each epoch; None: in training yes, in evaluation no.',
  )
  p.Define('shuffle_buffer_size', 1024, 'Examples that the shuffle draws from, > 0; 10 s take 320 kB each.')
  p.Define(
    'seed', None, "Seed of the order, an integer >= 0; None: from the input's random_seed and the stream's name."
  )
  p.Define('num_readers', 2, 'Files read at a time, > 0.')
  p.Define(
    'max_damaged_records',
    100,
    'Records, an integer >= 0, that may be lost to damaged and missing shards: '
    'they are left out and counted as damaged; more end the run.',
  )
  return p


def _RegexProblem(pattern):
  """Why TensorFlow's regular expressions refuse a pattern; '' if they do not."""
  with tf.Graph().as_default(), tf.Session(config=session.Config()) as sess:
    try:
      sess.run(tf.strings.regex_full_match('', pattern))
    except tf.errors.InvalidArgumentError as e:
      return errors.Reason(e)
  return ''


def Validate(path, p):
  """Raises ValueError, one line with field and value, if `p` is unusable.

  Args:
    path: Where the stream's Params are, such as 'input.streams.unlabeled'.
    p: A StreamParams().
  """

  def Check(ok, field, expected):
    if not ok:
      raise errors.ConfigError(f'{path}.{field} = {p.Get(field)!r}: expected {expected}')

  patterns = Patterns(p)
  Check(patterns and all(isinstance(x, str) and x for x in patterns), 'file_pattern', 'a glob or a list of globs')
  if p.domain_regex:
    problem = _RegexProblem(p.domain_regex)
    Check(not problem, 'domain_regex', f'a regular expression of RE2 ({problem})')
  Check(p.shuffle in (None, True, False), 'shuffle', 'None, True or False')
  Check(0 < p.share <= 1, 'share', 'a share in (0, 1]')
  Check(_IsInt(p.share_seed) and p.share_seed >= 0, 'share_seed', 'an integer >= 0')
  Check(p.max_chars_per_second > 0, 'max_chars_per_second', '> 0')
  Check(p.labeled or not p.tokenizer_file, 'labeled', 'True, since tokenizer_file is set')
  Check(p.batch_size is None or (_IsInt(p.batch_size) and p.batch_size > 0), 'batch_size', 'an integer > 0')
  Check(
    (p.batch_size is None) != (p.bucket_batch_size is None),
    'batch_size',
    'a number of utterances where bucket_batch_size is None, None where it is given',
  )
  for field in ('shuffle_buffer_size', 'num_readers'):
    Check(_IsInt(p.Get(field)) and p.Get(field) > 0, field, 'an integer > 0')
  Check(_IsInt(p.max_damaged_records) and p.max_damaged_records >= 0, 'max_damaged_records', 'an integer >= 0')
  Check(p.seed is None or (_IsInt(p.seed) and p.seed >= 0), 'seed', 'None or an integer >= 0')
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
    or (isinstance(sizes, (list, tuple)) and len(sizes) == len(bounds) and all(_IsInt(b) and b > 0 for b in sizes)),
    'bucket_batch_size',
    f'None or {len(bounds)} integers > 0, one for each of bucket_upper_bound_seconds',
  )
  Check(
    0 <= p.min_seconds <= bounds[-1], 'min_seconds', f'>= 0 and <= {bounds[-1]}, the last of bucket_upper_bound_seconds'
  )


def _IsInt(value):
  return isinstance(value, int) and not isinstance(value, bool)


def Patterns(p):
  """Returns the list of globs of a StreamParams."""
  return [p.file_pattern] if isinstance(p.file_pattern, str) else list(p.file_pattern)


def Glob(pattern):
  """Files that match, without those in hidden folders: data sets being made."""
  hidden = re.compile(r'(^|/)\.[^./]')
  return [f for f in tf.io.gfile.glob(pattern) if hidden.search(pattern) or not hidden.search(f)]


def ListFiles(path, p):
  """Returns the sorted shards of a stream.

  Args:
    path: Where the stream's Params are, for the error.
    p: A StreamParams().

  Raises:
    ValueError: if a pattern matches nothing, with what there is instead.
  """
  files = set()
  for pattern in Patterns(p):
    found = Glob(pattern)
    if not found:
      raise errors.ConfigError(f'{path}.file_pattern = {pattern!r}: {_WhyEmpty(pattern)}')
    files.update(found)
  return sorted(files)


def _WhyEmpty(pattern):
  """Says what exists where `pattern` finds nothing."""
  folder = os.path.dirname(pattern) or '.'
  if '://' not in pattern and not any(c in folder for c in '*?['):
    if os.path.isdir(folder):
      shards = sorted(f for f in os.listdir(folder) if not f.startswith('.'))
      shown = ', '.join(shards[:3]) + (', ...' if len(shards) > 3 else '')
      return f'no such file; the directory {folder} exists and holds {shown or "nothing"}'
    nearest = folder
    while nearest and not os.path.isdir(nearest):
      nearest = os.path.dirname(nearest)
    return f'no such file; the directory {folder} does not exist, the nearest that does is {nearest or os.getcwd()}'
  return 'no such file'
