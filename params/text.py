"""Experiments on text alone: the language model that a transducer's beam takes as `lm`."""

import os

from fm_lingvo.checkpoints import warm_start
from fm_lingvo.config import registry
from fm_lingvo.data import text_input
from fm_lingvo.decoding import language_model
from fm_lingvo.tasks import language_model_task

from . import base

_BOUNDS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512)  # Number of labels in the longest line of each bucket.


@registry.RegisterExperiment
class LanguageModel(base.TrainedExperiment):
  """Trains an LSTM over a tokenizer's labels on text, for fusion in a transducer's beam.

  Data: `data_dir`/train*.txt and, held out, `data_dir`/dev*.txt, one normalised utterance per line. Trained: all.
  `python -m tools.train_lm` makes these files from texts and transcripts, and exports the model as a small file.
  """

  data_dir: str = 'data/text'  # Folder with train*.txt and dev*.txt.
  tokenizer: str = base.GRAPHEMES_EN  # SentencePiece model of the labels, the transducer's.
  init_from: str = ''  # Run of this experiment, or checkpoint, for a warm start; '' trains from random weights.
  embedding_dim: int = 48  # Width of the label embeddings.
  hidden_dim: int = 384  # Width of the LSTM.
  num_layers: int = 1  # Number of LSTM layers.
  dropout_prob: float = 0.0  # Dropout of the embeddings and of the LSTM's outputs.
  batch_labels: int = 4096  # Labels in a batch, padding included.
  learning_rate: float = 3e-3
  warmup_steps: int = 200
  max_steps: int = 12000

  def Task(self):
    """The language model and its training."""
    p = language_model_task.LanguageModelTask.Params().Set(tokenizer_file=self.tokenizer)
    p.lm = language_model.Params(None, self.embedding_dim, self.hidden_dim, self.num_layers)
    p.lm.network.dropout_prob = self.dropout_prob
    p.train.init_from_checkpoint_rules = warm_start.InitRules(self.init_from)
    return self._SetTraining(p, self._Cosine(), ['Dev'])

  def Train(self):
    """The training texts."""
    return self._Text('train')

  def Dev(self):
    """Held-out texts."""
    return self._Text('dev')

  def _Text(self, split):
    self._Require(self.batch_labels > 0, 'batch_labels', 'labels > 0')
    return text_input.TextInput.Params().Set(
      file_pattern=os.path.join(self.data_dir, f'{split}*.txt'),
      tokenizer_file=self.tokenizer,
      bucket_upper_bound=list(_BOUNDS),
      bucket_batch_size=[max(1, self.batch_labels // bound) for bound in _BOUNDS],
      random_seed=self.seed,
    )
