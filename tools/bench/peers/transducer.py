"""Other transducer losses and their gradients, timed on the logits that ours gets.

Sizes: batch, frames, labels, vocab; `package`, one of PACKAGES; `depth` J > 0: from the
joint network's inputs, else from logits. PyTorch's are run in the peers' environment, `rnnt` in ours, which has
TensorFlow.
"""

from .. import inputs

PACKAGES = ('fast_rnnt', 'optimized_transducer', 'torchaudio', 'torch', 'rnnt')


def SetUp(sizes):
  """See worker.py. The fact `loss` is the sum over the batch."""
  if sizes['package'] == 'rnnt':
    return _TensorFlow(sizes)
  import torch

  torch.set_num_threads(sizes['threads'])
  arrays = inputs.Joint(sizes) if sizes.get('depth') else inputs.Transducer(sizes)
  *tensors, labels = (torch.from_numpy(x) for x in arrays)
  for x in tensors:
    x.requires_grad_()
  loss = globals()[f'_{sizes["package"]}'](labels, sizes)
  losses = []

  def _Call():
    for x in tensors:
      x.grad = None
    logits = tensors[0]
    if len(tensors) > 1:
      enc, pred, w = tensors
      logits = torch.tanh(enc[:, :, None] + pred[:, None]) @ w
    value = loss(logits)
    del logits
    value.backward()
    losses.append(float(value))

  # Of the first call: optimized_transducer writes its gradient over the logits, unlike the other losses.
  return _Call, {'loss': lambda: losses[0]}


def _fast_rnnt(labels, sizes):
  import fast_rnnt
  import torch

  ends = torch.tensor([[0, 0, sizes['labels'], sizes['frames']]] * sizes['batch'])
  return lambda logits: fast_rnnt.rnnt_loss(logits, labels.long(), 0, boundary=ends, reduction='sum')


def _Lengths(sizes):
  import torch

  return [torch.full([sizes['batch']], sizes[k], dtype=torch.int32) for k in ('frames', 'labels')]


def _optimized_transducer(labels, sizes):
  import optimized_transducer

  frames, lengths = _Lengths(sizes)
  return lambda logits: optimized_transducer.transducer_loss(  # Of packed logits: here nothing is padding.
    logits.reshape(-1, sizes['vocab']), labels, frames, lengths, blank=0, reduction='sum', from_log_softmax=False
  )


def _torchaudio(labels, sizes):
  import torchaudio

  frames, lengths = _Lengths(sizes)
  return lambda logits: torchaudio.functional.rnnt_loss(logits, labels, frames, lengths, blank=0, reduction='sum')


def _torch(labels, sizes):
  """A loop over antidiagonals in plain PyTorch; its full log-softmax stays for autograd."""
  import torch

  batch, frames, width = sizes['batch'], sizes['frames'], sizes['labels'] + 1
  # Antidiagonal d at label u is frame d - u.
  t = torch.arange(frames + width - 1)[:, None] - torch.arange(width)[None]
  inside = (t >= 0) & (t < frames)
  t = t.clamp(0, frames - 1)
  u = torch.arange(width).expand_as(t)
  never = torch.tensor(-1e30)

  def _Loss(logits):
    scores = torch.log_softmax(logits, -1)
    blank = torch.where(inside, scores[..., 0][:, t, u], never)  # [B, D, U + 1]
    label = scores[:, :, :-1].gather(3, labels.long()[:, None, :, None].expand(-1, frames, -1, 1))[..., 0]
    label = torch.nn.functional.pad(label, (0, 1), value=-1e30)
    label = torch.where(inside, label[:, t, u], never)
    alpha = torch.full([batch, width], -1e30)
    alpha[:, 0] = 0.0
    start = torch.full([batch, 1], -1e30)
    for d in range(frames + width - 2):
      moved = torch.cat([start, (alpha + label[:, d])[:, :-1]], 1)
      alpha = torch.logaddexp(alpha + blank[:, d], moved)
    return -(alpha[:, -1] + blank[:, -1, -1]).sum()

  return _Loss


def _TensorFlow(sizes):
  import tensorflow as tf
  from rnnt import rnnt_loss

  logits, labels = (tf.constant(x) for x in inputs.Transducer(sizes))
  labels = tf.cast(labels, tf.int64)
  lengths = [tf.fill([sizes['batch']], tf.constant(sizes[k], tf.int64)) for k in ('labels', 'frames')]
  last = []

  @tf.function
  def _Step(logits):
    with tf.GradientTape() as tape:
      tape.watch(logits)
      loss = tf.reduce_sum(rnnt_loss(logits, labels, *lengths))
    return loss, tape.gradient(loss, logits)

  def _Call():
    last[:] = [_Step(logits)[0].numpy()]

  return _Call, {'loss': lambda: float(last[0])}
