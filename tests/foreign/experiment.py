"""An experiment from outside the library, with an encoder and heads of its own."""

from lingvo.core import schedule

from fm_lingvo import hydra
from fm_lingvo.checkpoints import warm_start
from fm_lingvo.config import registry
from params import labeled
from tests.foreign import bag_head
from tests.foreign import loudness_head
from tests.foreign import pool_encoder


@registry.RegisterExperiment
class Foreign(labeled.LabeledExperiment):
  """Labeled speech -> bag, labeled speech -> loudness."""

  def _GinFiles(self):
    return []  # Those of sizes are for the Conformer.

  def Task(self):
    """The task with two branches on one stream."""
    p = hydra.HydraTask.Params()
    p.encoder = pool_encoder.PoolEncoder.Params()
    hydra.HydraTask.AddHead(p, 'bag', self._LabeledHead(bag_head.BagHead.Params()))
    hydra.HydraTask.AddHead(p, 'loudness', loudness_head.LoudnessHead.Params())
    hydra.HydraTask.AddBranch(p, 'loudness', stream='labeled', head='loudness', weight=0.1)
    hydra.HydraTask.AddBranch(p, 'labeled', stream='labeled', head='bag')
    p.train.init_from_checkpoint_rules = warm_start.InitRules(self.init_from)
    return self._Train(p, schedule.Constant.Params(), ['DevTarget'])

  def Train(self):
    """Labeled source speech."""
    return self._Input(labeled=self._LabeledStream(self.source, 'train'))
