"""The model card of an exported model: README.md with a header in YAML, as model hubs read it.

It says what is known and nothing else: data, hours and licences from the data sets' own files, error rates from the
run's metrics.
"""

import json
import os
import re
from collections.abc import Sequence
from typing import Any

import yaml

from fm_lingvo import errors
from fm_lingvo.data import dataset as dataset_lib
from fm_lingvo.data import stream_params
from fm_lingvo.run_files import metrics_log

_USE = """## Use

```python
import fm_lingvo

model = fm_lingvo.load('.')  # This folder.
print(model.transcribe('a.wav').text)
```

`fm-transcribe FOLDER a.wav` and `fm-evaluate FOLDER --data_dir=DATA` take it, too; `init_from = 'FOLDER'` of an
experiment starts from its weights. The file of weights holds arrays and names only; reading it runs no code."""

_USE_ADAPTER = """## Use

```python
import fm_lingvo

model = fm_lingvo.load('BASE', adapter='.')  # The model that these adapters were trained on, and this folder.
print(model.transcribe('a.wav').text)
```

Another base is refused: the encoder's SHA-256 must be {digest}.
`fm-transcribe BASE a.wav --adapter=FOLDER` is the same."""


def Origin(run: str, params: Any, step: int, licenses: Sequence[str] = ()) -> dict[str, list]:
  """Returns where a model comes from: `data`, `licenses` and `error_rates`; of an exported folder, what that says.

  Args:
    run: Folder of the run.
    params: The run's model Params, with the training input.
    step: Of the weights whose error rates are meant.
    licenses: Lines `CORPUS: LICENCE` beside the licences of the data sets.
  """
  exported = os.path.join(run, 'config.json')
  if os.path.exists(exported):
    try:
      with open(exported, encoding='utf-8') as f:
        known = json.load(f)
      return {
        'data': list(known['data']),
        'licenses': [*known.get('licenses', ()), *licenses],
        'error_rates': list(known['error_rates']),
      }
    except (KeyError, TypeError, ValueError) as e:
      raise errors.ConfigError(f'{exported}: expected what fm-export writes ({type(e).__name__}: {e})') from e
  return {
    'data': [_Data(folder, share) for folder, share in _Folders(params.input).items()],
    'licenses': list(licenses),
    'error_rates': _Results(run, step),
  }


def Text(config: dict) -> str:
  """Returns the text of the card of a model, given what its config.json says."""
  data, results, name = config['data'], config['error_rates'], config['model']
  licenses = sorted({*config['licenses'], *(license for row in data for license in row['licenses'])})
  header: dict[str, Any] = {
    'library_name': 'fm_lingvo',
    'pipeline_tag': 'automatic-speech-recognition',
    'tags': ['fm_lingvo', 'lingvo', 'tensorflow', *(['adapter'] if config.get('only_adapters') else [])],
    'license': 'other' if licenses else 'unknown',
  }
  if config.get('language'):
    header['language'] = config['language']
  if results:
    header['model-index'] = [{'name': name, 'results': [_ModelIndex(**row) for row in results]}]
  total = sum(config['parameters'].values())
  lines = [
    '---',
    yaml.safe_dump(header, sort_keys=False).strip(),
    '---',
    '',
    f'# {name}',
    '',
    f'Speech recognition: {config["encoder"]} and a head `{config["head"]}` ({config["kind_of_head"]}), {total:,} '
    f'parameters, stored as {config["stored"]}; experiment `{name}` of fm_lingvo, step {config["step"]}'
    + (', moving averages of the weights.' if config['averages'] else '.'),
  ]
  if 'largest_difference' in config:
    lines += [
      '',
      'float16: a weight differs from the trained one by at most '
      f'{config["largest_difference"]:.1e} of the largest in its array.',
    ]
  if config['adapters']:
    sets = ', '.join(f'`{name}` ({count:,} values)' for name, count in config['adapters'].items())
    lines += ['', f'Adapters: {sets}; applied by default: `{config["adapter"]}`.']
  if config.get('merged'):
    lines += ['', f'The adapters `{config["merged"]}` are merged into the weights.']
  only = config.get('only_adapters')
  lines += ['', _USE_ADAPTER.format(digest=config['encoder_sha256']) if only else _USE]
  lines += ['', '## Training data', '']
  lines += [_DataLine(row) for row in data] or ['Not on the machine that wrote this card.']
  lines += ['', '## Licences', '', *([f'- {license}' for license in licenses] or ['None is recorded with the data.'])]
  lines += ['', '## Error rates', '']
  lines += [f'- {row["dataset"]}, {row["branch"]}: {row["metric"].upper()} {row["value"]:.2%}' for row in results] or [
    'The run has none for this step.'
  ]
  lines += ['', *_Limits(config)]
  return '\n'.join(lines) + '\n'


