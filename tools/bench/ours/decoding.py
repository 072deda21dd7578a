"""Our greedy decoding of a transducer, timed: encoded frames in, labels out.

Sizes: those of inputs.Decoding; `tokenizer`, whose vocabulary is theirs; `xla`. A frame gives at
most one label, as the peer's does.
"""

from lingvo import compat as tf

from fm_lingvo.heads import supervised_heads

from .. import inputs
from . import graph

# Where the layers keep what inputs.Decoding names.
_WEIGHTS = {
  'prediction.embedding': 'embedding',
  'prediction.lstm.w_input': 'w_input',
  'prediction.lstm.w_recurrent': 'w_recurrent',
  'joint.w_encoded': 'w_encoded',
  'joint.w_predicted': 'w_predicted',
  'joint.w': 'w',
  'joint.b': 'b',
}


def SetUp(sizes):
  """See worker.py. The fact `labels` is how many there are in all."""
  arrays = inputs.Decoding(sizes)
  p = supervised_heads.TransducerHead.Params().Set(
    name='transducer', input_dim=sizes['width'], tokenizer_file=sizes['tokenizer'], max_symbols_per_frame=1
  )
  p.prediction.Set(embedding_dim=sizes['embedded'], hidden_dim=sizes['predicted'])
  p.joint.joint_dim = sizes['joint']
  head = p.Instantiate()
  encoded = graph.Variable(arrays.pop('encoded'))
  weights = {path: graph.Variable(arrays[name]) for path, name in _WEIGHTS.items()}
  graph.Session().run(tf.variables_initializer(head.vars.Flatten()))

  def _Decode(encoded, *values):
    theta = head.theta.DeepCopy()
    for path, value in zip(weights, values):
      theta.Set(path, value)
    found = head.Decode(theta, encoded, tf.zeros(tf.shape(encoded)[:2]))
    return [found.labels, found.lengths]

  run, fetch = graph.Step(_Decode, [encoded, *weights.values()], sizes)
  return run, {'labels': lambda: int(fetch(1).sum())}
