"""Weights in safetensors files, the format of exported models and adapters.

A safetensors file is a JSON header with names, dtypes and offsets, then the tensors' bytes; reading one runs no code.
Reader has the methods of TensorFlow's checkpoint reader, so that reader.Checkpoint, and with it everything that reads
weights, takes such files, too. Names are those of the variables.
"""

import os
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.utils import files
from fm_lingvo.utils import suggest

SUFFIX = '.safetensors'
MODEL = 'model.safetensors'  # In a folder that holds a model.
ADAPTER = 'adapter.safetensors'  # In a folder that holds adapters alone.
DIGEST = 'adapters/encoder_sha256'  # uint8 [32], of the encoder that adapters were trained on, see fingerprint.py.
FORMAT = 'fm_lingvo.weights.1'  # Of the metadata.
_MAX_TENSORS = 100_000
_DTYPES = {
  'F32': tf.float32,
  'F16': tf.float32,  # Read as float32, which variables are.
  'I64': tf.int64,
  'I32': tf.int32,
  'U8': tf.uint8,
}
_MAX_FLOAT16 = 65504.0


def In(path: str) -> str | None:
  """Returns the file with the weights of a model, if `path` is one, or a folder with one; else None."""
  return _Find(path, MODEL)


def AdapterIn(path: str | None) -> str | None:
  """Returns the file with adapters, if `path` is one, or a folder with one; else None."""
  return None if path is None else _Find(path, ADAPTER)


def _Find(path: str, name: str) -> str | None:
  inside = path if os.path.basename(path) == name and files.Exists(path) else os.path.join(path, name)
  return inside if files.Exists(inside) else None


class Reader:
  """A safetensors file, with the methods of TensorFlow's checkpoint reader. Nothing in the file is trusted."""

  def __init__(self, path: str):
    """Reads the header, whose offsets must cover the file exactly.

    Raises:
      errors.ConfigError: The file is not a safetensors file, or not one of ours.
    """
    self._path = path
    if files.IsRemote(path):
      raise errors.ConfigError(f'{path}: expected a local file; copy the folder to this machine')
    try:
      self._file = safetensors.safe_open(path, framework='numpy')
      form = (self._file.metadata() or {}).get('format')
      names = list(self._file.keys())
    except (safetensors.SafetensorError, OSError) as e:
      raise errors.ConfigError(f'{path}: not a readable safetensors file ({errors.Reason(e)})') from e
    if form != FORMAT:
      raise errors.ConfigError(
        f'{path}: format = {form!r} in its metadata, expected {FORMAT!r}; write it with fm-export --format=safetensors'
      )
    if len(names) > _MAX_TENSORS:
      raise errors.ConfigError(f'{path}: {len(names)} tensors in it, expected at most {_MAX_TENSORS}')
    self._forms = {name: self._Form(name) for name in names}

  def _Form(self, name: str) -> tuple[str, tuple[int, ...]]:
    found = self._file.get_slice(name)
    if found.get_dtype() not in _DTYPES:
      raise errors.ConfigError(
        f'{self._path}: {name} is of dtype {found.get_dtype()}, expected one of {", ".join(_DTYPES)}'
      )
    return found.get_dtype(), tuple(found.get_shape())

  def get_variable_to_shape_map(self) -> dict[str, tuple[int, ...]]:
    return {name: shape for name, (_, shape) in self._forms.items()}

  def get_variable_to_dtype_map(self) -> dict[str, tf.DType]:
    return {name: _DTYPES[dtype] for name, (dtype, _) in self._forms.items()}

  def get_tensor(self, name: str) -> Any:
    return self._file.get_tensor(name).astype(_DTYPES[self._forms[name][0]].as_numpy_dtype, copy=False)


class WithAdapter:
  """The reader of a checkpoint whose weights are extended or replaced by those of an adapter's file."""

  def __init__(self, base: Any, adapter: Reader):
    self._base, self._adapter = base, adapter
    self._added = adapter.get_variable_to_shape_map()
    self._added.pop(DIGEST, None)
    self._dropped = set()
    if any('/encoder/' in name and '/adapters/' not in name for name in self._added):
      self._dropped.add(DIGEST)  # Norms of the encoder are replaced: it is no longer the one of its digest.

  def _Joined(self, method: str) -> dict[str, Any]:
    gone = {*self._added, *self._dropped}  # With the moving averages and optimizer slots of a weight that is replaced.
    kept = {
      name: value
      for name, value in getattr(self._base, method)().items()
      if gone.isdisjoint((name, name.rpartition('/')[0]))
    }
    added = getattr(self._adapter, method)()
    return {**kept, **{name: added[name] for name in self._added}}

  def get_variable_to_shape_map(self) -> dict[str, Any]:
    return self._Joined('get_variable_to_shape_map')

  def get_variable_to_dtype_map(self) -> dict[str, Any]:
    return self._Joined('get_variable_to_dtype_map')

  def get_tensor(self, name: str) -> Any:
    return (self._adapter if name in self._added else self._base).get_tensor(name)


def ToFloat16(values: Mapping[str, np.ndarray], names: Iterable[str]) -> tuple[dict[str, np.ndarray], float]:
  """Rounds some arrays to float16.

  Args:
    values: dict: name -> array.
    names: Those to round.

  Returns:
    (dict: name -> array; the largest difference, as a share of the largest magnitude in the same array).

  Raises:
    errors.ConfigError: A value is too large for float16.
  """
  rounded, worst = dict(values), 0.0
  for name in names:
    value = values[name]
    largest = float(np.max(np.abs(value), initial=0.0))
    if largest > _MAX_FLOAT16:
      raise errors.ConfigError(f'{name}: {largest:g} is too large for float16 (at most {_MAX_FLOAT16:g})')
    rounded[name] = value.astype(np.float16)
    if largest:
      worst = max(worst, float(np.max(np.abs(rounded[name].astype(np.float32) - value))) / largest)
  return rounded, worst


def Write(path: str, values: Mapping[str, np.ndarray]) -> None:
  """Writes a file that Reader reads; equal values give equal files.

  Args:
    path: Of the file, which must not exist.
    values: dict: name of a variable -> array.

  Raises:
    errors.ConfigError: An array has a dtype that Reader does not read.
  """
  known = ('float16', 'float32', 'int32', 'int64', 'uint8')
  wrong = [f'{name} ({value.dtype})' for name, value in values.items() if value.dtype.name not in known]
  if wrong:
    raise errors.ConfigError(f'{path}: cannot hold {suggest.Some(wrong, 3)}; expected {", ".join(known)}')
  arrays = {name: np.array(values[name], order='C') for name in sorted(values)}
  safetensors.numpy.save_file(arrays, path, {'format': FORMAT})  # More entries would be in any order.
