"""The form of docs/results/faults.json, and its table: a row for each kind of fault."""

import collections
import datetime
import json
import os

from fm_lingvo import errors

from ..common import this_machine

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATH = os.path.join(_ROOT, 'docs', 'results', 'faults.json')
_SEEN = 12  # Cases whose message a row keeps, besides those not survived.
_FIELDS = ('kind', 'name', 'injected', 'survived', 'seconds', 'seen', 'command', 'date', 'machine', 'versions')


def Row(kind, name, cases, seconds, command):
  """A row of what was measured just now.

  Args:
    kind: Its name on the command line.
    name: What the table calls it.
    cases: List of outcome.Case.
    seconds: That all of them took.
    command: argv of the tool, which gave this row among others.
  """
  lost = [case for case in cases if not case.survived]
  shown = lost + [case for case in cases if case.survived][:_SEEN]
  flags = [arg for arg in command[1:] if arg.startswith(('--seed', '--count'))]
  return {
    'kind': kind,
    'name': name,
    'injected': len(cases),
    'survived': len(cases) - len(lost),
    'seconds': round(seconds, 1),
    'seen': [{'fault': case.name, 'survived': case.survived, 'seen': _Anywhere(case.seen)} for case in shown],
    'command': ' '.join(['python -m tools.faults', kind, *flags]),
    'date': datetime.date.today().isoformat(),
    'machine': this_machine.Machine(),
    'versions': this_machine.Versions(_ROOT),
  }


def _Anywhere(text):
  """A message without the folders of the machine that it was seen on."""
  words = [
    os.path.join('...', *word.split(os.sep)[-2:])
    if word.lstrip('\'"=').startswith(os.sep) and word.count(os.sep) > 2
    else word
    for word in text.split()
  ]
  return ' '.join(words)


def Add(path, row, order):
  """Puts a row into a result, in place of its kind's; the rows keep the order of the kinds."""
  rows = {}
  if os.path.exists(path):
    with open(path, encoding='utf-8') as f:
      rows = {old['kind']: old for old in json.load(f)['rows']}
  rows[row['kind']] = row
  result = {'form': 'faults', 'rows': [rows[kind] for kind in order if kind in rows]}
  Check(result, path)
  with open(path + '.tmp', 'w', encoding='utf-8') as f:
    f.write(json.dumps(result, indent=2, ensure_ascii=False) + '\n')
  os.replace(path + '.tmp', path)


def Check(result, path):
  """Raises errors.ConfigError unless `result` has the form."""
  seen = collections.Counter()
  for i, row in enumerate(result['rows']):
    at = f'{os.path.basename(path)}: rows[{i}]'
    missing = [field for field in _FIELDS if field not in row]
    if missing:
      raise errors.ConfigError(f'{at}: no {", ".join(missing)}')
    if not 0 <= row['survived'] <= row['injected'] or not row['injected']:
      raise errors.ConfigError(f'{at}: survived = {row["survived"]} of injected = {row["injected"]}')
    seen[row['kind']] += 1
    if seen[row['kind']] > 1:
      raise errors.ConfigError(f'{at}: a second row of {row["kind"]}')


def Table(result):
  """Markdown: a row for each kind, then where the figures are from."""
  lines = ['| fault | injected | survived | seconds |', '| :-- | --: | --: | --: |']
  lines += [
    f'| {row["name"]} | {row["injected"]:,} | {row["survived"]:,} | {row["seconds"]:,.0f} |' for row in result['rows']
  ]
  lines.append('')
  groups = {}
  for row in result['rows']:
    origin = (
      f'{row["date"]}; {this_machine.Describe(row["machine"])}; {this_machine.DescribeVersions(row["versions"])}, commit '
      f'{row["versions"]["commit"]}'
    )
    groups.setdefault(origin, []).append(row['command'])
  lines += [f'- {", ".join(f"`{command}`" for command in commands)}; {origin}.' for origin, commands in groups.items()]
  return '\n'.join(lines)