def _Limits(config):
  return [
    '## Limits',
    '',
    f'- 16 kHz mono speech; trained on utterances of up to {config["max_seconds"]:g} s. Longer ones are cut.',
    '- It knows the language, domains and speakers of its training data; error rates elsewhere are higher.',
    '- It may write words for noise or music, and has no notion of who speaks.',
  ]


def _Folders(p):
  """dict: folder of a data set that an input trains on -> the share of its utterances, the largest of all streams."""
  shares: dict[str, float] = {}
  for stream in (stream for _, stream in p.streams.IterParams()) if 'streams' in p else ():
    for pattern in filter(None, stream_params.Patterns(stream)):
      for folder in map(os.path.dirname, sorted(stream_params.Glob(pattern))):
        shares[folder] = max(shares.get(folder, 0.0), stream.share)
  return shares


def _Data(folder, share):
  """dict of name, hours, share, domains and licenses of a data set; hours is None if it does not say."""
  row: dict[str, Any] = {
    'name': os.path.basename(folder),
    'hours': None,
    'share': share,
    'domains': [],
    'licenses': [],
  }
  try:
    found = dataset_lib.ReadDataset(folder, check_shards=False)
  except errors.DatasetError:
    return row  # Shards of another program.
  row.update(hours=found.hours['train'], domains=list(found.domains))
  report = os.path.join(folder, 'report.json')
  if os.path.exists(report):
    with open(report, encoding='utf-8') as f:
      row['licenses'] = sorted(set(_Licenses(json.load(f).get('notes') or {})))
  return row


def _Licenses(notes, name=''):
  """Yields `NAME: LICENCE` for whatever importers have noted as a licence."""
  for key, value in notes.items() if isinstance(notes, dict) else ():
    if key in ('license', 'licence', 'licenses', 'licences'):
      texts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
      yield from (f'{name}: {_Short(str(text))}' if name else _Short(str(text)) for text in texts if text)
    else:
      yield from _Licenses(value, key)


def _Short(text):
  """The licences that a Debian copyright file names; of any other text, its first line."""
  named = re.findall(r'^License: *(\S.*)$', text, re.M)
  return ', '.join(dict.fromkeys(named)) or next((line.strip() for line in text.splitlines() if line.strip()), '')[:120]


def _DataLine(row):
  hours = 'hours not recorded' if row['hours'] is None else f'{row["hours"]:.2f} h of training speech'
  share = f', {100 * row["share"]:.1f} % of its utterances used' if row.get('share', 1.0) < 1 else ''
  domains = f', domains {", ".join(map(str, row["domains"][:8]))}' if row['domains'] else ''
  return f'- {row["name"]}: {hours}{share}{domains}'


def _Results(run, step):
  """List of dict of dataset, branch, metric (wer or cer) and value that the run measured at a step."""
  rows = metrics_log.MetricsLog(run).Rows(step)
  return [
    {'dataset': name, 'branch': key.rpartition('/')[0], 'metric': key.rpartition('/')[2], 'value': value}
    for name, row in sorted(rows.items())
    for key, value in sorted(row.items())
    if key.rpartition('/')[2] in ('wer', 'cer')
  ]


def _ModelIndex(dataset, branch, metric, value):
  return {
    'task': {'type': 'automatic-speech-recognition'},
    'dataset': {'name': dataset, 'type': dataset},
    'metrics': [{'type': metric, 'name': f'{metric.upper()} ({branch})', 'value': round(100 * value, 2)}],
  }
