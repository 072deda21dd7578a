"""Error rate, size and real-time factor of exported models beside those of the run they come from."""

import time
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import numpy as np

from fm_lingvo.evaluation import error_rates
from fm_lingvo.inference import recognizer
from fm_lingvo.utils import audio

from ..common import this_machine
from ..figures import kept_figures
from . import utterances as utterances_lib

_NOISE_SECONDS = 10.0
Recognize = Callable[[np.ndarray], str]  # int16 [S] -> text.


def Recognizing(run: Any) -> Recognize:
  """Returns a function that recognises a waveform with what load_run.Load returns."""
  model = recognizer.Recognizer(run)

  def _Recognize(waveform):
    ((found, *_),) = model.Recognize([waveform])
    return found.text

  return _Recognize


def Bytes(run: Any) -> int:
  """Returns the size of a run's weights in float32."""
  return 4 * sum(int(np.prod(shape)) for _, shape in run.Weights().weights.values())


def Noise(count: int = 3) -> list[utterances_lib.Utterance]:
  """Returns utterances of noise whose level varies at the rate of syllables, to time models without data."""
  rng = np.random.RandomState(0)
  samples = int(_NOISE_SECONDS * audio.SAMPLE_RATE)
  level = 1600 * (1 + np.sin(np.arange(samples) / audio.SAMPLE_RATE * 8 * np.pi))
  return [utterances_lib.Utterance((level * rng.standard_normal(samples)).astype(np.int16), '') for _ in range(count)]


def Compare(
  systems: dict[str, Recognize], sizes: dict[str, int], utterances: Sequence[utterances_lib.Utterance], scored: bool
) -> dict[str, Any]:
  """Runs each system on all utterances, one at a time.

  Args:
    systems: dict: name -> its function; the first is the one to compare with.
    sizes: dict: name -> bytes of its files.
    utterances: At least one.
    scored: Whether there are transcripts to count errors against.

  Returns:
    dict of audio_seconds, utterances, machine and, for each system, size_bytes, real_time_factor and cpu_factor
    (processing time and processor time as shares of the audio's duration) and, if scored, equal_texts (share of the
    texts of the first system that are the same), wer, cer with their intervals, and `wer_difference`, a
    error_rates.PairedBootstrap with the first.
  """
  seconds = sum(len(u.waveform) for u in utterances) / audio.SAMPLE_RATE
  result: dict[str, Any] = {
    'utterances': len(utterances),
    'audio_seconds': round(seconds, 1),
    'machine': this_machine.Machine(),
    'systems': {},
  }
  texts: dict[str, list[str]] = {}
  scores: dict[str, Any] = {}
  first = next(iter(systems))
  for name, recognize in systems.items():
    recognize(utterances[0].waveform)  # Not timed: the first call allocates.
    wall, cpu = time.monotonic(), time.process_time()
    texts[name] = [recognize(u.waveform) for u in utterances]
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    row = {
      'size_bytes': sizes[name],
      'real_time_factor': round(wall / seconds, 4),
      'cpu_factor': round(cpu / seconds, 4),
    }
    if scored:  # Texts of noise are alike whatever was lost.
      row['equal_texts'] = sum(a == b for a, b in zip(texts[name], texts[first])) / len(utterances)
      scores[name] = error_rates.Score([u.reference for u in utterances], texts[name])
      row.update({key: scores[name][key] for key in ('wer', 'wer_low', 'wer_high', 'cer', 'cer_low', 'cer_high')})
      a, b = scores[name]['per_utterance'], scores[first]['per_utterance']
      if name != first:
        row['wer_difference'] = error_rates.PairedBootstrap(a['errors'], b['errors'], a['words'])
    result['systems'][name] = row
  return result


def Report(
  args: Any,
  run: Any,
  recognize: Recognize,
  size: int,
  utterances: Sequence[utterances_lib.Utterance],
  scored: bool,
  part: str,
) -> dict[str, Any]:
  """Compares an exported model with its run, prints the table and keeps the figures; returns what Compare found.

  Args:
    args: Flags of tools.export.
    run: What load_run.Load returns.
    recognize: The exported model.
    size: Bytes of its files.
    utterances: See Compare.
    scored: See Compare.
    part: What the figures' label says of the exported model.
  """
  systems = {'original': Recognizing(run), 'exported': recognize}
  result = Compare(systems, {'original': Bytes(run), 'exported': size}, utterances, scored)
  for line in Lines(result):
    print(line)
  for name, figures in Figures(result).items():
    kept_figures.Keep(args, figures, 'original' if name == 'original' else part)
  return result


def Figures(result: dict[str, Any]) -> dict[str, list[tuple[str, float, str]]]:
  """Returns system -> its figures, as kept_figures.Keep takes them."""
  found = {}
  for name, row in result['systems'].items():
    found[name] = [('size', row['size_bytes'] / 1e6, 'MB')]
    if 'wer' in row:
      rates = [100 * row[key] for key in ('wer', 'wer_low', 'wer_high')]
      found[name] += kept_figures.WithInterval('WER', *rates, '%')
    if 'wer_difference' in row:
      points = [100 * row['wer_difference'][key] for key in ('difference', 'low', 'high')]
      found[name] += kept_figures.WithInterval('WER above that of the original', *points, 'points')
    if 'equal_texts' in row:
      found[name].append(('texts equal to those of the original', 100 * row['equal_texts'], '%'))
    found[name] += [
      ('real-time factor, one utterance at a time', row['real_time_factor'], ''),
      ('the same in processor time', row['cpu_factor'], ''),
    ]
  return found


def Lines(result: dict[str, Any]) -> list[str]:
  """Returns the table of Compare, a line for each system."""
  lines = []
  for name, row in result['systems'].items():
    words = [f'{name}: {row["size_bytes"] / 1e6:.2f} MB']
    if 'wer' in row:
      words.append(f'WER {row["wer"]:.2%} ({row["wer_low"]:.2%} to {row["wer_high"]:.2%})')
    if 'wer_difference' in row:
      change = row['wer_difference']
      words.append(f'{change["difference"]:+.2%} ({change["low"]:+.2%} to {change["high"]:+.2%})')
    if 'equal_texts' in row:
      words.append(f'{row["equal_texts"]:.1%} of the texts equal')
    words.append(f'real-time factor {row["real_time_factor"]:.4f}, of processor time {row["cpu_factor"]:.4f}')
    lines.append(', '.join(words))
  return [*lines, f'on {result["utterances"]} utterances, {result["audio_seconds"]:g} s of audio, one at a time']
