"""Second half of the demo: the model that the project ships is adapted to speech of a kind that it has not heard.

The speech is the dialogue of an adventure game, which apt fetches: 11 kHz, acted, 164 characters. Where apt cannot,
it is synthetic speech. Only adapters and decoder are trained, on a share of the labels.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

from fm_lingvo.evaluation import error_rates
from fm_lingvo.run_files import metrics_log
from fm_lingvo.utils import shipped
from fm_lingvo.utils import text_lines

from ..prepare import reuse
from . import commands

GAME = 'queen'
LABEL_SHARE = 0.15  # About half an hour of the game's speech.
MAX_STEPS = 400
_NOT_FETCHED = 2  # Exit code of the preparation where apt cannot fetch the game.
_TEST = 'TestTarget'
_SHOWN = 3  # Transcripts, of references with so many words:
_WORDS = (5, 12)
# As stage 3 of the recipe; 400 steps do not average over 1,000.
_BINDINGS = {
  'size': 'small',
  'ctc_weight': 0.5,
  'max_seconds': 20.0,
  'num_buckets': 16,
  'batch_seconds': 24.0,
  'adapter_dim': 128,
  'adapter_position': 'after_ff',
  'adapter_lr_scale': 3.0,
  'effects_prob': 0.15,
  'dropout_prob': 0.1,
  'prediction_dropout_prob': 0.2,
  'warmup_steps': 50,
  'max_steps': MAX_STEPS,
  'label_share': LABEL_SHARE,
}


def Prepare(data_dir: str) -> None:
  """Makes or reuses the data set DATA_DIR/target of the new domain."""
  path = os.path.join(data_dir, 'target')
  if reuse.Find(path):
    return
  make = ['tools.prepare_data', '--normalizer=english', f'--output={path}', '--overwrite']
  code = commands.Code(*make, '--importer=games', f'--games={GAME}')
  if code == _NOT_FETCHED:
    print('demo: without a game, synthetic speech stands in for the new domain', flush=True)
    code = commands.Code(*make, '--importer=synth')
  commands.Check(make[0], code)


def Before(data_dir: str) -> str:
  """Recognises the test set with the shipped model as it is; returns the folder of the results."""
  output = os.path.join(data_dir, 'before')
  commands.Run('tools.evaluate', shipped.MODEL, f'--data_dir={data_dir}', f'--datasets={_TEST}', f'--output={output}')
  return output


def Adapt(data_dir: str, minutes: float) -> tuple[str, float]:
  """Trains adapters and decoder of the shipped model for at most some minutes; returns (run directory, seconds)."""
  knobs = {'init_from': shipped.MODEL, 'data_dir': data_dir, **_BINDINGS}
  return commands.Train(
    '--model=asr.AdapterFinetune',
    *(f'--gin.AdapterFinetune.{name}={value}' for name, value in knobs.items()),
    f'--gin.task.train.max_minutes={minutes}',
    '--gin.task.train.ema_decay=0.99',
    '--gin.task.train.eval_datasets=[]',
    f"--gin.task.train.final_eval_datasets=['{_TEST}']",
  )


def Report(before: str, logdir: str) -> Iterator[str]:
  """Yields lines that compare the transcripts of two folders: word error rates, and a few transcripts."""
  old, new = (_Rows(folder) for folder in (before, logdir))
  for what, rows in (('before', old), ('after', new)):
    score = error_rates.Score([row['reference'] for row in rows], [row['hypothesis'] for row in rows])
    yield f'{what:6} WER {score["wer"]:.1%} ({score["wer_low"]:.1%} to {score["wer_high"]:.1%}), CER {score["cer"]:.1%}'
  by_id = {row['utt_id']: row for row in new}
  found = [row for row in old if _WORDS[0] <= len(row['reference'].split()) <= _WORDS[1]]
  for row in found[:: max(1, len(found) // _SHOWN)][:_SHOWN]:
    yield f'  said    {row["reference"]}'
    yield f'  before  {row["hypothesis"]}'
    yield f'  after   {by_id[row["utt_id"]]["hypothesis"]}'


def _Rows(folder: str) -> list[dict[str, Any]]:
  path = os.path.join(folder, 'hypotheses', f'{_TEST}.jsonl')
  return [row for _, row in text_lines.Objects(path)]


def Size(logdir: str) -> str:
  """Returns a line on what was trained."""
  rows = metrics_log.ReadMetrics(os.path.join(logdir, 'metrics.jsonl'))
  steps = max(row['step'] for row in rows)
  with open(os.path.join(logdir, 'parameters.json'), encoding='utf-8') as f:
    counts = json.load(f)['total']
  trained, total = counts['trained'], counts['total']
  return f'{steps} steps, trained {trained:,} of {total:,} parameters ({trained / total:.1%}): adapters and decoder'
