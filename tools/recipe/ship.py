"""Exports a trained stage as the model that the package ships: weights in float16, with a card of what it is.

  python -m tools.recipe.ship runs/recipe/supervised --output=params/models/english \\
    --license="LibriSpeech test-clean: CC BY 4.0" --license="speechocean762: CC BY 4.0"
  python -m tools.recipe.ship runs/recipe/adapted_foundation_an4_share_1 --adapter_only \\
    --output=params/models/english_an4 --license="AN4: BSD-like, Carnegie Mellon University" --target="AN4's test set"

With --adapter_only these are the adapters and the decoder of a stage that was adapted. The stage must be finished, its
WER on its own dev set at most 70 %, and the folder at most 12 MB; else nothing is written. The card says the licences
that are given here, for a data set does not know those of its corpora, and the error rates with their intervals. An
older model at --output is replaced.
Exit code 1: the disk failed, or the export did; 2: wrong usage, or a model that is not worth shipping; 130: Ctrl-C.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from fm_lingvo import errors
from fm_lingvo.run_files import metrics_log
from fm_lingvo.runtime import quiet
from fm_lingvo.utils import files as file_system

from ..common import command_line
from ..common import exit_codes
from ..common import flag_types
from ..figures import tables
from . import stage_run

MAX_WER = 0.7
TARGET = 'acted dialogue of video games'
MAX_BYTES = 12_000_000
EXPORTER = (sys.executable, '-m', 'tools.export')
# Files that fm_lingvo/inference/portable.py writes.
_EXPORTED = re.compile(
  r'README\.md|(model|adapter)\.safetensors|config\.gin|(config|confidence|language|normalizers)\.json|'
  r'tokenizer_\w+\.model'
)
_RATES = ('labeled/wer', 'labeled/cer')


def Ship(
  run: str,
  output: str,
  licenses: Sequence[str],
  adapter_only: bool = False,
  target: str = TARGET,
  exporter: Sequence[str] = EXPORTER,
) -> int:
  """Exports a stage's result.

  Args:
    run: Folder of the stage.
    output: Folder of the model; an older model there is replaced.
    licenses: Lines `DATA: LICENCE`, at least one.
    adapter_only: Whether to write the adapters and the decoder alone.
    target: What the target's speech is, for the card.
    exporter: The command of the export, without its arguments.

  Returns:
    Bytes of the folder.

  Raises:
    errors.ConfigError: The stage is not finished, the model too bad or too large, or the folder has other files.
    errors.RunError: The export failed.
  """
  _CheckReplaceable(output)
  rates = _ErrorRates(run)
  folder = os.path.dirname(os.path.abspath(output))
  with errors.Writing(folder):
    os.makedirs(folder, exist_ok=True)
  with errors.Writing(output), tempfile.TemporaryDirectory(dir=folder) as scratch:
    made = os.path.join(scratch, 'model')
    command = [*exporter, run, '--format=safetensors', '--quantize=float16', '--language=en']
    command += ['--adapter_only'] if adapter_only else []
    command += [*(f'--license={line}' for line in licenses), f'--output={made}']
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    if done.returncode:
      raise errors.RunError(f'{" ".join(command)}: {exit_codes.Why(done.stderr, done.returncode)}')
    with open(os.path.join(made, 'README.md'), 'a', encoding='utf-8') as card:
      card.write(_Card(rates, target if adapter_only else f'{target}, which it has not heard'))
    size = sum(os.path.getsize(os.path.join(made, name)) for name in os.listdir(made))
    if size > MAX_BYTES:
      raise errors.ConfigError(f'{run}: {size / 1e6:.1f} MB: expected at most {MAX_BYTES / 1e6:g} MB')
    if os.path.isdir(output):
      os.rename(output, os.path.join(scratch, 'old'))  # It goes with the scratch folder.
    os.rename(made, output)
  return size


def _CheckReplaceable(output):
  """Raises ConfigError if there is anything at --output but an exported model, for it would be deleted."""
  if not os.path.lexists(output):
    return
  if os.path.islink(output) or not os.path.isdir(output):
    raise errors.ConfigError(f'--output={output}: expected a new folder, or one of an exported model')
  other = [name for name in sorted(os.listdir(output)) if not _EXPORTED.fullmatch(name)]
  if other:
    raise errors.ConfigError(f'--output={output}: has {other[0]}, which no exported model has; expected another folder')


def _ErrorRates(run):
  """Rows of metrics, by data set, of a finished stage's result whose dev WER is low enough."""
  with quiet.Imports():  # TensorFlow, which --help does not need.
    from fm_lingvo.checkpoints import run_checkpoints
  state = stage_run.Read(run)
  best = run_checkpoints.Best(run)
  if not state or not state['done'] or best is None:
    raise errors.ConfigError(f'{run}: expected a finished stage of the recipe with a best checkpoint')
  rows = metrics_log.MetricsLog(run).Rows(run_checkpoints.Step(best))
  rates = {name: row for name, row in rows.items() if all(rate in row for rate in _RATES)}
  dev = [row[_RATES[0]] for name, row in rates.items() if name.startswith('Dev')]
  if not dev or min(dev) > MAX_WER:
    found = f'{100 * min(dev):.1f} %' if dev else 'not measured'
    raise errors.ConfigError(f'{run}: WER of the dev set {found}: expected at most {100 * MAX_WER:g} %')
  return rates


def _Card(rates, target):
  """What the card of the export does not say; `target` is what the target's speech is."""
  cells = [
    [name, *(f'{100 * row[rate]:.1f} ({100 * row[f"{rate}_low"]:.1f} to {100 * row[f"{rate}_high"]:.1f})'
             for rate in _RATES)]
    for name, row in sorted(rates.items())
  ]  # fmt: skip
  return '\n'.join([
    '', '## Error rates with intervals', '',
    tables.Markdown(['data set', 'WER', 'CER'], cells), '',
    'In %, with their 95 % confidence intervals (bootstrap over utterances). `Source` is read speech of other speakers '
    f'than those that the model was trained on; `Target` is {target}.', '',
  ])  # fmt: skip


def Main(argv: Sequence[str]) -> int:
  """Runs the tool; returns the exit code."""
  parser = command_line.Parser('ship', __doc__)
  parser.add_argument('run', type=file_system.ExpandUser, help='folder of a finished stage')
  parser.add_argument('--output', type=flag_types.LocalPath, required=True, help='folder of the model')
  parser.add_argument(
    '--license', action='append', required=True, metavar='"DATA: LICENCE"', help='of a corpus; can be repeated'
  )
  parser.add_argument('--adapter_only', action='store_true', help='write the adapters and the decoder alone')
  parser.add_argument('--target', default=TARGET, help=f"what the target's speech is, for the card (default: {TARGET})")
  args = parser.parse_args(argv[1:])

  def _Run():
    size = Ship(args.run.rstrip('/'), args.output.rstrip('/'), args.license, args.adapter_only, args.target)
    print(f'{args.output}: {size / 1e6:.1f} MB')

  return exit_codes.Report('ship', _Run)


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
