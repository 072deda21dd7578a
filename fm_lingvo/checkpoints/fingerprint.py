"""The parts of a checkpoint: adapters, decoder and encoder; and the digest of an encoder.

Adapters can be used only with the encoder that they were trained on. A file with adapters alone holds its digest.
"""

import hashlib
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator

import numpy as np

from fm_lingvo import errors
from fm_lingvo.checkpoints import reader
from fm_lingvo.checkpoints import weights_file

ADAPTERS = 'encoder/adapters/'
DIGEST = weights_file.DIGEST


def Adapters(checkpoint: reader.Checkpoint) -> dict[str, list[str]]:
  """Returns dict: name of a set of adapters -> sorted names of its variables."""
  found: dict[str, list[str]] = {}
  for name in checkpoint.weights:
    component = reader.Component(name)
    if component.startswith(ADAPTERS):
      found.setdefault(component[len(ADAPTERS) :], []).append(name)
  return found


def Decoder(checkpoint: reader.Checkpoint) -> list[str]:
  """Returns the sorted names of the variables of all heads with a tokenizer."""
  heads = {reader.Component(name) for name in checkpoint.weights if name.endswith('/tokenizer_record/var')}
  return [name for name in checkpoint.weights if reader.Component(name) in heads]


def Encoder(checkpoint: reader.Checkpoint) -> list[str]:
  """Returns the sorted names of the variables of the encoder, without its adapters."""
  return [name for name in checkpoint.weights if reader.Component(name) == 'encoder']


def EncoderDigest(checkpoint: reader.Checkpoint, without: Collection[str] = ()) -> np.ndarray | None:
  """Returns the SHA-256 of the encoder without its adapters, uint8 [32]; None if there is neither encoder nor digest.

  Args:
    checkpoint: A checkpoint. One with adapters alone stores the digest of their encoder instead of the encoder. One
      whose weights were rounded to float16 stores the digest from before.
    without: Names of the encoder's variables to leave out, because the adapters have values of their own for them.
  """
  return next(iter(_Digests(checkpoint, without)), None)


def Fits(checkpoint: reader.Checkpoint, digest: np.ndarray, without: Collection[str] = ()) -> bool:
  """Whether adapters that were trained on the encoder with `digest` can be used with that of a checkpoint.

  A model in float16 fits twice: adapters from before it was rounded, and those that were trained on it as it is.

  Args:
    checkpoint: See EncoderDigest.
    digest: uint8 [32].
    without: See EncoderDigest.
  """
  return any(np.array_equal(digest, own) for own in _Digests(checkpoint, without))


def _Digests(checkpoint: reader.Checkpoint, without: Collection[str]) -> Iterator[np.ndarray]:
  """Yields the digest that a checkpoint holds, if all of its encoder counts, then that of its values."""
  every = Encoder(checkpoint)
  names = [name for name in every if name not in without]
  if DIGEST in checkpoint.others and len(names) == len(every):
    yield checkpoint.Read(DIGEST)
  if names:
    yield Digest(names, checkpoint.Read)


def Digest(names: Iterable[str], read: Callable[[str], np.ndarray]) -> np.ndarray:
  """Returns the SHA-256, uint8 [32], of sorted names and the values that `read` returns for them."""
  digest = hashlib.sha256()
  for name in names:
    digest.update(name.encode())
    digest.update(np.ascontiguousarray(read(name)).tobytes())
  return np.frombuffer(digest.digest(), np.uint8)


def CheckBase(base: str, adapter: str, averages: bool = True) -> str:
  """Checks that a file's adapters were trained on a model's encoder.

  Args:
    base: A checkpoint, see reader.Resolve.
    adapter: The file with the adapters, weights_file.ADAPTER.
    averages: See reader.Checkpoint.

  Returns:
    The name of the adapters.

  Raises:
    errors.ConfigError: They were trained on another encoder, or the file has not one set of adapters.
  """
  added, model = reader.Checkpoint(adapter), reader.Checkpoint(base, averages)
  names = list(Adapters(added))
  if len(names) != 1:
    raise errors.ConfigError(f'{adapter}: {len(names)} sets of adapters in it, expected 1')
  if DIGEST not in added.others:
    raise errors.ConfigError(f'{adapter}: without the fingerprint of its base, {DIGEST}; write it with fm-export')
  here, there = EncoderDigest(model, added.weights), added.Read(DIGEST)
  if not Fits(model, there, added.weights):
    raise errors.ConfigError(
      f'{adapter}: its adapters were trained on another encoder (sha256 {there.tobytes().hex()[:12]}) than '
      f'{model.prefix} has ({here.tobytes().hex()[:12] if here is not None else "none"}); load the model that '
      'they belong to'
    )
  return names[0]
