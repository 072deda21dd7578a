"""Data preparation as a function: importer -> Beam pipeline -> data set, which is written completely or not at all."""

import collections
import dataclasses
import json
import os
import sys
import time

from fm_lingvo import errors
from fm_lingvo.data import dataset
from fm_lingvo.data import normalizers
from fm_lingvo.runtime import quiet
from fm_lingvo.utils import audio as audio_format
from fm_lingvo.utils import files as file_system
from fm_lingvo.utils import suggest

from ..common import exit_codes
from . import beam_runs
from . import importers
from . import progress
from . import report as report_lib
from . import shards as shards_lib
from . import splits as splits_lib
from . import staging_dirs


class NothingAccepted(errors.RunError):
  """Every utterance was rejected; no data set was written."""


def PrepareData(
  importer,
  output,
  *,
  options=None,
  overwrite=False,
  dev_percent=5.0,
  test_percent=None,
  num_shards=4,
  require_text=None,
  normalizer=None,
  official_splits=None,
  split_by='recording',
  limits=None,
  beam_args=(),
  hash_flags=(),
):
  """Prepares a data set.

  Args:
    importer: One of importers.Names().
    output: Directory of the data set.
    options: importers.Options.
    overwrite: Whether to replace an existing output once the new data set is complete.
    dev_percent: Percentage of the utterances in the dev set.
    test_percent: Percentage of the utterances in the test set; None: the importer's default.
    num_shards: Number of shards of the train set.
    require_text: Whether to reject utterances without a transcript; None: the importer's default.
    normalizer: One of normalizers.NAMES; None: that of the source, or the importer's default, or else english if all
      transcripts are declared as English, otherwise basic.
    official_splits: Whether to use the splits that the source has; None: the importer's default. Utterances without
      one, or all, are split by a hash, see splits.Of.
    split_by: One of splits.BY: what the hash is of, and so what is never on two sides.
    limits: dict of fields of shards.Limits.
    beam_args: Flags for Beam.
    hash_flags: Names of the flags about the hash that the user gave; refused if the source has all splits.

  Returns:
    (dataset.Dataset, report): the data set as written, and the content of report.json.

  Raises:
    exit_codes.UsageError: Wrong usage.
    NothingAccepted: No utterance passed the checks; only the report is written, beside the output.
    errors.RunError: The disk failed; no partial data set is left.
  """
  started = time.time()
  options = options or importers.Options()
  chosen = importers.GetImporter(importer)
  test_percent = chosen.test_percent if test_percent is None else test_percent
  require_text = chosen.require_text if require_text is None else require_text
  try:
    dataset.SplitOf('', dev_percent, test_percent)
  except ValueError as e:
    raise exit_codes.UsageError(str(e)) from e
  output = CheckedOutput(output.rstrip('/'), options, overwrite)
  listing = chosen.function(options)
  utterances = _WithUniqueIds(listing)
  normalizer = normalizer or listing.normalizer or chosen.normalizer or _DefaultNormalizer(utterances)
  normalizers.Get(normalizer)  # Raises for an unknown name.
  limits = shards_lib.Limits(**dict(limits or {}, require_text=require_text, normalizer=normalizer))
  keep_splits = chosen.official_splits if official_splits is None else official_splits
  _CheckSplits(utterances, official_splits, keep_splits, split_by, hash_flags)
  split_of = splits_lib.Of(utterances, split_by, keep_splits, dev_percent, test_percent)
  settings = {
    'importer': importer,
    'languages': list(options.languages),
    'engines': list(options.engines),
    'voices_per_line': options.voices_per_line,
    'max_utterances': options.max_utterances,
    'dev_percent': dev_percent,
    'test_percent': test_percent,
    'split_by': split_by,
    **dataclasses.asdict(limits),
  }
  if options.own:
    settings['importer_options'] = dict(options.own)
  if keep_splits and any(u.split for u in utterances):
    settings['official_splits'] = True
  report = _Write(output, overwrite, listing, utterances, split_of, num_shards, limits, settings, list(beam_args))
  report_lib.Print(output, report, listing, time.time() - started)
  return dataset.ReadDataset(output), report


