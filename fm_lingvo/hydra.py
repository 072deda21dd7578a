"""The hydra: one body, several heads, a branch for each stream of data.

B: utterances, S: samples, T: log-mel frames, N: encoded frames, F: mel bins,
D: model width.
"""

from fm_lingvo import batch_parts
from fm_lingvo import encoder
from fm_lingvo import errors
from fm_lingvo import frontend
from fm_lingvo import input as hydra_input
from fm_lingvo import supervised_heads
from fm_lingvo import tokenizer
from fm_lingvo import train_params
from lingvo import compat as tf
from lingvo.core import base_model
from lingvo.core import hyperparams
from lingvo.core import py_utils


def BranchParams(stream, head, weight=1.0):
  """Params of one branch: which stream feeds which head, how much it counts."""
  p = hyperparams.Params()
  p.Define('stream', stream, 'Name of the input stream that feeds this branch.')
  p.Define('head', head, 'Name of the head, in task.heads, that it trains.')
  p.Define('weight', weight, 'Factor, >= 0, of the branch\'s loss in the sum.')
  p.Define('weight_schedule', None,
           'Params of a Lingvo schedule (lingvo/core/schedule.py) whose value at each '
           'step multiplies the weight; None: constant.')
  return p


class HydraTask(base_model.BaseTask):
  """Front end and encoder shared by every branch, a head for each objective.

  For each branch: features of its stream, head.Corrupt, encoder, head.Loss; the
  loss is the sum of the branches' losses times their weights. An experiment chooses
  streams, heads and branches; the task is the same for all of them.

  Training wants the streams of all branches. Evaluation takes what its data set has:
  branches whose stream is absent are left out.
  """

  @classmethod
  def Params(cls):
    p = super().Params()
    p.name = 'task'
    p.Define('frontend', frontend.LogMelFrontend.Params(), 'Waveform -> log-mel.')
    p.encoder = encoder.ConformerEncoder.Params()
    p.Define('heads', hyperparams.Params(), 'Heads by name.')
    p.Define('branches', hyperparams.Params(),
             'Branches by name, see hydra.BranchParams.')
    p.Define('encode_together', None,
             'Whether all branches are encoded in one pass, padded to the longest; '
             'else each in its own. None: in one pass where all have the same static '
             'length, so that nothing is padded.')
    train_params.Define(p.train)
    return p

  @classmethod
  def AddHead(cls, p, name, head):
    """Adds Params `head` to the task Params `p` under `name`."""
    p.heads.Define(name, head, f'Head {name}: {head.cls.__doc__.splitlines()[0]}')

  @classmethod
  def AddBranch(cls, p, name, stream, head, weight=1.0):
    """Adds a branch to the task Params `p`, see BranchParams."""
    p.branches.Define(name, BranchParams(stream, head, weight), f'Branch {name}.')

  def __init__(self, params):
    train_params.Validate(f'{params.name}.train', params.train)
    super().__init__(params)
    p = self.params
    if tf.get_default_graph().seed is None:
      # Every job of a cluster then initialises variables from seed and name.
      tf.random.set_seed(p.random_seed or 0)
    if p.encode_together not in (None, True, False):
      raise errors.ConfigError(f'{p.name}.encode_together = {p.encode_together!r}: expected None, True or False')
    self._branches = [(name, branch) for name, branch in p.branches.IterParams()]
    if not self._branches:
      raise errors.ConfigError(f'{p.name}.branches: expected at least one branch')
    head_names = [name for name, _ in p.heads.IterParams()]
    for name, branch in self._branches:
      if branch.head not in head_names:
        raise errors.ConfigError(f'{p.name}.branches.{name}.head = {branch.head!r}: '
                         f'expected one of {", ".join(head_names)}')
      if branch.weight < 0:
        raise errors.ConfigError(f'{p.name}.branches.{name}.weight = {branch.weight}: '
                         'expected >= 0')
      if branch.weight_schedule is not None:
        self.CreateChild(f'{name}_weight', branch.weight_schedule)
    num_bins = p.frontend.mel.num_bins
    self.CreateChild('frontend', p.frontend)
    encoder_p = p.encoder.Copy()
    encoder_p.subsampling.num_bins = num_bins
    self.CreateChild('encoder', encoder_p)
    self._head_names = sorted({branch.head for _, branch in self._branches})
    for name in self._head_names:
      self.CreateChild(name, p.heads.Get(name).Copy().Set(
          input_dim=p.encoder.model_dim, num_bins=num_bins))
    for name, branch in self._branches:
      self._CheckTokenizer(name, branch)

  def _CheckTokenizer(self, name, branch):
    """Raises ConfigError if a branch's stream makes labels that its head does not mean."""
    head, streams = self.Head(branch.head), getattr(self.params.input, 'streams', ())
    if not isinstance(head, supervised_heads.SupervisedHead) or branch.stream not in streams:
      return
    found, expected = streams.Get(branch.stream).tokenizer_file, head.params.tokenizer_file
    if found != expected and (not found or tokenizer.Tokenizer(found).sha256 != head.tokenizer.sha256):
      raise errors.ConfigError(f'{self.params.name}.branches.{name}: stream {branch.stream} has tokenizer_file = {found!r}, '
                               f'but head {branch.head} has {expected!r}; expected the same model')

  def Head(self, name):
    """The head layer called `name` in task.heads."""
    return self.children[name]

  def Tokenizers(self):
    """dict: branch name -> the Tokenizer of its labels, of branches that have any."""
    return {name: self.Head(branch.head).tokenizer for name, branch in self._branches
            if isinstance(self.Head(branch.head), supervised_heads.SupervisedHead)}

  @property
  def branches(self):
    """List of (name, Params) of the branches, in the order of their adding."""
    return self._branches

  def Components(self):
    """dict: component name -> its layer, for tables of parameter counts."""
    return {'frontend': self.frontend, 'encoder': self.encoder,
            **{f'heads.{name}': self.Head(name) for name in self._head_names}}

  def CheckRestored(self, sess, source):
    """Raises ValueError if restored variables contradict these params.

    Args:
      sess: Session that holds the variables.
      source: Where they come from, for the message.
    """
    heads = [head for head in map(self.Head, self._head_names) if isinstance(head, supervised_heads.SupervisedHead)]
    # One step for all: each step with new fetches has the whole graph optimised.
    record, tokenizers = sess.run((self.frontend.vars.record, [head.vars.tokenizer_record for head in heads]))
    self.frontend.CheckRecord(record, source)
    for head, value in zip(heads, tokenizers):
      head.CheckRecord(value, source)

  def ComputePredictions(self, theta, input_batch):
    """Features, corruption and one encoder pass for all branches.

    Args:
      theta: This task's variables.
      input_batch: NestedMap: stream name -> its batch (fm_lingvo/input.py).

    Returns:
      NestedMap: branch name -> NestedMap of clean, corrupted, encoded [B, N, D]
      and paddings [B, N].
    """
    branches = self._BranchesFor(input_batch)
    features = {}
    for stream in sorted({branch.stream for _, branch in branches}):
      batch = input_batch[stream]
      found = batch_parts.Apply(self._Features, theta.frontend, batch.waveforms, batch.num_samples)
      features[stream] = py_utils.NestedMap(features=found[0], paddings=found[1])
    corrupted = [
        self.Head(branch.head).Corrupt(theta[branch.head],
                                       features[branch.stream].features,
                                       features[branch.stream].paddings)
        for _, branch in branches
    ]
    encoded = self._Encode(
        theta.encoder, [c.features for c in corrupted],
        [features[branch.stream].paddings for _, branch in branches])
    predictions = py_utils.NestedMap()
    for (name, branch), corrupt, (x, paddings) in zip(branches, corrupted, encoded):
      predictions[name] = py_utils.NestedMap(
          clean=features[branch.stream], corrupted=corrupt, encoded=x,
          paddings=paddings)
    return predictions

  def _Features(self, theta, waveforms, num_samples):
    """[features, paddings] of a part of a batch."""
    out = self.frontend.FProp(theta, waveforms, num_samples)
    return [out.features, out.paddings]

  def _BranchesFor(self, input_batch):
    """The branches to run on a batch, see the class."""
    found = [(name, branch) for name, branch in self._branches
             if branch.stream in input_batch]
    if len(found) < (1 if self.do_eval else len(self._branches)):
      raise errors.ConfigError(
          f'{self.params.name}.branches: the input has the streams '
          f'{", ".join(sorted(input_batch.keys()))}; expected '
          f'{", ".join(sorted({b.stream for _, b in self._branches}))}')
    return found

  def _Encode(self, theta, features, paddings):
    """Encodes several [B_i, T_i, F]; a list of ([B_i, N_i, D], [B_i, N_i])."""
    if len(features) == 1 or not self._Together(features):
      return [self.encoder.FProp(theta, x, pads)
              for x, pads in zip(features, paddings)]
    sizes = [py_utils.GetShape(x, 2) for x in features]
    longest = py_utils.GetShape(features[0])[1]
    for _, time in sizes[1:]:
      longest = max(longest, time) if (
          isinstance(longest, int) and isinstance(time, int)) else tf.maximum(
              longest, time)
    x = tf.concat([
        tf.pad(f, [[0, 0], [0, longest - time], [0, 0]])
        for f, (_, time) in zip(features, sizes)], axis=0)  # [sum B_i, max T_i, F]
    pads = tf.concat([
        tf.pad(f, [[0, 0], [0, longest - time]], constant_values=1.0)
        for f, (_, time) in zip(paddings, sizes)], axis=0)
    x, pads = self.encoder.FProp(theta, x, pads)
    outputs, start = [], 0
    for batch, time in sizes:
      frames = time // encoder.SUBSAMPLING_FACTOR
      outputs.append((x[start:start + batch, :frames],
                      pads[start:start + batch, :frames]))
      start += batch
    return outputs

  def _Together(self, features):
    """Whether [B_i, T_i, F] are encoded in one pass."""
    if self.params.encode_together is not None:
      return self.params.encode_together
    lengths = {x.shape[1] for x in features}  # None: not static.
    return len(lengths) == 1 and None not in lengths

  def ComputeLoss(self, theta, predictions, input_batch):
    """Sums the branches' losses.

    Returns:
      (metrics, tensors) as BaseTask.FPropTower. Metrics and tensors of a branch
      carry its name, e.g. `unlabeled/masked_accuracy`; of a stream,
      `unlabeled/num_samples` and `unlabeled/dropped` (examples so far). `loss` has
      the branch's own weight (frames) where there is one branch, so that replicas
      average exactly, and 1 where there are several: MeanLoss is that of many batches.
    """
    metrics, tensors = {}, {}
    losses = []
    branches = self._BranchesFor(input_batch)
    for name, branch in branches:
      out = predictions[name]
      branch_metrics, branch_tensors = self.Head(branch.head).Loss(
          theta[branch.head], out.encoded, out.paddings, out.corrupted,
          input_batch[branch.stream])
      value, weight = branch_metrics['loss']
      factor = self._BranchWeight(name, branch)
      losses.append((value * factor, weight))
      if branch.weight_schedule is not None:
        branch_metrics['weight'] = factor, 1.0
      branch_tensors.update(self._Hypotheses(theta, branch, out))
      metrics.update({f'{name}/{k}': v for k, v in branch_metrics.items()})
      branch_tensors['features'] = out.clean.features[:1]  # [1, T, F]
      branch_tensors['masked_features'] = out.corrupted.features[:1]
      branch_tensors['paddings'] = out.clean.paddings[:1]
      tensors.update({f'{name}/{k}': v for k, v in branch_tensors.items()})
    for stream in sorted({branch.stream for _, branch in branches}):
      tensors.update(self._StreamTensors(stream, input_batch[stream]))
    if len(losses) == 1:
      metrics['loss'] = losses[0]
    else:
      metrics['loss'] = tf.add_n([value for value, _ in losses]), 1.0
    return metrics, tensors

  def MeanLoss(self, values):
    """The loss over many batches, from the branches' own means, so that no short batch counts as much as a long one.

    Args:
      values: dict of metrics over those batches, BRANCH/loss and, of scheduled weights, BRANCH/weight among them.

    Returns:
      The sum of the branches' losses times their weights, of those that have one; None if none has.
    """
    losses = [values.get(f'{name}/weight', branch.weight) * values[f'{name}/loss']
              for name, branch in self._branches if f'{name}/loss' in values]
    return sum(losses) if losses else None

  def _BranchWeight(self, name, branch):
    """The factor of a branch's loss at this step, a float or a scalar tensor."""
    if branch.weight_schedule is None:
      return branch.weight
    return branch.weight * self.children[f'{name}_weight'].Value()

  def _Hypotheses(self, theta, branch, out):
    """In evaluation, what a head with labels decodes: hyp_labels [B, K, L], ..."""
    head = self.Head(branch.head)
    if not (self.do_eval and isinstance(head, supervised_heads.SupervisedHead)):
      return {}
    hypotheses = head.Decode(theta[branch.head], out.encoded, out.paddings)
    return {f'hyp_{key}': value for key, value in hypotheses.items()}

  def _StreamTensors(self, stream, batch):
    """Per-utterance counts and, where batches hold them, strings of a stream."""
    tensors = {
        f'{stream}/num_samples': batch.num_samples,  # [B]
        f'{stream}/weights': batch.weights,  # [B]
        f'{stream}/waveform': batch.waveforms[:1],  # [1, S]
        f'{stream}/finite': tf.reduce_all(tf.math.is_finite(batch.waveforms), axis=1),  # [B]
    }
    for key in batch:
      if key.startswith('dropped') or key == 'utt_ids' or (
          self.do_eval and key in hydra_input.STRING_KEYS):
        tensors[f'{stream}/{key}'] = batch[key]  # [B]
    return tensors

  def FilterPerExampleTensors(self, per_example):
    """All of them: the runner fetches those that it needs."""
    return per_example
