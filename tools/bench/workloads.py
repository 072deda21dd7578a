"""What several of the benchmark's rows time: sizes, experiments, commands."""

from .timing import Worker


def Sizes(text: str) -> dict:
  """A worker's sizes from `name=value name=value ...`; values of digits are int."""
  pairs = (pair.split('=') for pair in text.split())
  return {name: int(value) if value.isdigit() else value for name, value in pairs}


# Of a BEST-RQ training step.
TINY = Sizes('batch=8 seconds=2 layers=4 width=144 heads=4 kernel=15 channels=32 codes=512')
BASE = Sizes('batch=8 seconds=8 layers=12 width=512 heads=8 kernel=31 channels=32 codes=8192 calls=1')
QUICK = Sizes('batch=2 seconds=1 layers=1 width=16 heads=2 kernel=5 channels=4 codes=32')

PEAK = {'unit': 'GB', 'figure': lambda worker: worker.peak_gb, 'ratio': 'ours / peer'}  # Of a Row.


def Ours(module: str, sizes: dict) -> list[Worker]:
  """Our code, compiled by XLA and in graph mode."""
  return [Worker(f'ours, {name}', module, {**sizes, 'xla': name == 'XLA'}) for name in ('XLA', 'graph')]


def Experiment(quick: bool, model: str, name: str = '', bindings: tuple[str, ...] = ()) -> Worker:
  """A training step of asr.MODEL at the recipe's size: 16 s of audio a stream, in utterances of 4 s.

  Args:
    quick: Whether the size is tiny.
    model: Of the experiment.
    name: Of the worker; default: the model.
    bindings: Of Gin, further ones.
  """
  knobs = {'size': 'tiny' if quick else 'small', 'batch_seconds': 16.0, 'max_seconds': 4.0}
  lines = [*(f'{model}.{knob} = {value!r}' for knob, value in knobs.items()), *bindings]
  return Worker(name or model, '.ours.experiment', {'model': f'asr.{model}', 'seconds': 4.0, 'bindings': lines})


def Command(name: str, argv: list[str], sizes: dict | None = None, **options) -> Worker:
  """A Python command, from its start to its end."""
  return Worker(name, '.ours.command', {'argv': argv, **(sizes or {})}, **options)
