"""Averages metrics over a window of steps, and writes the run's metrics.jsonl.

B: utterances, G: codebooks, V: codes per codebook, R: replicas.
"""

import collections
import contextlib
import json
import os
import time
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from fm_lingvo import errors
from fm_lingvo.run_files import codebook_stats
from fm_lingvo.utils import audio
from fm_lingvo.utils import files
from fm_lingvo.utils import own_names

Metrics = Mapping[str, tuple[Any, Any]]  # Name -> (value, weight).
Counts = Mapping[str, np.ndarray]

# Metrics of Lingvo's learner, which end in the learner's name -> public names.
_LEARNER_METRICS = {
  'learning_rate': 'learning_rate',
  'grad_norm/all': 'grad_norm',
  'var_norm/all': 'var_norm',
}


def Aggregate(metrics_list: Sequence[Metrics], counts_list: Sequence[Counts]) -> dict[str, float]:
  """Averages metrics with their weights, and sums counts.

  Args:
    metrics_list: List of dicts: name -> (value, weight).
    counts_list: List of dicts of arrays: BRANCH/code_counts and
      BRANCH/masked_code_counts [R, G, V], STREAM/num_samples or, for text, STREAM/num_labels,
      STREAM/weights, STREAM/dropped* and STREAM/cut [B].

  Returns:
    dict name -> float: the metrics; the code statistics (codebook_stats.CodeStats) of
    each branch; for each stream, `examples` and `audio_seconds` or `labels` in this
    window, `dropped*` and `cut` since the start of training.

  Raises:
    errors.ConfigError: A metric has the name of one of these.
  """
  sums: dict[str, np.ndarray] = collections.defaultdict(lambda: np.zeros(2))
  for metrics in metrics_list:
    for name, (value, weight) in metrics.items():
      public = _PublicName(name)
      if public and weight:  # NaN times 0 would be NaN.
        sums[public] += (float(value) * float(weight), float(weight))
  values = {k: v / w for k, (v, w) in sums.items() if w > 0}
  derived = {}
  keys = counts_list[0].keys() if counts_list else ()
  for key in sorted(keys):
    prefix, _, name = key.rpartition('/')
    arrays = [counts[key] for counts in counts_list]
    if name == 'code_counts':
      masked = [c[f'{prefix}/masked_code_counts'] for c in counts_list]
      stats = codebook_stats.CodeStats(np.concatenate(arrays), np.concatenate(masked))
      derived.update({f'{prefix}/{k}': v for k, v in stats.items()})
    elif name == 'num_samples':
      samples = sum(float(np.sum(a, dtype=np.float64)) for a in arrays)
      derived[f'{prefix}/audio_seconds'] = samples / audio.SAMPLE_RATE
    elif name == 'num_labels':
      derived[f'{prefix}/labels'] = sum(float(np.sum(a)) for a in arrays)
    elif name == 'weights':
      derived[f'{prefix}/examples'] = sum(float(np.sum(a)) for a in arrays)
    elif name.startswith('dropped') or name == 'cut':
      derived[key] = float(np.max(arrays[-1], initial=0))
  own_names.Add(values, derived, 'metrics')
  return values


def Dropped(values: Mapping[str, float]) -> dict[str, int]:
  """Returns the counts of dropped examples that are not 0, by reason where a stream has reasons, for a terminal."""
  found = {k: int(v) for k, v in sorted(values.items()) if k.rpartition('/')[2].startswith('dropped') and v}
  return {k: v for k, v in found.items() if not any(other.startswith(f'{k}_') for other in found)}


def _PublicName(name: str) -> str | None:
  """Returns the public name of a metric; None if it is not reported."""
  if name == 'num_samples_in_batch' or name.partition('/')[0] in ('lr_schedule', 'skipped', 'has_nan_or_inf'):
    return None
  if name.startswith('learning_rate_of/'):  # GROUP/LEARNER.
    return f'learning_rate/{name.split("/")[1]}'
  for prefix, public in _LEARNER_METRICS.items():
    if name.startswith(prefix + '/'):
      return public
  return name


