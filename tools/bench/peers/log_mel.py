"""SpeechBrain's log-mel frames, timed: samples in, features out. Sizes: batch, seconds."""

import torch

from .. import inputs
from . import torchaudio_stand_in

torchaudio_stand_in.Install()

from speechbrain.lobes.features import Fbank  # noqa: E402


def SetUp(sizes):
  """See worker.py. Its features are decibels of the energy, without pre-emphasis: no fact that ours has."""
  torch.set_num_threads(sizes['threads'])
  fbank = Fbank(sample_rate=16000, n_fft=512, n_mels=80, win_length=25)
  samples = torch.from_numpy(inputs.Samples(sizes))
  return lambda: fbank(samples), {}
