"""Trains a language model for shallow fusion on texts: an LSTM over a tokenizer's labels, in one file.

  python -m tools.lm_text --output=general_en.txt
  python -m tools.train_lm --input=general_en.txt,data/recipe/source --output=my_lm.npz
  python -m tools.transcribe RUN AUDIO --lm=my_lm.npz --beam_size=8

An input is a data set, whose training transcripts count, or a UTF-8 text file, an utterance a line, normalised as the
tokenizer's own texts. A hundredth of the lines is held out. Checkpoints and TensorBoard's curves are in OUTPUT.train/: the same
command goes on where it stopped.
Exit code 0: done; 1: cannot write; 2: bad usage; 130: Ctrl-C.
"""

import argparse
import json
import math
import os
import sys

import numpy as np

from fm_lingvo import errors
from fm_lingvo.runtime import quiet

from . import train_tokenizer
from .common import exit_codes
from .prepare import importers

_TOKENIZER = 'params/tokenizers/graphemes_en.model'
_HELD_OUT = 100  # One line of so many.
_BOUNDS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512)  # Labels of a line, by which lines are put together.
_REPORT_STEPS = 500
_WARMUP_STEPS = 200  # At most, and a tenth of all.


class Data:
  """Lines of labels, in batches of about as many labels."""

  def __init__(self, lines, batch_labels, seed):
    """lines: list of int arrays, of 1 to _BOUNDS[-1] labels each; batch_labels: of a batch, padding included."""
    order = np.random.default_rng(seed).permutation(len(lines))  # Texts are often sorted.
    self._lines, self._batch_labels, self._seed = [lines[i] for i in order], batch_labels, seed

  def Dataset(self, repeat):
    """tf.data of int32 [B, U], 0 on padding; for training shuffled, again and again."""
    import tensorflow as tf

    from fm_lingvo.data import resumable_iterator

    data = tf.data.Dataset.from_generator(lambda: iter(self._lines), output_signature=tf.TensorSpec([None], tf.int32))
    if repeat:
      data = data.repeat().shuffle(100_000, self._seed)
    sizes = [max(1, self._batch_labels // bound) for bound in _BOUNDS]
    data = data.bucket_by_sequence_length(tf.size, [bound + 1 for bound in _BOUNDS], [*sizes, 1])
    return data.prefetch(4).with_options(resumable_iterator.Options())


def Split(texts, encode):
  """Labels of distinct lines, in training and held-out lines.

  Args:
    texts: list of str.
    encode: str -> list of ints.

  Returns:
    (training, held out, number of lines that are longer than _BOUNDS[-1] labels and left out).
  """
  training, held_out, too_long = [], [], 0
  for text in dict.fromkeys(texts):
    labels = np.array(encode(text), np.int32)
    if len(labels) > _BOUNDS[-1]:
      too_long += 1
    elif importers.Uniform(text, 'lm') < 1 / _HELD_OUT:
      held_out.append(labels)
    elif len(labels):
      training.append(labels)
  return training, held_out, too_long


class Trainer:
  """A language model's training, in the default graph."""

  def __init__(self, params, training, held_out, args):
    """params: language_model.Params(); training, held_out: Data; args: the command's."""
    import tensorflow.compat.v1 as tf

    self._tf, self._args = tf, args
    tf.set_random_seed(args.seed)
    self._step = tf.train.get_or_create_global_step()
    self._layer = params.Copy().Set(random_seed=args.seed).Instantiate()
    batch = tf.data.make_one_shot_iterator(training.Dataset(repeat=True)).get_next()
    self._loss, _ = self._layer.Loss(self._layer.theta, batch, _Lengths(tf, batch))
    self._held_out = tf.data.make_initializable_iterator(held_out.Dataset(repeat=False))
    batch = self._held_out.get_next()
    self._evaluated = self._layer.Loss(self._layer.theta, batch, _Lengths(tf, batch))
    warm = tf.minimum(1.0, tf.cast(self._step + 1, tf.float32) / max(1, min(_WARMUP_STEPS, args.max_steps // 10)))
    rate = tf.train.cosine_decay(args.learning_rate, self._step, args.max_steps) * warm
    variables = tf.trainable_variables()
    gradients, _ = tf.clip_by_global_norm(tf.gradients(self._loss, variables), 1.0)
    update = tf.train.AdamOptimizer(rate, beta2=0.98).apply_gradients(zip(gradients, variables), global_step=self._step)
    with tf.control_dependencies([update]):
      self._next = tf.identity(self._step)
    tf.summary.scalar('loss', self._loss)

  def Run(self, folder):
    """Trains to the last step, from the newest checkpoint in a folder.

    Returns:
      (weights, a NestedMap of arrays; mean nats a label of held-out lines).
    """
    tf = self._tf
    scaffold = tf.train.Scaffold(local_init_op=tf.group(tf.local_variables_initializer(), self._held_out.initializer))
    with tf.train.MonitoredTrainingSession(
      checkpoint_dir=folder,
      scaffold=scaffold,
      save_checkpoint_steps=_REPORT_STEPS,
      save_summaries_steps=50,
      log_step_count_steps=None,
    ) as sess:
      step, losses = sess.run(self._step), []
      while step < self._args.max_steps:
        loss, step = sess.run([self._loss, self._next])
        losses.append(loss)
        if step % _REPORT_STEPS == 0 or step == self._args.max_steps:
          print(f'step {step}/{self._args.max_steps}: {np.mean(losses):.4f} nats a label', flush=True)
          losses = []
      return sess.run(self._layer.theta), self._Evaluate(sess)

  def _Evaluate(self, sess):
    nats = labels = 0.0
    sess.run_step_fn(lambda step_context: step_context.session.run(self._held_out.initializer))
    while True:
      try:
        mean, count = sess.run_step_fn(lambda step_context: step_context.session.run(self._evaluated))
      except self._tf.errors.OutOfRangeError:
        return nats / max(labels, 1.0)
      nats, labels = nats + float(mean) * float(count), labels + float(count)


def CheckFolder(folder, settings):
  """Refuses to go on with what was trained from other settings; notes them in a new folder.

  Args:
    folder: Of the checkpoints.
    settings: dict of JSON values.

  Raises:
    exit_codes.UsageError: naming the first setting that differs, or a note that cannot be read.
    errors.RunError: the folder cannot be written.
  """
  path = os.path.join(folder, 'settings.json')
  instead = 'remove it to begin anew, or choose another --output'
  if os.path.exists(path):
    try:
      with open(path, encoding='utf-8') as f:
        old = dict(json.load(f))
    except (TypeError, ValueError) as e:
      raise exit_codes.UsageError(f'{folder}: its settings.json is cut off or no JSON object ({e}); {instead}') from e
    for name, value in settings.items():
      if old.get(name) != value:
        raise exit_codes.UsageError(f'{folder}: trained with {name} = {old.get(name)}, not {value}; {instead}')
    return
  with errors.Writing(path):
    os.makedirs(folder, exist_ok=True)
    with open(path + '.part', 'w', encoding='utf-8') as f:
      json.dump(settings, f)
    os.replace(path + '.part', path)


def _Lengths(tf, labels):
  """Labels in use int32 [B] of [B, U]: no label is 0."""
  return tf.reduce_sum(tf.cast(labels > 0, tf.int32), axis=1)


def _Parser():
  parser = argparse.ArgumentParser(
    prog='train_lm', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--input', required=True, help='data sets and text files, with commas between them')
  parser.add_argument('--output', required=True, help='the file to write, .npz; one that exists is replaced')
  parser.add_argument(
    '--tokenizer', default=_TOKENIZER, help=f'SentencePiece model of the labels (default: {_TOKENIZER})'
  )
  parser.add_argument('--embedding_dim', type=int, default=48, help='width of embedded labels (default: 48)')
  parser.add_argument('--hidden_dim', type=int, default=384, help='width of the LSTM (default: 384)')
  parser.add_argument('--num_layers', type=int, default=1, help='LSTMs, one on another (default: 1)')
  parser.add_argument('--max_steps', type=int, default=12000, help='(default: 12000)')
  parser.add_argument('--batch_labels', type=int, default=4096, help='labels of a step, with padding (default: 4096)')
  parser.add_argument('--learning_rate', type=float, default=3e-3, help='peak of a cosine (default: 3e-3)')
  parser.add_argument('--seed', type=int, default=1, help='of weights and order (default: 1)')
  return parser


def _Run(args):
  """Trains and writes the model that the arguments ask for."""
  for name in ('embedding_dim', 'hidden_dim', 'num_layers', 'max_steps', 'batch_labels', 'learning_rate'):
    if not 0 < getattr(args, name) < math.inf:
      raise exit_codes.UsageError(f'--{name}={getattr(args, name)}: expected a number > 0 and finite')
  if not 0 <= args.seed < 2**31:
    raise exit_codes.UsageError(f'--seed={args.seed}: expected a number from 0 to 2**31 - 1')
  if not args.output.endswith('.npz'):
    raise exit_codes.UsageError(f'--output={args.output}: expected a name that ends in .npz')
  texts = train_tokenizer.ReadTexts([path for path in args.input.split(',') if path])
  with quiet.HoldStderr():
    # TensorFlow: --help need not wait.
    from lingvo import compat as tf

    from fm_lingvo.data import tokenizer
    from fm_lingvo.decoding import language_model
    from fm_lingvo.inference import recognizer
  recognizer.Start()
  tokens = tokenizer.Tokenizer(args.tokenizer)
  training, held_out, too_long = Split(texts, tokens.EncodeText)
  if not training or not held_out:
    raise exit_codes.UsageError(
      f'--input={args.input}: {len(texts)} lines; expected more, a hundredth of which is held out'
    )
  print(
    f'{len(training)} lines of {sum(map(len, training))} labels, {len(held_out)} held out, {too_long} too long and left out',
    flush=True,
  )
  unknown = sum(int(tokens.unk_id) in labels for labels in training)
  if unknown:
    print(
      f'{unknown} lines have characters that {args.tokenizer} does not know (case, digits, punctuation?), learnt as <unk>',
      flush=True,
    )
  params = language_model.Params(tokens.vocab_size, args.embedding_dim, args.hidden_dim, args.num_layers)
  CheckFolder(
    args.output + '.train',
    {
      'tokenizer': tokens.sha256,
      'lines': len(training),
      **{
        name: getattr(args, name)
        for name in ('input', 'embedding_dim', 'hidden_dim', 'num_layers', 'batch_labels', 'learning_rate', 'seed')
      },
    },
  )
  batches = [Data(lines, args.batch_labels, args.seed) for lines in (training, held_out)]
  with tf.Graph().as_default():
    weights, nats = Trainer(params, *batches, args).Run(args.output + '.train')
  language_model.Write(
    args.output, params, weights, tokens, input=args.input, steps=args.max_steps, held_out_nats_per_label=round(nats, 4)
  )
  print(f'{args.output}: {os.path.getsize(args.output) / 1e6:.2f} MB, {nats:.4f} nats a label on held-out lines')


def Main(argv: list[str] | None = None) -> int:
  """Runs the tool; returns the exit code."""
  args = _Parser().parse_args((argv or sys.argv)[1:])
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  return exit_codes.Report(
    'train_lm', lambda: _Run(args), 'interrupted; the same command goes on from the last checkpoint'
  )


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
