"""Adapters in checkpoints: lists, extracts, injects and removes them, with or without their decoder."""

from collections.abc import Collection
from collections.abc import Iterable

import numpy as np
from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.checkpoints import fingerprint
from fm_lingvo.checkpoints import reader
from fm_lingvo.layers import adapter as adapter_lib
from fm_lingvo.utils import suggest

from . import checkpoint_files


def List(run: str) -> list[str]:
  """Returns lines that describe a checkpoint's adapters, its decoder and the digest of its encoder."""
  checkpoint = reader.Checkpoint(run)
  lines = [checkpoint.prefix]
  found = fingerprint.Adapters(checkpoint)
  for name, variables in found.items():
    blocks = {v.split('/')[4] for v in variables}
    shapes = {v: checkpoint.weights[v][1] for v in variables}
    form = adapter_lib.Saved(shapes, f'{variables[0].split("/")[0]}/encoder')[name]
    lines.append(f'adapters {name}: {_Form(**form)}, {len(blocks)} blocks, {_Size(checkpoint, variables)}')
  if not found:
    lines.append('no adapters')
  decoder = fingerprint.Decoder(checkpoint)
  if decoder:
    names = sorted({reader.Component(name) for name in decoder})
    lines.append(f'decoder {", ".join(names)}: {_Size(checkpoint, decoder)}')
  digest = fingerprint.EncoderDigest(checkpoint)
  if digest is not None:
    lines.append(f'encoder sha256 {digest.tobytes().hex()[:12]}')
  return lines


def Extract(run: str, adapter: str, output: str, decoder: bool = False) -> list[str]:
  """Writes the adapters `adapter`, and the decoder if `decoder`, to a small checkpoint; returns lines to print.

  The checkpoint also holds the front end's record and the encoder's digest, which Inject compares.
  """
  checkpoint = reader.Checkpoint(run)
  names = _VariablesOf(checkpoint, adapter)
  if decoder:
    found = fingerprint.Decoder(checkpoint)
    if not found:
      raise errors.ConfigError(f"{checkpoint.prefix}: no decoder; expected a head with a tokenizer's record")
    names = names + found
  names = names + _Records(checkpoint)
  values = {name: checkpoint.Read(name) for name in names}
  digest = fingerprint.EncoderDigest(checkpoint)
  if digest is not None:
    values[fingerprint.DIGEST] = digest
  checkpoint_files.Write(values, output)
  return [f'wrote {output}: {_Size(checkpoint, names)}']


def Inject(
  source: str,
  run: str,
  output: str,
  name: str | None = None,
  any_encoder: bool = False,
  replace_decoder: bool = False,
) -> list[str]:
  """Writes the checkpoint of `run` with the adapters, and the decoder if there is one, of `source`.

  Args:
    source: A checkpoint of Extract, or a run with one or more sets of adapters.
    run: Run or checkpoint to add them to.
    output: Prefix of the checkpoint to write.
    name: Name of the adapters in the output; None: as in `source`.
    any_encoder: Whether to allow an encoder other than the one that the adapters were trained on.
    replace_decoder: Whether the decoder of `source` may replace one that other adapters of `run` were trained with.

  Returns:
    List of lines to print.

  Raises:
    errors.ConfigError: The two do not fit, `run` has adapters of that name, or its other adapters would lose their
      decoder.
    errors.RunError: The output cannot be written.
  """
  added, base = reader.Checkpoint(source), reader.Checkpoint(run)
  found = fingerprint.Adapters(added)
  if not found:
    raise errors.ConfigError(f'{added.prefix}: no adapters in it; expected what extract writes')
  if name and len(found) > 1:
    raise errors.ConfigError(
      f'--name={name}: {added.prefix} has several sets of adapters ({", ".join(found)}); extract one'
    )
  if name is not None and not adapter_lib.IsName(name):
    raise errors.ConfigError(f'--name={name}: not a name of adapters, expected {adapter_lib.NAME_RULE}')
  _CheckSameBase(added, base, any_encoder)
  values = {n: base.Read(n) for n in base.weights}
  checkpoint_files.AddStep(base, values)
  lines = []
  for old, variables in found.items():
    new = name or old
    if new in fingerprint.Adapters(base):
      raise errors.ConfigError(
        f'{base.prefix}: has adapters {new} already; remove them first, or choose another --name'
      )
    for variable in variables:
      values[variable.replace(f'/{fingerprint.ADAPTERS}{old}/', f'/{fingerprint.ADAPTERS}{new}/')] = added.Read(
        variable
      )
    lines.append(f'added adapters {new}: {_Size(added, variables)}')
  decoder = fingerprint.Decoder(added)
  if decoder:
    heads = {reader.Component(n) for n in decoder}
    replaced = [n for n in base.weights if reader.Component(n) in heads]
    if not replace_decoder:
      _CheckKeepsDecoder(added, base, decoder, replaced)
    for n in replaced:
      del values[n]
    values.update({n: added.Read(n) for n in decoder})
    verb = 'replaced' if replaced else 'added'
    lines.append(f'{verb} decoder {", ".join(sorted(heads))}: {_Size(added, decoder)}')
  checkpoint_files.Write(values, output)
  return [*lines, f'wrote {output}']