def CheckedOutput(output, options, overwrite):
  """Returns the folder to write, that of a link; raises UsageError if it must not be replaced."""
  if not file_system.IsRemote(output) and os.path.islink(output):
    output = os.path.realpath(output)  # A link stays, and its folder is replaced.
  parts = options.input.split(',') if options.input else ()
  sources = [part if file_system.Exists(part) else part.partition('=')[2] for part in parts]
  staging_dirs.CheckReplaceable(output, [source for source in sources if source])
  if file_system.Exists(output) and not overwrite:
    raise exit_codes.UsageError(f'--output={output}: exists; give another directory or --overwrite')
  return output


def _CheckSplits(utterances, official_splits, keep_splits, split_by, hash_flags):
  """Raises UsageError if utterances lack the splits that are asked for, or have them where a hash is asked for."""
  suggest.CheckChoice('--split_by', split_by, splits_lib.BY)
  without = [u for u in utterances if not u.split] if official_splits else ()
  if without:
    raise exit_codes.UsageError(
      f'--official_splits: {len(without)} of {len(utterances)} utterances have no split, for example '
      f'{without[0].source}; expected train, dev or test for all'
    )
  if hash_flags and keep_splits and utterances and all(u.split for u in utterances):
    raise exit_codes.UsageError(
      f'--{hash_flags[0]}: not used, as all {len(utterances)} utterances have a split; expected --noofficial_splits '
      'with it, which lets a hash decide'
    )


