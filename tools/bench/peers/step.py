"""A BEST-RQ training step in PyTorch, timed: features in, update out.

Sizes: batch, seconds, layers, width, heads, kernel, channels, codes; `dtype`: float32, or
bfloat16 by autocast; `package`: speechbrain, its modules put together as its BEST-RQ recipe does; torch, the Conformer
of tools/bench/peers/plain_conformer.py.
"""

import contextlib

import torch

from .. import inputs
from . import torchaudio_stand_in

_STACK, _BINS, _DIM = 4, 80, 16
# As large a share of the frames is masked as in our code.
_MASK_PROB, _MASK_FRAMES = 0.05, 10


class _Model(torch.nn.Module):
  """Quantizer, encoder, head, around the two modules that differ."""

  def __init__(self, encoder, quantizer, sizes):
    super().__init__()
    self.encoder, self.quantizer = encoder, quantizer
    self.head = torch.nn.Linear(sizes['width'], sizes['codes'])

  def forward(self, features):
    """Loss on masked frames; features [B, T, F]."""
    batch, time, bins = features.shape
    with torch.no_grad():
      codes = self.quantizer(features.view(batch, time // _STACK, bins * _STACK))
    mask = torch.zeros(batch, time, dtype=torch.bool)
    starts = torch.rand(batch, time) < _MASK_PROB
    for shift in range(_MASK_FRAMES):
      mask[:, shift:] |= starts[:, : time - shift]
    features = torch.where(mask[..., None], 0.1 * torch.randn_like(features), features)
    logits = self.head(self.encoder(features))  # [B, N, V]
    hidden = mask.view(batch, -1, _STACK).all(-1)
    return torch.nn.functional.cross_entropy(logits[hidden].float(), codes[hidden])


def _SpeechBrain(sizes):
  """(encoder, quantizer) of SpeechBrain: its CNN, its Conformer with relative positions."""
  torchaudio_stand_in.Install()
  from speechbrain.lobes.models.convolution import ConvolutionFrontEnd
  from speechbrain.lobes.models.transformer.TransformerASR import EncoderWrapper
  from speechbrain.lobes.models.transformer.TransformerASR import TransformerASR
  from speechbrain.nnet.quantisers import RandomProjectionQuantizer

  cnn = ConvolutionFrontEnd(
    input_shape=(8, 10, _BINS),
    num_blocks=2,
    num_layers_per_block=1,
    out_channels=[sizes['channels']] * 2,
    kernel_sizes=[3, 3],
    strides=[2, 2],
    residuals=[False, False],
    dropout=0.0,
  )
  transformer = EncoderWrapper(
    TransformerASR(
      tgt_vocab=1,
      input_size=sizes['channels'] * _BINS // 4,
      d_model=sizes['width'],
      nhead=sizes['heads'],
      num_encoder_layers=sizes['layers'],
      num_decoder_layers=0,
      d_ffn=4 * sizes['width'],
      dropout=0.0,
      activation=torch.nn.SiLU,
      conformer_activation=torch.nn.SiLU,
      encoder_module='conformer',
      attention_type='RelPosMHAXL',
      normalize_before=True,
      causal=False,
      kernel_size=sizes['kernel'],
    )
  )
  encoder = torch.nn.Sequential(cnn, transformer)
  return encoder, RandomProjectionQuantizer(_STACK * _BINS, _DIM, sizes['codes'])


def _Plain(sizes):
  """(encoder, quantizer) in plain PyTorch."""
  from . import plain_conformer

  return (
    plain_conformer.Encoder(sizes['layers'], sizes['width'], sizes['heads'], sizes['kernel'], sizes['channels'], _BINS),
    plain_conformer.Quantizer(_STACK * _BINS, _DIM, sizes['codes']),
  )


def SetUp(sizes):
  """See worker.py. The facts `first` and `last` are the loss of the first step and of the last one."""
  torch.set_num_threads(sizes['threads'])
  torch.manual_seed(0)
  model = _Model(*(_SpeechBrain if sizes['package'] == 'speechbrain' else _Plain)(sizes), sizes)
  features = torch.from_numpy(inputs.Features(sizes))
  trained = [p for p in model.parameters() if p.requires_grad]
  optimizer = torch.optim.AdamW(trained, lr=1e-5)
  losses = []

  def _Call():
    optimizer.zero_grad(set_to_none=True)
    half = sizes['dtype'] == 'bfloat16'
    with torch.autocast('cpu', torch.bfloat16) if half else contextlib.nullcontext():
      loss = model(features)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    losses.append(loss.item())

  return _Call, {
    'first': lambda: losses[0],
    'last': lambda: losses[-1],
    'weights': lambda: sum(p.numel() for p in trained),
  }
