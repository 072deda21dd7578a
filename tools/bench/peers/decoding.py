"""SpeechBrain's greedy search of a transducer, timed: encoded frames in, labels out.

Sizes: those of inputs.Decoding. As in its recipes: a projection of the encoded frames, then
TransducerBeamSearcher with a beam of 1, around an embedding, its LSTM, a projection, and its joint.
"""

import torch

from .. import inputs
from . import torchaudio_stand_in


def SetUp(sizes):
  """See worker.py. The fact `labels` is how many there are in all."""
  torchaudio_stand_in.Install()
  from speechbrain.decoders.transducer import TransducerBeamSearcher
  from speechbrain.nnet.RNN import LSTM
  from speechbrain.nnet.transducer.transducer_joint import Transducer_joint

  torch.set_num_threads(sizes['threads'])
  arrays = {name: torch.from_numpy(x) for name, x in inputs.Decoding(sizes).items()}
  lstm = LSTM(hidden_size=sizes['predicted'], input_size=sizes['embedded'])
  _CopyGates(lstm.rnn, arrays)
  search = TransducerBeamSearcher(
    decode_network_lst=[torch.nn.Embedding.from_pretrained(arrays['embedding']), lstm, _Linear(arrays['w_predicted'])],
    tjoint=Transducer_joint(joint_network=None, joint='sum', nonlinearity=torch.nn.Tanh),
    classifier_network=[_Linear(arrays['w'], arrays['b'])],
    blank_id=0,
    beam_size=1,
  )
  project = _Linear(arrays['w_encoded'])
  found = []

  @torch.no_grad()
  def _Call():
    # 0: at most one label at a frame. Its default of 5 would allow six, and random weights would repeat labels.
    found[:] = search.transducer_greedy_decode(project(arrays['encoded']), max_symbols_per_step=0)[0]

  return _Call, {'labels': lambda: sum(map(len, found))}


def _Linear(weight, bias=None):
  """A projection x W + b with the weights [K, L] and [L]."""
  layer = torch.nn.Linear(*weight.shape, bias=bias is not None)
  with torch.no_grad():
    layer.weight.copy_(weight.T)
    if bias is not None:
      layer.bias.copy_(bias)
  return layer


def _CopyGates(rnn, arrays):
  """Weights of torch.nn.LSTM, whose gates are in the order input, forget, candidate, output."""

  def _Order(w):
    return torch.cat([w.chunk(4, -1)[i] for i in (0, 1, 3, 2)], -1)

  with torch.no_grad():
    rnn.weight_ih_l0.copy_(_Order(arrays['w_input']).T)
    rnn.weight_hh_l0.copy_(_Order(arrays['w_recurrent']).T)
    rnn.bias_hh_l0.zero_()
    rnn.bias_ih_l0.zero_()
    rnn.bias_ih_l0.chunk(4)[1].fill_(1)