def _Write(output, overwrite, listing, utterances, split_of, num_shards, limits, settings, beam_args):
  """Writes the data set beside its output and moves it there once it is complete; returns the report.

  `settings`, how it was prepared, gets what the texts say. See PrepareData for what is raised.
  """
  num = {split: num_shards if split == 'train' else max(1, num_shards // 4) for split in dataset.SPLITS}
  names = {split: [dataset.ShardName(split, i, num[split]) for i in range(num[split])] for split in dataset.SPLITS}

  def _ShardOf(utterance, first_id):
    split = split_of[utterance.utt_id]
    return names[split][dataset.ShardIndex(first_id, num[split])]

  with errors.Writing(output):
    staging = staging_dirs.Make(output)
  try:
    key = os.urandom(32)
    listed = shards_lib.WriteListings(staging, utterances, _ShardOf, key)
    with quiet.Imports():
      import tensorflow  # noqa: F401 Shards need it. In their threads, its messages could not be told from others.
    with progress.Watch(staging, len(utterances)):
      beam_runs.Run(listed, staging, limits, key, beam_args)
    rows, rejects = _MergeRows(staging, names, listing.rejects)
    if not any(row['text'] for row in rows):
      settings['normalizer'] = None  # Nothing to compare with other data sets (fm_lingvo/data/transcripts.py).
    elif language := _OneLanguage(utterances):
      settings['language'] = language
    report = report_lib.Make(rows, rejects, listing, settings)
    if not rows:
      raise NothingAccepted(_WriteRejects(output, report, listing, settings['importer']))
    _WriteMetadata(staging, names, rows, report, settings)
    staging_dirs.Publish(staging, output, overwrite)
  except (errors.ConfigError, errors.RunError):
    raise
  except Exception as e:
    reason = DiskReason(e)
    if not reason:
      raise
    raise errors.RunError(f'{output}: cannot be written ({reason}); no partial data set is left') from e
  finally:
    file_system.RemoveTree(staging)
  return report


def DiskReason(error):
  """Returns the disk's error message if an exception was caused by one, in this process or a worker; otherwise ''."""
  seen = []
  while error is not None and error not in seen:
    seen.append(error)
    if isinstance(error, OSError) and error.strerror:
      return error.strerror
    error = error.__cause__ or error.__context__
  # Beam passes on the errors of its workers as text.
  for words in (
    'No space left on device',
    'File too large',
    'Read-only file system',
    'Permission denied',
    'Disk quota exceeded',
    'Input/output error',
    'No such file or directory',
  ):
    if any(words in str(e) for e in seen):
      return words
  return ''


def _OneLanguage(utterances):
  """Returns the language of all texts, such as en, '' if they are in several, or its code is not known."""
  languages = {normalizers.Base(u.language) for u in utterances if u.text}
  return next(iter(languages)) if len(languages) == 1 and all(map(normalizers.IsLanguage, languages)) else ''


def _DefaultNormalizer(utterances):
  return 'english' if _OneLanguage(utterances) == 'en' else 'basic'


def _WriteRejects(output, report, listing, importer):
  """Writes the report of a preparation without a data set beside the output; returns the message for the error."""
  path = f'{output}.report.json'
  _WriteJson(path, report)
  for line in report_lib.Ignored(listing) + report_lib.Examples(report):
    print(line.strip(), file=sys.stderr)
  return (
    f'{report["rejects"]["total"]} utterances listed by the importer {importer}, none accepted: '
    f'{report_lib.Reasons(report)}; all are in {path}'
  )


def _WithUniqueIds(listing):
  """Returns the first utterance of each id, with names that can be written as UTF-8; the others become rejects."""
  seen = {}
  for utterance in listing.utterances:
    names = {name: getattr(utterance, name) for name in ('utt_id', 'speaker', 'domain')}
    if not all(map(str.isascii, names.values())):
      utterance = dataclasses.replace(utterance, **{k: file_system.Printable(v) for k, v in names.items()})
    first = seen.setdefault(utterance.utt_id, utterance)
    if first is not utterance:
      listing.Reject(utterance.utt_id, utterance.source, 'duplicate_id', f'id of {first.source}')
  return list(seen.values())


def _MergeRows(staging, names, rejects):
  """Merges the rows of all shards; returns (rows of the manifest in the order of the shards, rejects sorted by id)."""
  rows = []
  rejects = [dataclasses.asdict(r) for r in rejects]
  for split in dataset.SPLITS:
    for name in names[split]:
      path = os.path.join(staging, name + shards_lib.ROWS_SUFFIX)
      if not file_system.Exists(path):  # The shard has no utterances.
        with file_system.Open(os.path.join(staging, name), 'wb'):
          continue
      with file_system.Open(path) as f:
        for line in f:
          row = json.loads(line)
          if 'reason' in row:
            rejects.append(row)
          else:
            row.update(split=split, shard=name)
            rows.append({key: row[key] for key in dataset.MANIFEST_KEYS})
      file_system.Remove(path)
      file_system.Remove(os.path.join(staging, name + shards_lib.LISTING_SUFFIX))
  rejects.sort(key=lambda r: (r['utt_id'], r['source'], r['reason']))
  return rows, rejects


def _WriteMetadata(staging, names, rows, report, settings):
  """Writes the manifest, the report and, last, dataset.json."""
  with file_system.Open(os.path.join(staging, 'manifest.jsonl'), 'w') as f:
    for row in rows:
      f.write(json.dumps(row, ensure_ascii=False) + '\n')
  _WriteJson(os.path.join(staging, 'report.json'), report)
  counts = collections.Counter(r['shard'] for r in rows)
  splits = {}
  for split in dataset.SPLITS:
    shards = [
      {'name': n, 'utterances': counts[n], 'size': file_system.FileSize(os.path.join(staging, n))} for n in names[split]
    ]
    splits[split] = {**report['by_split'][split], 'shards': shards}
  _WriteJson(
    os.path.join(staging, 'dataset.json'),
    {
      'format': dataset.FORMAT,
      'version': dataset.VERSION,
      'sample_rate': audio_format.SAMPLE_RATE,
      'features': dataset.FEATURES,
      'splits': splits,
      'domains': sorted(report['by_domain']),
      'settings': settings,
    },
  )


def _WriteJson(path, value):
  with file_system.Open(path, 'w') as f:
    f.write(json.dumps(value, indent=2, ensure_ascii=False) + '\n')
