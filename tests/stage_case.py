"""Small hydras of the stages, built without data, and their checkpoints."""

import os
import shutil
import tempfile

import numpy as np
from lingvo import compat as tf
from lingvo.core import learner
from lingvo.core import optimizer

from fm_lingvo import hydra
from fm_lingvo.checkpoints import warm_start
from fm_lingvo.heads import best_rq_head
from fm_lingvo.heads import transducer_head
from tests import graph_case

_runs = {}  # Arguments of MakeRun -> (temporary folder with a copy, the original's folder, values).
TOKENIZER = 'params/tokenizers/graphemes_en.model'
FILTER = 'encoder/adapters/target/|/transducer/|/ctc/'  # As asr.AdapterFinetune.


def TaskParams(head='transducer', init_from='', fresh=(), trained=None, **encoder):
  """A hydra with one head.

  Args:
    head: transducer or best_rq.
    init_from: As warm_start.InitRules.
    fresh: As warm_start.InitRules.
    trained: Learner's bprop_variable_filter.
    **encoder: Params of the encoder.
  """
  p = hydra.HydraTask.Params()
  p.encoder.Set(model_dim=16, num_layers=1, num_heads=2, kernel_size=5, dropout_prob=0.0)
  p.encoder.subsampling.Set(kind='stack')
  p.encoder.adapter_tpl.bottleneck_dim = 4
  p.encoder.Set(**encoder)
  if head == 'transducer':
    head_p = transducer_head.TransducerHead.Params().Set(tokenizer_file=TOKENIZER, spec_augment=None)
    head_p.prediction.Set(embedding_dim=4, hidden_dim=8)
    head_p.joint.joint_dim = 8
  else:
    head_p = best_rq_head.BestRqHead.Params()
    head_p.quantizer.codebook_size = 8
  hydra.HydraTask.AddHead(p, head, head_p)
  hydra.HydraTask.AddBranch(p, 'speech', stream='stream', head=head)
  p.train.learner = learner.Learner.Params().Set(
    name='loss', learning_rate=0.01, optimizer=optimizer.Adam.ParamsB(), bprop_variable_filter=trained
  )
  p.train.init_from_checkpoint_rules = warm_start.InitRules(init_from, fresh)
  p.random_seed = 1
  return p


def Batch():
  """A batch of two labeled utterances of a second."""
  rng = np.random.RandomState(0)
  return graph_case.py_utils.NestedMap(
    stream=graph_case.py_utils.NestedMap(
      waveforms=tf.constant(0.1 * rng.randn(2, 16000), tf.float32),
      num_samples=tf.constant([16000, 12000]),
      weights=tf.ones([2]),
      labels=tf.constant([[3, 4, 5], [6, 7, 0]]),
      label_lengths=tf.constant([3, 2]),
    )
  )


class Model:
  """What a Checkpointer needs of a model."""

  def __init__(self, task):
    self.tasks, self.params, self.variables = [task], task.params, task.vars.Flatten()
    self.ema = None  # No moving averages.


class StageCase(graph_case.GraphCase):
  """Tests of tasks that hand checkpoints over."""

  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path

  def Randomized(self, task, seed=0):
    """Gives every weight of a task a random value; returns them by name."""
    rng = np.random.RandomState(seed)
    variables = {v.op.name: v for v in task.vars.Flatten()}
    graph_case.Load(self.session, {v: rng.randn(*v.shape) for v in variables.values() if v.trainable})
    return self.Eval(variables)

  def Save(self, run, step=10):
    """Saves all variables of this graph as RUN/train/ckpt-STEP; returns the prefix."""
    train = os.path.join(self.folder, run, 'train')
    os.makedirs(train, exist_ok=True)
    self.Eval(tf.constant(0))  # Initialises.
    return tf.train.Saver(tf.global_variables()).save(self._session, os.path.join(train, 'ckpt'), step)

  def MakeRun(self, run, **kwargs):
    """A run with random weights; returns (folder, dict name -> value).

    Runs with equal arguments are copies of one: its graph is built once for all tests.
    """
    copy, made = os.path.join(self.folder, run), _runs.get(repr(kwargs))
    if made is None:
      with self.NewGraph():
        values = self.Randomized(TaskParams(**kwargs).Instantiate())
        self.Save(run)
      kept = tempfile.TemporaryDirectory()
      shutil.copytree(copy, kept.name, dirs_exist_ok=True)
      _runs[repr(kwargs)] = kept, copy, values
      return copy, dict(values)
    kept, original, values = made
    shutil.copytree(kept.name, copy)
    state = os.path.join(copy, 'train', 'checkpoint')
    with open(state, encoding='utf-8') as f:
      text = f.read()
    with open(state, 'w', encoding='utf-8') as f:
      f.write(text.replace(original, copy))
    return copy, dict(values)

  @property
  def session(self):
    """The session of this graph, its variables initialised."""
    self.Eval(tf.constant(0))
    return self._session
