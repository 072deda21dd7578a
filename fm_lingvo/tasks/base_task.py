"""The methods of a task that the training loop, evaluations and commands call, with defaults."""

from lingvo import compat as tf
from lingvo.core import base_model

from fm_lingvo import errors
from fm_lingvo.config import train_params
from fm_lingvo.utils import own_names
from fm_lingvo.utils import seeds


class BaseTask(base_model.BaseTask):
  """Lingvo's BaseTask, with the params of our training loop and the methods that it calls.

  HydraTask has all of them. A task on other data must have ComputePredictions and ComputeLoss, as in Lingvo, and
  Components.

  Attributes:
    computes_in_parts: Whether the task can compute a batch in parts (runtime/batch_split.py), as a long local run on
      several cores does.
  """

  computes_in_parts = False

  @classmethod
  def Params(cls):
    p = super().Params()
    p.name = 'task'
    train_params.Define(p.train)
    return p

  @classmethod
  def Idle(cls, p):
    """The params that have no effect with the values of the others; see config/idle.py."""
    return {f'train.{name}': why for name, why in train_params.Idle(f'{p.name}.train', p.train).items()}

  def __init__(self, params):
    train_params.Validate(f'{params.name}.train', params.train)
    seeds.Check(f'{params.name}.random_seed', params.random_seed)
    super().__init__(params)
    self._skipped_steps = 0  # Of this job, since its start.
    if tf.get_default_graph().seed is None:
      # Every job of a cluster then initialises variables from seed and name.
      tf.random.set_seed(self.params.random_seed or 0)

  def ProcessFPropResults(self, sess, global_step, metrics, per_example):
    """Ends a job of a cluster that has skipped too many steps; Lingvo's trainers call this after their steps.

    Lingvo's own check for NaN would repeat the steps since the newest checkpoint, and with them the NaN, for ever.
    """
    limit = self.params.train.max_skipped_steps
    if own_names.IsSkipped(metrics):
      self._skipped_steps += 1
      if self._skipped_steps > limit:
        raise errors.RunError(
          f'task.train.max_skipped_steps = {limit}: this job skipped {self._skipped_steps} steps up to step '
          f'{int(global_step)} for a NaN or an Inf in loss or gradients; a local run names their utterances'
        )
    return super().ProcessFPropResults(sess, global_step, metrics, per_example)

  @property
  def branches(self):
    """List of (name, Params) of the branches; only a hydra has any."""
    return []

  def Tokenizers(self):
    """dict: branch name -> the Tokenizer of its labels, of branches that have any."""
    return {}

  def TokenizersToKeep(self):
    """dict: name -> the Tokenizer that a run keeps a copy of, see run_dir.TokenizerPath."""
    return {}

  @classmethod
  def UseKeptTokenizers(cls, params, path):
    """Sets the tokenizer files of model Params to a run's copies; for a hydra, load_run.SetSearch does that instead.

    Args:
      params: Model Params with an input.
      path: Function from a name to the path of its copy.
    """

  def Components(self):
    """dict: component name -> its layer, for tables of parameter counts."""
    raise NotImplementedError('Abstract method')

  def CheckInput(self, p, do_eval=False):
    """Raises errors.ConfigError if batches of an input are not those that this task needs.

    Args:
      p: Params of the input.
      do_eval: Whether to evaluate on it, not to train.
    """

  def CheckRestored(self, values, source):
    """Raises errors.ConfigError if the records in a checkpoint (checkpoints/provenance.py) contradict these params.

    Args:
      values: dict: name of a variable that is not trained -> its value in the checkpoint; those that are restored.
      source: Name of the checkpoint, for the message.
    """

  @classmethod
  def CheckNothingToFit(cls, p):
    """Raises errors.ConfigError if Fit would have something to do in a new run of Params `p`."""

  def Fit(self, sess, loaded):
    """Fits constants, such as the front end's statistics, to data before the first step of a new run.

    Args:
      sess: Session that holds the initialised variables.
      loaded: Names of the variables that came from another run's checkpoint.
    """

  def MeanLoss(self, values):
    """The loss over the batches of an evaluation, where it is another than the mean of their losses; else None.

    Args:
      values: dict of metrics over those batches.
    """
    del values

  def DerivedMetrics(self, values):
    """dict name -> float of metrics that follow from the means of others, such as a perplexity.

    Args:
      values: dict of metrics over many batches.
    """
    del values
    return {}

  def GradientShares(self, metrics):
    """dict name -> (tensor, weight) of metrics that compare the gradients of the loss's parts; empty without parts.

    Args:
      metrics: Metrics of the training step, dict name -> (value, weight).
    """
    del metrics
    return {}

  def FilterPerExampleTensors(self, per_example):
    """Keeps all tensors: runners fetch those that they need."""
    return per_example