class Window:
  """Collects metrics between two calls of Flush; rates exclude the time in Paused."""

  def __init__(self) -> None:
    self._Clear()

  def _Clear(self) -> None:
    self._metrics: list[Metrics] = []
    self._counts: list[Counts] = []
    self._start = time.monotonic()
    self._cpu_start = time.process_time()

  def Add(self, metrics: Metrics, counts: Counts) -> None:
    """Adds the metrics and counts of one step; see Aggregate for their format."""
    self._metrics.append(metrics)
    self._counts.append(counts)

  @contextlib.contextmanager
  def Paused(self) -> Iterator[None]:
    """Context whose duration is excluded from the rates."""
    started, cpu_started = time.monotonic(), time.process_time()  # The system clock may be adjusted meanwhile.
    yield
    self._start += time.monotonic() - started
    self._cpu_start += time.process_time() - cpu_started

  def Brief(self) -> dict[str, float]:
    """Returns dict name -> value of the newest step, for one line on a terminal."""
    values = Aggregate(self._metrics[-1:], self._counts[-1:])
    brief = {'loss': values['loss']} if 'loss' in values else {}
    accuracies = [v for k, v in values.items() if k.endswith('/masked_accuracy')]
    if accuracies:
      brief['masked accuracy'] = float(np.mean(accuracies))
    for unit, name, size in (('audio s/s', 'num_samples', audio.SAMPLE_RATE), ('labels/s', 'num_labels', 1)):
      amounts = [float(np.sum(v)) for counts in self._counts for k, v in counts.items() if k.endswith(f'/{name}')]
      if amounts:
        brief[unit] = sum(amounts) / size / self._Elapsed()
    return {**brief, **Dropped(values)}

  def _Elapsed(self) -> float:
    return max(1e-6, time.monotonic() - self._start)

  def Flush(self) -> dict[str, float]:
    """Returns the aggregated metrics and rates of the window, and starts a new window."""
    values = Aggregate(self._metrics, self._counts)
    elapsed, steps = self._Elapsed(), len(self._metrics)
    examples = sum(v for k, v in values.items() if k.endswith('/examples'))
    values.update(
      {
        'throughput/steps_per_second': steps / elapsed,
        'throughput/examples_per_second': examples / elapsed,
        'throughput/cpu_seconds_per_step': (time.process_time() - self._cpu_start) / max(steps, 1),
      }
    )
    for name in ('audio_seconds', 'labels'):
      amounts = [v for k, v in values.items() if k.endswith(f'/{name}')]
      if amounts or name == 'audio_seconds':
        values[f'throughput/{name}_per_second'] = sum(amounts) / elapsed
    self._Clear()
    return values


class MetricsLog:
  """RUN/metrics.jsonl: one JSON object per line with dataset, step, time and metrics."""

  def __init__(self, logdir: str) -> None:
    self._path = os.path.join(logdir, 'metrics.jsonl')
    self._follower: Callable[[str, int, Mapping[str, float]], None] | None = None

  def Follow(self, follower: Callable[[str, int, Mapping[str, float]], None]) -> None:
    """Calls `follower` with the arguments of each further Write."""
    self._follower = follower

  def Write(self, name: str, step: int, values: Mapping[str, float]) -> None:
    """Appends a row; `name` is `train` or the name of an evaluation data set."""
    AppendRow(
      self._path,
      {'dataset': name, 'step': int(step), 'time': round(time.time(), 3), **{k: float(v) for k, v in values.items()}},
    )
    if self._follower:
      self._follower(name, int(step), values)

  def Rows(self, step: int) -> dict[str, dict[str, Any]]:
    """Returns dict: data set -> its newest row for `step`."""
    if not files.Exists(self._path):
      return {}
    return {row['dataset']: row for row in ReadMetrics(self._path) if row['step'] == step and 'dataset' in row}

  def Datasets(self, step: int) -> set[str]:
    """Returns the set of the data sets that have a row for `step`."""
    return set(self.Rows(step))

  def DropAfter(self, step: int) -> None:
    """Removes the rows after `step`, which a resumed run writes again."""
    if not files.Exists(self._path):
      return
    kept = [row for row in ReadMetrics(self._path) if row['step'] <= step]
    WriteRows(self._path, kept)


def AppendRow(path: str, row: Mapping[str, Any]) -> None:
  """Appends a row to a local or remote JSON Lines file.

  Raises:
    errors.RunError: The file cannot be written.
  """
  with errors.Writing(path), files.Open(path, 'a') as f:
    f.write(json.dumps(row) + '\n')


def WriteRows(path: str, rows: Iterable[Mapping[str, Any]]) -> None:
  """Writes a local or remote JSON Lines file atomically.

  Raises:
    errors.RunError: The file cannot be written.
  """
  with errors.Writing(path):
    with files.Open(path + '.tmp', 'w') as f:
      f.write(''.join(json.dumps(row, ensure_ascii=False) + '\n' for row in rows))
    files.Replace(path + '.tmp', path)


def ReadMetrics(path: str) -> list[dict[str, Any]]:
  """Returns the rows of a metrics.jsonl; ignores a last line that a killed process left incomplete.

  Raises:
    errors.ConfigError: Any other line is not a JSON object with a step.
  """
  with files.Open(path, 'rb') as f:
    *lines, _ = f.read().decode(errors='replace').split('\n')
  rows = []
  for number, line in enumerate(lines, 1):
    try:
      row = json.loads(line)
      if not isinstance(row, dict) or not isinstance(row.get('step'), int):
        raise ValueError('no step in it')
    except ValueError as e:
      raise errors.ConfigError(f'{path}:{number}: not a JSON object with a step ({e}); remove the line') from e
    rows.append(row)
  return rows
