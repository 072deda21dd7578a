"""The form of results that tools.length_scaling and tools.step_memory write, and its table.

A row is one pass of an encoder; docs/results/README.md describes its fields.
"""

import dataclasses
import datetime
import json
import math
import os
import shlex

from fm_lingvo import errors

from . import encoder_cost
from .common import this_machine

_MEASURED = ('seconds', 'cpu_seconds', 'peak_gb', 'idle_gb')


def Row(name, label, what, measured, command):
  """A row of a pass that was measured just now.

  Args:
    name, label: The row and the column of the table.
    what: encoder_cost.Pass.
    measured: As encoder_cost.Measure returns.
    command: argv of the tool.
  """
  return {
    'name': name,
    'label': label,
    **dataclasses.asdict(what),
    **{k: v if isinstance(v, str) else float(f'{v:.4g}') for k, v in measured.items()},
    'command': shlex.join(['python', '-m', f'tools.{command[0]}', *command[1:]]),
    'date': datetime.date.today().isoformat(),
    'machine': this_machine.Machine(),
    'versions': this_machine.Versions(encoder_cost.ROOT),
  }


def Write(path, rows):
  """Writes a result, whole or not at all."""
  result = {'form': 'cost', 'rows': rows}
  Check(result, path)
  os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
  with open(path + '.tmp', 'w', encoding='utf-8') as f:
    f.write(json.dumps(result, indent=2) + '\n')
  os.replace(path + '.tmp', path)


def Check(result, path):
  """Raises errors.ConfigError unless `result` has the form."""
  where = os.path.basename(path)
  seen = set()
  for i, row in enumerate(result['rows']):
    at = f'{where}: rows[{i}]'
    missing = [k for k in ('name', 'label', 'command', 'date', 'machine', 'versions') if not row.get(k)]
    if missing:
      raise errors.ConfigError(f'{at}: no {", ".join(missing)}')
    if 'stopped' not in row:
      for field in _MEASURED:
        value = row.get(field)
        if not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
          raise errors.ConfigError(f'{at}.{field} = {value!r}: expected a number >= 0')
    if (row['name'], row['label']) in seen:
      raise errors.ConfigError(f'{at}: a second row of {row["name"]}, {row["label"]}')
    seen.add((row['name'], row['label']))


def Table(result):
  """Markdown: a row of the table for each name, a column for each label, then where the figures are from."""
  rows = result['rows']
  labels = list(dict.fromkeys(row['label'] for row in rows))
  lines = ['| | ' + ' | '.join(labels) + ' |', '| :-- |' + ' --: |' * len(labels)]
  for name in dict.fromkeys(row['name'] for row in rows):
    own = {row['label']: row for row in rows if row['name'] == name}
    lines.append(f'| {name} | ' + ' | '.join(_Cell(own[k]) if k in own else '' for k in labels) + ' |')
  lines += [
    '',
    'In a cell: CPU seconds of all threads, peak memory of the process. Before the pass, with TensorFlow '
    f'and the weights, it has {_Idle(rows)}.',
    '',
  ]
  return '\n'.join(lines + _Origins(rows))


def _Cell(row):
  if 'stopped' in row:
    return f'stopped: {row["stopped"]}'
  return f'{row["cpu_seconds"]:.3g} s, {row["peak_gb"]:.2f} GB'


def _Idle(rows):
  idle = sorted(f'{row["idle_gb"]:.1f}' for row in rows if 'stopped' not in row)
  return ' to '.join(dict.fromkeys([idle[0], idle[-1]])) + ' GB' if idle else 'not been measured'


def _Origins(rows):
  """Lines with command, date, machine and versions, each once."""
  lines = []
  for row in rows:
    lines.append(
      f'- `{row["command"]}`; {row["date"]}; {this_machine.Describe(row["machine"])}; '
      f'{this_machine.DescribeVersions(row["versions"])}, commit {row["versions"]["commit"]}.'
    )
  return list(dict.fromkeys(lines))
