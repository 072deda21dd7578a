"""The report of a preparation: report.json, and what is printed of it."""

import collections
import sys

from fm_lingvo import audio
from fm_lingvo.data import dataset
from fm_lingvo.data import normalizers
from fm_lingvo.utils import suggest

_MOST_KEYS = 10  # Unknown keys of entries that are printed.


def Make(rows, rejects, listing, settings):
  """Returns the content of report.json.

  Args:
    rows: Rows of the manifest, dicts with dataset.MANIFEST_KEYS.
    rejects: List of dicts with the fields of importers.Reject.
    listing: importers.Listing.
    settings: dict, how the data set was prepared.
  """

  def Sums(selected):
    return {'utterances': len(selected), 'hours': round(sum(r['duration'] for r in selected) / 3600, 4)}

  by_split = {split: Sums([r for r in rows if r['split'] == split]) for split in dataset.SPLITS}
  of_domain = collections.defaultdict(list)
  for row in rows:
    of_domain[row['domain']].append(row)
  by_domain = {
    domain: dict(
      Sums(mine),
      labeled=sum(bool(r['text']) for r in mine),
      speakers=len({r['speaker'] for r in mine}),
      splits={split: Sums([r for r in mine if r['split'] == split]) for split in dataset.SPLITS},
    )
    for domain, mine in sorted(of_domain.items())
  }
  reasons = collections.Counter(r['reason'] for r in rejects)
  return {
    **Sums(rows),
    'labeled': sum(bool(r['text']) for r in rows),
    'texts_with_digits': sum(normalizers.HasDigits(r['text']) for r in rows),
    'by_split': by_split,
    'by_domain': by_domain,
    'ignored_keys': dict(listing.ignored),
    'rejects': {
      'total': len(rejects),
      'by_reason': dict(sorted(reasons.items())),
      'meaning': {reason: audio.REASONS[reason] for reason in sorted(reasons)},
      'files': rejects,
    },
    'notes': listing.notes,
    'settings': settings,
  }


def Reasons(report):
  """Returns the counts of all reasons for rejects as one phrase, most frequent first."""
  return ', '.join(f'{count} {reason}' for reason, count in _ByCount(report)) or 'none'


def _ByCount(report):
  return sorted(report['rejects']['by_reason'].items(), key=lambda x: -x[1])


def Examples(report):
  """Returns a line for each reason for rejects, with the first file and its detail."""
  first = {}
  for reject in report['rejects']['files']:
    first.setdefault(reject['reason'], reject)
  return [
    f'  {reason}, for example {" ".join(first[reason]["source"].split())}: {" ".join(first[reason]["detail"].split())}'
    for reason, _ in _ByCount(report)
  ]


def Ignored(listing):
  """Returns a line for each of the most frequent keys that the importer does not know, and one for the others."""
  shown = listing.ignored.most_common(_MOST_KEYS)
  more = len(listing.ignored) - len(shown)
  return [
    *(f'  ignored the key {key} of {count} entries{suggest.Hint(key, listing.known)}' for key, count in shown),
    *([f'  ignored {more} more keys (names in report.json)'] if more else []),
  ]


def Print(output, report, listing, seconds):
  """Prints the summary of a data set that is complete."""
  hours = report['hours']
  splits = ', '.join(f'{s} {v["utterances"]} ({v["hours"] * 60:.1f} min)' for s, v in report['by_split'].items())
  lines = [f'{output}: {report["utterances"]} utterances, {hours:.2f} h ({splits}), {report["labeled"]} labeled']
  for domain, sums in report['by_domain'].items():
    lines.append(
      f'  {domain}: {sums["utterances"]} utterances, {sums["hours"] * 60:.1f} min, {sums["labeled"]} labeled'
    )
  if report['texts_with_digits']:
    lines.append(
      f'  {report["texts_with_digits"]} texts with digits, which most tokenizers do not know: --normalizer=english '
      'spells English numbers'
    )
  lines += Ignored(listing)
  where = ' (files in report.json)' if report['rejects']['total'] else ''
  lines.append(f'  rejected {report["rejects"]["total"]}: {Reasons(report)}{where}')
  lines += ['  ' + line for line in Examples(report)]
  lines.append(f'  {seconds:.1f} s, {hours * 3600 / max(seconds, 1e-3):.0f} x real time')
  print('\n'.join(lines))
  sys.stdout.flush()
