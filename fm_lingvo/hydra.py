"""The hydra: one encoder, several heads, and branches that tie a stream of data to a head.

B: utterances, S: samples, T: log-mel frames, N: encoded frames, F: mel bins, D: width of encoded frames, K: hypotheses.
"""

from lingvo import compat as tf
from lingvo.core import base_layer
from lingvo.core import hyperparams
from lingvo.core import py_utils

from fm_lingvo.data import hydra_input
from fm_lingvo.data import stream as stream_lib
from fm_lingvo.data import tokenizer
from fm_lingvo.heads import base_head
from fm_lingvo.heads import branch as branch_lib
from fm_lingvo.layers import base_encoder
from fm_lingvo.layers import conformer_encoder
from fm_lingvo.layers import frontend
from fm_lingvo.runtime import batch_split
from fm_lingvo.tasks import base_task
from fm_lingvo.training import data_statistics
from fm_lingvo.utils import audio
from fm_lingvo.utils import own_names


class HydraTask(base_task.BaseTask):
  """Front end and encoder shared by every branch, a head for each objective.

  For each branch: features of its stream, head.Corrupt, encoder, head.Loss. The loss is the sum of the branches'
  losses times their weights. An experiment chooses encoder, streams, heads and branches; the task is always the same.

  Branches of one stream whose heads apply the same corruption (BaseHead.CorruptionKey) see one view of it, which is
  encoded once: CTC beside a transducer costs no second encoder pass.

  Training needs the streams of all branches. Evaluation leaves out branches whose stream its data set does not have.
  """

  computes_in_parts = True

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('frontend', frontend.LogMelFrontend.Params(), 'Waveform -> log-mel.')
    p.encoder = conformer_encoder.ConformerEncoder.Params()  # Or Params of any other base_encoder.BaseEncoder.
    p.Define('heads', hyperparams.Params(), 'Heads by name.')
    p.Define('branches', hyperparams.Params(), 'Branches by name, see fm_lingvo/heads/branch.py.')
    p.Define(
      'encode_together',
      None,
      'Whether all streams and views are encoded in one pass, padded to the longest; else each in its own. None: in '
      'one pass where all have the same static length, so that nothing is padded.',
    )
    return p

  @classmethod
  def Idle(cls, p):
    """The params that have no effect with the values of the others; see config/idle.py."""
    return {**super().Idle(p), **branch_lib.Idle(p)}

  @classmethod
  def AddHead(cls, p: hyperparams.Params, name: str, head: hyperparams.Params) -> None:
    """Adds Params `head` to the task Params `p` under `name`."""
    p.heads.Define(name, head, f'Head {name}: {(head.cls.__doc__ or head.cls.__name__).splitlines()[0]}')

  @classmethod
  def AddBranch(
    cls, p: hyperparams.Params, name: str, stream: str, head: str, weight: float = 1.0, decode: bool = True
  ) -> None:
    """Adds a branch to the task Params `p`, see branch.BranchParams."""
    p.branches.Define(name, branch_lib.BranchParams(stream, head, weight, decode), f'Branch {name}.')

  def __init__(self, params):
    super().__init__(_PaddedToEncodedFrames(params))
    p = self.params
    self._branches = [(name, branch) for name, branch in p.branches.IterParams()]
    branch_lib.CheckAll(p)
    num_bins = p.frontend.mel.num_bins
    self.CreateChild('frontend', p.frontend)
    self.CreateChild('encoder', p.encoder.Copy().Set(num_bins=num_bins))
    self._head_names = sorted({branch.head for _, branch in self._branches})
    for name in self._head_names:
      head = p.heads.Get(name).Copy()
      head.Set(input_dim=self.encoder.output_dim, num_bins=num_bins, downsample_factor=self.encoder.downsample_factor)
      self.CreateChild(name, head)
    for name, branch in self._branches:
      if branch.weight_schedule is not None:
        self.CreateChild(f'{name}_weight', branch.weight_schedule)
      branch_lib.CheckTokenizer(p, name, self.Head(branch.head).tokenizer, self._Decodes(branch))

  def CheckInput(self, p, do_eval=False):
    """See the base class."""
    if 'streams' not in p:
      return
    hydra_input.PaddedTo(p, self.encoded_frame_samples)
    for name, branch in branch_lib.ForStreams(self.params, p.streams.GetKeys(), do_eval):
      tokens = self.Head(branch.head).tokenizer
      branch_lib.CheckTokenizer(self.params.Copy().Set(input=p), name, tokens, self._Decodes(branch))

  def Head(self, name: str) -> base_head.BaseHead:
    """The head layer called `name` in task.heads."""
    return self.children[name]

  def Tokenizers(self) -> dict[str, tokenizer.Tokenizer]:
    """dict: branch name -> the Tokenizer of its labels, of branches that have any."""
    found = {name: self.Head(branch.head).tokenizer for name, branch in self._branches}
    return {name: model for name, model in found.items() if model is not None}

  def TokenizersToKeep(self):
    """See the base class; names are those of heads."""
    return {dict(self._branches)[name].head: found for name, found in self.Tokenizers().items()}

  @property
  def branches(self) -> list[tuple[str, hyperparams.Params]]:
    """List of (name, Params) of the branches, in the order of their adding."""
    return self._branches

  @property
  def encoded_frame_samples(self) -> int:
    """Samples of speech of an encoded frame."""
    return self.encoder.downsample_factor * audio.FRAME_STEP_SAMPLES

  def Components(self) -> dict[str, base_layer.BaseLayer]:
    """dict: component name -> its layer, for tables of parameter counts."""
    heads = {f'heads.{name}': self.Head(name) for name in self._head_names}
    return {'frontend': self.frontend, 'encoder': self.encoder, **heads}

  def CheckRestored(self, values, source: str) -> None:
    """See the base class."""
    for layer in [self.frontend] + [self.Head(name) for name in self._head_names]:
      if layer.record is not None and layer.record.op.name in values:
        layer.CheckRecord(values[layer.record.op.name], source)

  @classmethod
  def CheckNothingToFit(cls, p):
    """See the base class."""
    data_statistics.CheckNothingToFit(p)

  def Fit(self, sess, loaded):
    """See the base class, and training/data_statistics.py."""
    data_statistics.Fit(self, sess, loaded)

  def ComputePredictions(self, theta, input_batch):
    """Features, corruption and one encoder pass for all branches.

    Args:
      theta: This task's variables.
      input_batch: NestedMap: stream name -> its batch (fm_lingvo/data/hydra_input.py).

    Returns:
      NestedMap: branch name -> its view: NestedMap of clean, corrupted, encoded [B, N, D] and paddings [B, N].
    """
    branches = branch_lib.ForStreams(self.params, input_batch.keys(), self.do_eval)
    clean = {}
    for stream in sorted({branch.stream for _, branch in branches}):
      batch = input_batch[stream]
      found = batch_split.Apply(self._Features, theta.frontend, batch.waveforms, batch.num_samples)
      clean[stream] = py_utils.NestedMap(features=found[0], paddings=found[1])
    views = {}
    for name, branch in branches:
      key, x = self._ViewKey(name, branch), clean[branch.stream]
      if key not in views:
        corrupted = self.Head(branch.head).Corrupt(theta[branch.head], x.features, x.paddings)
        views[key] = py_utils.NestedMap(clean=x, corrupted=corrupted)
    inputs = [(view.corrupted.features, view.clean.paddings) for view in views.values()]
    encoded = base_encoder.EncodeAll(self.encoder, theta.encoder, inputs, self.params.encode_together)
    for view, (x, paddings) in zip(views.values(), encoded):
      view.Set('encoded', x)
      view.Set('paddings', paddings)
    return py_utils.NestedMap({name: views[self._ViewKey(name, branch)] for name, branch in branches})

  def _ViewKey(self, name, branch):
    """What a branch sees of its stream: branches with equal keys are encoded once."""
    corruption = self.Head(branch.head).CorruptionKey()
    return (branch.stream, name) if corruption is None else (branch.stream, None, corruption)

  def _Features(self, theta, waveforms, num_samples):
    """[features, paddings] of a part of a batch."""
    out = self.frontend.FProp(theta, waveforms, num_samples)
    return [out.features, out.paddings]

  def ComputeLoss(self, theta, predictions, input_batch):
    """Sums the branches' losses.

    Returns:
      (metrics, tensors) as BaseTask.FPropTower. Metrics and tensors of a branch carry its name, e.g.
      `unlabeled/masked_accuracy`; of a stream, `unlabeled/num_samples` and `unlabeled/dropped` (examples so far).
      Where all branches see one view, `loss` has the weight of the first one's (labels, frames), so that the average
      over replicas is exact; else 1. MeanLoss is the loss over many batches.
    """
    metrics, tensors, losses = {}, {}, []
    branches = branch_lib.ForStreams(self.params, input_batch.keys(), self.do_eval)
    for name, branch in branches:
      out = predictions[name]
      branch_metrics, branch_tensors = self.Head(branch.head).Loss(
        theta[branch.head], out.encoded, out.paddings, out.corrupted, input_batch[branch.stream]
      )
      value, weight = branch_metrics['loss']
      factor = self._BranchWeight(name, branch)
      losses.append((value * factor, weight))
      head = f'{self.params.name}.heads.{branch.head}'
      if branch.weight_schedule is not None:
        own_names.Add(branch_metrics, {'weight': (factor, 1.0)}, head)
      if self.do_eval and self._Decodes(branch):
        own_names.Add(branch_tensors, {'encoded': out.encoded, 'encoded_paddings': out.paddings}, head)
        if not self.Head(branch.head).SearchesJointly(out.encoded):
          hypotheses = self.Head(branch.head).Decode(theta[branch.head], out.encoded, out.paddings)
          own_names.Add(branch_tensors, {f'hyp_{key}': x for key, x in hypotheses.items()}, head)
      own_names.Add(branch_tensors, branch_lib.SummaryTensors(out), head)
      metrics.update({f'{name}/{k}': v for k, v in branch_metrics.items()})
      tensors.update({f'{name}/{k}': v for k, v in branch_tensors.items()})
    for stream in sorted({branch.stream for _, branch in branches}):
      own_names.Add(tensors, stream_lib.Tensors(stream, input_batch[stream], self.do_eval), f'stream {stream}')
    views = {self._ViewKey(name, branch) for name, branch in branches}
    metrics['loss'] = tf.add_n([value for value, _ in losses]), losses[0][1] if len(views) == 1 else 1.0
    return metrics, tensors

  def MeanLoss(self, values):
    """The weighted sum of each branch's mean over all its labels or frames; None if no branch has a loss.

    A mean of the batches' losses would give each batch the same weight, however short.

    Args:
      values: dict of metrics over those batches, BRANCH/loss and, of scheduled weights, BRANCH/weight among them.
    """
    losses = [
      (branch.weight if branch.weight_schedule is None else values[f'{name}/weight']) * values[f'{name}/loss']
      for name, branch in self._branches
      if f'{name}/loss' in values
    ]
    return sum(losses) if losses else None

  def _BranchWeight(self, name, branch):
    """The factor of a branch's loss at this step, a float or a scalar tensor."""
    if branch.weight_schedule is None:
      return branch.weight
    return branch.weight * self.children[f'{name}_weight'].Value()

  def GradientShares(self, metrics):
    """Each branch's share of the encoder's gradient; see the base class.

    Returns:
      `branch/BRANCH_encoder_grad_norm`, the norm of the gradient of the branch's loss times its weight with respect to
      the encoder's trained variables, and `branch/BRANCH_encoder_grad_share`, its square over the sum of the squares of
      all branches. Empty with one branch, or if nothing of the encoder is trained. Each branch adds a backward pass.
    """
    (learner,) = self.learners
    encoder = {v.ref() for v in self.encoder.vars.Flatten()}
    variables = [v for v in learner.GetTrainableVariables(self.vars).Flatten() if v.ref() in encoder]
    if len(self._branches) < 2 or not variables:
      return {}
    losses = {name: metrics[f'{name}/loss'][0] * self._BranchWeight(name, branch) for name, branch in self._branches}
    return branch_lib.GradientShares(losses, variables)

  def DecodeWithTheta(self, theta, input_batch):
    """Recognises speech with every branch that decodes; Lingvo's BaseTask.Decode(input_batch) is this with self.theta.

    To be built in evaluation mode.

    Args:
      theta: This task's variables.
      input_batch: NestedMap: stream name -> NestedMap of waveforms float32 [B, S] in [-1, 1], of any S, and num_samples
        int32 [B]; samples after num_samples are ignored.

    Returns:
      NestedMap: branch name -> hypotheses, see BaseHead.Decode.
    """
    return self.DecodeEncoded(theta, self.EncodeSpeech(theta, input_batch))

  def EncodeSpeech(self, theta, input_batch):
    """The first half of DecodeWithTheta: branch name -> NestedMap of encoded [B, N, D] and paddings [B, N]."""
    speech = py_utils.NestedMap()
    for stream, batch in input_batch.items():
      waveforms, num_samples = frontend.PadWaveforms(batch.waveforms, batch.num_samples, self.encoded_frame_samples)
      speech[stream] = py_utils.NestedMap(waveforms=waveforms, num_samples=num_samples)
    predictions = self.ComputePredictions(theta, speech)
    branches = branch_lib.ForStreams(self.params, speech.keys(), self.do_eval)
    names = [name for name, branch in branches if self._Decodes(branch)]
    return py_utils.NestedMap({name: predictions[name].GetSlice(['encoded', 'paddings']) for name in names})

  def DecodeEncoded(self, theta, encoded):
    """The second half of DecodeWithTheta, for the output of EncodeSpeech."""
    decoded, branches = py_utils.NestedMap(), dict(self._branches)
    for name, found in encoded.items():
      head = branches[name].head
      decoded[name] = self.Head(head).Decode(theta[head], found.encoded, found.paddings)
    return decoded

  def _Decodes(self, branch):
    """Whether a branch is decoded."""
    return branch.decode and self.Head(branch.head).Decodes()


def _PaddedToEncodedFrames(params):
  """A copy of a HydraTask's Params whose input pads to whole encoded frames."""
  params = params.Copy()
  if params.input is not None and 'pad_multiple_samples' in params.input:
    factor = params.encoder.cls.DownsampleFactor(params.encoder)
    params.input = hydra_input.PaddedTo(params.input, factor * audio.FRAME_STEP_SAMPLES)
  return params
