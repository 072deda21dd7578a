"""The run of a stage: its command, its state, what it measured, and whether there is anything to do. RUN/stage.json:

stamp, inputs    see stamps.py; the inputs are there so that a change can be named
command          what trained it, from the checkout
seconds, cores   wall clock of the trainer's process, all resumes together, and the cores that it was given
done             whether it ended, evaluations included
date, machine, versions   when and on what it ended
taken            of a run that --take took: the inputs in which it differs
"""

import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from typing import Any

from fm_lingvo import errors
from fm_lingvo.run_files import metrics_log
from fm_lingvo.utils import files as file_system

from ..figures import results
from . import plan
from .stage_spec import PSEUDO
from .stage_spec import Settings
from .stage_spec import Stage

FINAL = ('TestTarget', 'TestSource')
_SHOWN = 5  # Differences in a message.


def RunDir(settings: Settings, run: str) -> str:
  """Folder of a run."""
  return os.path.join(settings.output, run)


def Command(settings: Settings, stage: Stage) -> list[str]:
  """The trainer's arguments, after its name."""
  return [
    f'--model={stage.model}',
    f'--logdir={RunDir(settings, stage.run)}',
    *(f'--gin.{name}={_Literal(value)}' for name, value in stage.GinBindings().items()),
  ]


def LabelCommands(settings: Settings, stage: Stage) -> Iterator[list[str]]:
  """Commands, from Python on, by which the teacher of a stage labels the target's training speech; none without one."""
  labels = os.path.join(RunDir(settings, stage.run), PSEUDO)
  if not stage.teacher or os.path.exists(os.path.join(labels, 'dataset.json')):
    return
  teacher = RunDir(settings, stage.teacher)
  search = ['--beam_size=8']
  yield [sys.executable, '-m', 'tools.evaluate', teacher, '--datasets=DevTarget', *search, '--calibrate']
  speech = os.path.join(settings.data_dir, stage.target)
  confident = f'--min_confidence={plan.MIN_CONFIDENCE}'
  yield [sys.executable, '-m', 'tools.pseudo_label', teacher, speech, *search, confident, f'--output={labels}']


def _Literal(value):
  """A value as --gin.NAME= takes it: words and paths without quotes."""
  is_word = isinstance(value, str) and re.fullmatch(r'[A-Za-z_/][\w/-]+', value)
  return value if is_word and value not in ('True', 'False', 'None') else repr(value)


def CommandText(settings: Settings, stage: Stage) -> str:
  """The command as one types it; an argument with single quotes stands in double ones."""
  return ' '.join(
    [
      'trainer',
      *(
        f'"{arg}"' if "'" in arg and not re.search(r'["$`\\!]', arg) else shlex.quote(arg)
        for arg in Command(settings, stage)
      ),
    ]
  )


def NewState(settings: Settings, stage: Stage, stamps, seconds: float, cores: int) -> dict[str, Any]:
  """What stage.json says of a stage that starts or goes on; stamps: stamps.Stamps."""
  command = CommandText(settings, stage)
  try:
    origin = results.Origin(command)
  except errors.ConfigError:  # No git here.
    origin = results.Origin(command, commit='unknown')
  return {**Inputs(stage, stamps), 'seconds': seconds, 'cores': cores, 'done': False, **origin}


def Inputs(stage: Stage, stamps) -> dict[str, Any]:
  """The fields of stage.json that say what a stage depends on."""
  return {'stamp': stamps.Stamp(stage.run), 'inputs': stamps.Inputs(stage.run)}


def Take(settings: Settings, stage: Stage, stamps) -> None:
  """Makes a finished run that of a stage, although it was trained with other inputs.

  Raises:
    errors.ConfigError: it is not finished.
  """
  run_dir = RunDir(settings, stage.run)
  what, why = Look(run_dir, stage, stamps)
  state = Read(run_dir)
  if what == 'changed' and state and state['done'] and not MissingResults(run_dir, stage):
    Write(run_dir, {**state, **Inputs(stage, stamps), 'taken': why})
  elif what != 'done':
    raise errors.ConfigError(f'--take={stage.run}: {run_dir} is not a finished run of {stage.steps} steps')


def Read(run_dir: str) -> dict[str, Any] | None:
  """RUN/stage.json, None if there is none."""
  path = os.path.join(run_dir, 'stage.json')
  if not os.path.exists(path):
    return None
  with open(path, encoding='utf-8') as f:
    try:
      return json.load(f)
    except ValueError as e:
      raise errors.ConfigError(f'{path}: not JSON ({e}); remove the run, and it is trained anew') from e


def Write(run_dir: str, state: dict[str, Any]) -> None:
  """Writes RUN/stage.json, all at once."""
  os.makedirs(run_dir, exist_ok=True)
  path = os.path.join(run_dir, 'stage.json')
  with file_system.Replacing(path) as f:
    f.write(json.dumps(state, indent=2) + '\n')


def IsOf(run_dir: str, stamp: str) -> bool:
  """Whether a run was trained with the inputs that have this stamp."""
  state = Read(run_dir)
  return bool(state) and state['stamp'] == stamp


def Look(run_dir: str, stage: Stage, stamps) -> tuple[str, str]:
  """What there is to do.

  Returns:
    (what, why): 'done'; 'train', if nothing is there; 'resume'; or 'changed', if what is there was trained with other
    inputs, which `why` names.
  """
  state = Read(run_dir)
  if state is None:
    return ('changed', 'no stage.json') if os.path.isdir(run_dir) and os.listdir(run_dir) else ('train', '')
  if state['stamp'] != stamps.Stamp(stage.run):
    return 'changed', Differences(state['inputs'], stamps.Inputs(stage.run))
  return ('done' if state['done'] and not MissingResults(run_dir, stage) else 'resume'), ''


def Differences(old: dict[str, str], new: dict[str, str]) -> str:
  """Text that names the inputs that differ; at most some, and then how many more there are."""
  if not any(name.startswith('task.') for name in old):
    return 'its stage.json is of an older recipe, which did not keep the resolved params'
  names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
  shown = [f'{name}: {old.get(name, "unset")} -> {new.get(name, "unset")}' for name in names[:_SHOWN]]
  return ', '.join(shown + [f'and {len(names) - _SHOWN} more'] * (len(names) > _SHOWN))


def FinalRows(run_dir: str, stage: Stage) -> dict[str, dict]:
  """Data set -> its metrics at ResultStep."""
  path = os.path.join(run_dir, 'metrics.jsonl')
  rows = metrics_log.ReadMetrics(path) if os.path.exists(path) else []
  step = ResultStep(run_dir, stage)
  return {row['dataset']: row for row in rows if row['dataset'] in FINAL and row['step'] == step}


def ResultStep(run_dir: str, stage: Stage) -> int:
  """Step of the checkpoint that is the stage's result: the run's best (task.train.best_metric), or its last one."""
  from fm_lingvo.checkpoints import run_checkpoints  # TensorFlow: --help and --list do not need it.

  best = run_checkpoints.Best(run_dir)
  return stage.steps if best is None else run_checkpoints.Step(best)


def MissingResults(run_dir: str, stage: Stage) -> list[str]:
  """Names of the final data sets that a finished stage lacks."""
  found = FinalRows(run_dir, stage) if stage.measured else FINAL
  return [name for name in FINAL if name not in found]
