"""The confidence of an evaluation's words: its reliability, and its calibration, for tools.evaluate."""

import json
import os
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from fm_lingvo import errors
from fm_lingvo.decoding import confidence
from fm_lingvo.evaluation import reliability
from fm_lingvo.utils import files

_FEWEST_WORDS = 20


def Report(run: str, dataset: str, rows: Sequence[Mapping[str, Any]], output: str | None) -> list[str]:
  """Compares the run's confidence with an evaluation; returns lines for the terminal.

  Args:
    run: Folder of the run.
    dataset: Name of the data set.
    rows: Of hypotheses.Recognition.Finish; of several branches, the first one counts, as in tools.transcribe.
    output: Folder for reliability/DATASET.json, or None.

  Raises:
    errors.ConfigError: There are too few words.
  """
  judged = _Judged(dataset, rows)
  calibration = confidence.Read(run, judged.Measures())
  words, utterances = judged.Words(calibration), judged.Utterances(calibration)
  kind = f'measure {calibration.measure}, ' + ('calibrated' if calibration.fitted else 'not calibrated')
  if output:
    path = os.path.join(output, 'reliability', f'{dataset}.json')
    with errors.Writing(path):
      files.MakeFolder(os.path.dirname(path))
      with files.Open(path, 'w') as f:
        row = {'measure': calibration.measure, 'calibrated': calibration.fitted}
        f.write(json.dumps({**row, 'words': words.Row(), 'utterances': utterances.Row()}, indent=2) + '\n')
  return [words.Text(f'{dataset}: words ({kind})'), utterances.Text(f'{dataset}: utterances')]


def Ece(run: str, dataset: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
  """Returns the expected calibration error of an evaluation's words: as they are and, if it is, as calibrated.

  Args:
    run: See Report.
    dataset: See Report.
    rows: See Report.
  """
  judged = _Judged(dataset, rows)
  found = {'not calibrated': judged.Words(confidence.UNFITTED).ece}
  calibration = confidence.Read(run, judged.Measures())
  if calibration.fitted:
    found[f'calibrated, measure {calibration.measure}'] = judged.Words(calibration).ece
  return found


def Calibrate(run: str, dataset: str, step: int, rows: Sequence[Mapping[str, Any]]) -> list[str]:
  """Fits the run's confidence to an evaluation and writes it into the run's folder; returns lines for the terminal.

  Args:
    run: See Report.
    dataset: See Report.
    step: Training step of the weights.
    rows: See Report.

  Raises:
    errors.ConfigError: There are too few words.
    errors.RunError: The file cannot be written.
  """
  judged = _Judged(dataset, rows)
  fitted = reliability.Calibrate(judged)
  before = judged.Words(confidence.UNFITTED)
  lines = []
  for c in fitted:
    after = judged.Words(c)
    values = f'log loss {after.log_loss:.4f}, ECE {after.ece:.4f}'
    lines.append(f'{c.measure}: slope {c.slope:.3f}, offset {c.offset:+.3f}: {values}')
  facts = {
    'dataset': dataset,
    'step': step,
    'words_before': before.Row(),
    'words': judged.Words(fitted[0]).Row(),
    'utterances': judged.Utterances(fitted[0]).Row(),
  }
  path = confidence.Write(run, fitted, facts)
  return [
    before.Text(f'{dataset}: words, not calibrated'),
    *lines,
    f'{path}: written, measure {fitted[0].measure}',
  ]


def _Judged(dataset: str, rows: Sequence[Mapping[str, Any]]) -> reliability.Judged:
  judged = reliability.Judge([row for row in rows if row['branch'] == rows[0]['branch']])
  found = len(judged.Right())
  if found < _FEWEST_WORDS:
    raise errors.ConfigError(f'{dataset}: {found} words recognised; confidence needs at least {_FEWEST_WORDS}')
  return judged