def Remove(run: str, adapter: str, output: str) -> list[str]:
  """Writes the checkpoint of `run` without the adapters `adapter`; returns lines to print."""
  checkpoint = reader.Checkpoint(run)
  removed = _VariablesOf(checkpoint, adapter)
  values = {name: checkpoint.Read(name) for name in checkpoint.weights if name not in set(removed)}
  checkpoint_files.AddStep(checkpoint, values)
  checkpoint_files.Write(values, output)
  return [f'removed adapters {adapter}: {_Size(checkpoint, removed)}', f'wrote {output}']


def _Form(kind: str, bottleneck_dim: int, position: str | None = None, projections: Iterable[str] | None = None) -> str:
  """A phrase for what adapter_lib.Saved found."""
  if kind == 'residual':
    return f'{position}, width {bottleneck_dim}'
  return f'lora of {", ".join(projections or [])}, rank {bottleneck_dim}' if kind == 'lora' else 'biases'


def _VariablesOf(checkpoint: reader.Checkpoint, adapter: str) -> list[str]:
  """Returns the names of the variables of the adapters `adapter`."""
  found = fingerprint.Adapters(checkpoint)
  if adapter not in found:
    known = f'it has {", ".join(found)}' if found else 'it has none'
    raise errors.ConfigError(f'{checkpoint.prefix}: no adapters {adapter}, {known}{suggest.Hint(adapter, found)}')
  return found[adapter]


def _Records(checkpoint: reader.Checkpoint) -> list[str]:
  """Returns the names of the front end's variables."""
  return [name for name in checkpoint.weights if reader.Component(name) == 'frontend']


def _CheckSameBase(added: reader.Checkpoint, base: reader.Checkpoint, any_encoder: bool) -> None:
  """Raises ConfigError if adapters were trained with another front end or on another encoder."""
  for name in _Records(added):
    if name not in base.weights or not np.array_equal(added.Read(name), base.Read(name)):
      raise errors.ConfigError(f'{added.prefix}: made with another front end than {base.prefix} ({name} differs)')
  here, there = fingerprint.EncoderDigest(base), fingerprint.EncoderDigest(added)
  if here is None:
    raise errors.ConfigError(f'{base.prefix}: no encoder in it; expected a run, or a checkpoint of one')
  if not any_encoder and there is not None and not fingerprint.Fits(base, there):
    raise errors.ConfigError(
      f'{added.prefix}: its adapters were trained on another encoder (sha256 {there.tobytes().hex()[:12]}) than '
      f'{base.prefix} has ({here.tobytes().hex()[:12]}); --any_encoder adds them anyway'
    )


def _CheckKeepsDecoder(
  added: reader.Checkpoint, base: reader.Checkpoint, decoder: Collection[str], replaced: Collection[str]
) -> None:
  """Raises ConfigError if adapters of `base` would lose the decoder that they were trained with.

  Args:
    added: Checkpoint with the new decoder.
    base: Checkpoint that the decoder would be added to.
    decoder: Names of the new decoder's variables.
    replaced: Names of the variables of `base` that would be replaced.
  """
  losing = fingerprint.Adapters(base) if replaced else ()
  if losing and (
    set(decoder) != set(replaced) or not all(np.array_equal(added.Read(n), base.Read(n)) for n in replaced)
  ):
    raise errors.ConfigError(
      f'{base.prefix}: its adapters {", ".join(losing)} would lose their decoder, which differs from that in '
      f'{added.prefix}; extract without --decoder, or use --replace_decoder to replace it anyway'
    )


def _Size(checkpoint: reader.Checkpoint, names: Iterable[str]) -> str:
  """A phrase for the size of some variables."""
  values, size = 0, 0
  for name in names:
    dtype, shape = checkpoint.weights[name]
    values += int(np.prod(shape))
    size += int(np.prod(shape)) * tf.as_dtype(dtype).size
  return f'{values:,} values, {size / 1e6:.2f} MB'
