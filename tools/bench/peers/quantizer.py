"""SpeechBrain's quantizer, and the same in NumPy, timed: features in, codes out.

Sizes: batch, seconds, codebooks, codes; `package`: speechbrain or numpy.
"""

import numpy as np

from .. import inputs
from . import torchaudio_stand_in

_STACK, _DIM = 4, 16


def SetUp(sizes):
  """See worker.py. The fact `codes` is how many differ."""
  features = inputs.Features(sizes)
  stacked = features.reshape(features.shape[0], features.shape[1] // _STACK, -1)
  call = (_Numpy if sizes['package'] == 'numpy' else _SpeechBrain)(stacked, sizes)
  return call, {'codes': lambda: len(set(np.asarray(call()[0]).ravel().tolist()))}


def _Numpy(stacked, sizes):
  rng = np.random.default_rng(3)
  frames = stacked.reshape(-1, stacked.shape[-1])
  projections = rng.standard_normal((sizes['codebooks'], frames.shape[1], _DIM), np.float32)
  codebooks = rng.standard_normal((sizes['codebooks'], sizes['codes'], _DIM), np.float32)
  codebooks /= np.linalg.norm(codebooks, axis=-1, keepdims=True)
  return lambda: [(frames @ p @ c.T).argmax(-1) for p, c in zip(projections, codebooks)]


def _SpeechBrain(stacked, sizes):
  torchaudio_stand_in.Install()
  import torch
  from speechbrain.nnet.quantisers import RandomProjectionQuantizer

  torch.set_num_threads(sizes['threads'])
  x = torch.from_numpy(stacked)
  quantizers = [RandomProjectionQuantizer(x.shape[-1], _DIM, sizes['codes']) for _ in range(sizes['codebooks'])]
  return lambda: [quantizer(x) for quantizer in quantizers]
