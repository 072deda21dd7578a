"""Sizes and experiments that several of the benchmark's rows share."""

from .timing import Worker

# Of a BEST-RQ training step.
TINY = {'batch': 8, 'seconds': 2, 'layers': 4, 'width': 144, 'heads': 4, 'kernel': 15, 'channels': 32, 'codes': 512}
BASE = {'batch': 8, 'seconds': 8, 'layers': 12, 'width': 512, 'heads': 8, 'kernel': 31, 'channels': 32, 'codes': 8192, 'calls': 1}
QUICK = {'batch': 2, 'seconds': 1, 'layers': 1, 'width': 16, 'heads': 2, 'kernel': 5, 'channels': 4, 'codes': 32}


def Experiment(quick: bool, model: str, name: str = '', bindings: tuple[str, ...] = ()) -> Worker:
  """A training step of asr.MODEL at the recipe's size: 16 s of audio a stream, in utterances of 4 s.

  Args:
    quick: Whether the size is tiny.
    model: Of the experiment.
    name: Of the worker; default: the model.
    bindings: Of Gin, further ones.
  """
  size = 'tiny' if quick else 'small'
  return Worker(name or model, '.ours.experiment', {'model': f'asr.{model}', 'seconds': 4.0, 'bindings': [
      f'{model}.batch_seconds = 16.0', f'{model}.max_seconds = 4.0', f'{model}.size = {size!r}', *bindings]})
