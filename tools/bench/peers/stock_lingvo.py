"""A model for Lingvo's own trainer, of nothing but Lingvo's layers: a Conformer of the demo's size.

  python -m lingvo.trainer --model=tools.bench.peers.stock_lingvo.Demo --run_locally=cpu --mode=sync --logdir=DIR

Lingvo has no BEST-RQ, and its package no experiments. This does less than ours: features are random numbers of Lingvo's
test input, not speech, and so are the labels of the frames; there is no front end, no quantizer and no mask.

B: utterances, T: log-mel frames, F: bins, N: encoded frames = T / 4, D: width.
"""

from lingvo import compat as tf
from lingvo import model_registry
from lingvo.core import base_model
from lingvo.core import base_model_params
from lingvo.core import conformer_layer
from lingvo.core import layers
from lingvo.core import optimizer
from lingvo.core import py_utils
from lingvo.tasks.asr import model_test_input_generator

# params/gin/tiny.gin, and the batch of the demo: 32 s.
_LAYERS, _WIDTH, _HEADS, _KERNEL, _CODES = 4, 144, 4, 15, 512
_BATCH, _FRAMES, _BINS, _STACK = 8, 400, 80, 4


class FrameClassifier(base_model.BaseTask):
  """Stacks frames, encodes them, and learns a label for each."""

  def __init__(self, params):
    super().__init__(params)
    self.CreateChild('stack', layers.StackingOverTime.Params().Set(right_context=_STACK - 1, stride=_STACK))
    self.CreateChild(
      'proj', layers.FCLayer.Params().Set(input_dim=_STACK * _BINS, output_dim=_WIDTH, activation='NONE')
    )
    self.CreateChildren(
      'blocks',
      [
        conformer_layer.ConformerLayer.CommonParams(
          input_dim=_WIDTH, atten_num_heads=_HEADS, kernel_size=_KERNEL, fflayer_hidden_dim=4 * _WIDTH
        )
      ]
      * _LAYERS,
    )
    self.CreateChild('softmax', layers.SimpleFullSoftmax.Params().Set(input_dim=_WIDTH, num_classes=_CODES))

  def ComputePredictions(self, theta, input_batch):
    """Encoded frames [B, N, D] and their paddings [B, N]."""
    src = input_batch.src
    x, paddings = self.stack.FProp(
      tf.squeeze(src.src_inputs, -1), src.paddings[..., tf.newaxis]
    )  # [B, N, 4 F], [B, N, 1]
    now = py_utils.NestedMap(features=self.proj.FProp(theta.proj, x), paddings=tf.squeeze(paddings, -1))
    for block, block_theta in zip(self.blocks, theta.blocks):
      now = block.FProp(block_theta, now)
    return now

  def ComputeLoss(self, theta, predictions, input_batch):
    """Cross-entropy of random labels over frames that are no padding."""
    x, paddings = predictions.features, predictions.paddings
    labels = tf.random.uniform(tf.shape(paddings), maxval=_CODES, dtype=tf.int32)
    xent = self.softmax.FProp(theta.softmax, [x], class_weights=1.0 - paddings, class_ids=labels)
    return {'loss': (xent.avg_xent, xent.total_weight)}, {}


@model_registry.RegisterSingleTaskModel
class Demo(base_model_params.SingleTaskModelParams):
  """One step."""

  def Train(self):
    """Random features [B, T, F, 1]."""
    return model_test_input_generator.TestInputGenerator.Params().Set(
      source_shape=[_BATCH, _FRAMES, _BINS, 1], target_shape=[_BATCH, 5]
    )

  def Task(self):
    """Ends after its first step, with a checkpoint."""
    p = FrameClassifier.Params().Set(name='stock')
    p.train.Set(
      optimizer=optimizer.Adam.ParamsB(),
      learning_rate=1e-3,
      clip_gradient_norm_to_value=1.0,
      max_steps=1,
      save_interval_steps=1,
    )
    return p
