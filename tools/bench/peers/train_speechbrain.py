"""Trains SpeechBrain's Conformer with CTC on the recipe's data sets, for so many hours: the recipe's outside baseline.

  python -c 'from tools.bench import peers_env; peers_env.Make()'   # Once: build/peers, as make benchmark makes it.
  build/peers/bin/python -m tools.bench.peers.train_speechbrain --train=data/recipe/target --dev=data/recipe/target \\
    --test=data/recipe/target,data/recipe/source --hours=2 --output=runs/speechbrain/scratch_target

Layers, augmentation and optimiser are SpeechBrain's, with the settings of its recipe
LibriSpeech/ASR/CTC/conformer_large: frames of 40 ms, characters, dropout 0.1, AdamW at 1e-3, change of speed,
dropped frequencies and chunks, each beside the clean speech, checkpoints averaged. Ours: the size (4M parameters as
the recipe's), batches of 32 s, and a warm-up and a decay that fit --hours; --no_augment and --peak_rate for another
try, since small batches of augmented speech may not leave the plateau on which CTC begins. Hours are those of training
alone, without evaluations, and of the processor, divided by --threads, so that other programs beside it change nothing.
OUTPUT/metrics.jsonl is of the form of a run's. The same command goes on where it stopped; SIGTERM saves.
"""

import argparse
import json
import os
import random
import signal
import time

import scipy.signal
import torch

from . import speech_sets
from . import torchaudio_stand_in

torchaudio_stand_in.Install()

from speechbrain.augment import time_domain  # noqa: E402
from speechbrain.decoders import ctc_greedy_decode  # noqa: E402
from speechbrain.lobes.features import Fbank  # noqa: E402
from speechbrain.lobes.models.convolution import ConvolutionFrontEnd  # noqa: E402
from speechbrain.lobes.models.transformer.TransformerASR import TransformerASR  # noqa: E402
from speechbrain.nnet.losses import ctc_loss  # noqa: E402
from speechbrain.processing.features import InputNormalization  # noqa: E402
from speechbrain.utils.metric_stats import ErrorRateStats  # noqa: E402

_BLANK = 0
_WARM_UP, _DECAY_FROM = 0.05, 0.6  # In shares of the hours.
_LONGEST = 20.0  # Seconds of a training utterance, as in the recipe.
_AVERAGED = 5


class Model(torch.nn.Module):
  """Waveforms -> log-probabilities of characters."""

  def __init__(self, labels, width=144, layers=8, heads=4):
    super().__init__()
    self.fbank = Fbank(sample_rate=speech_sets.RATE, n_fft=512, n_mels=80, win_length=25)
    self.normalize = InputNormalization(norm_type='global', update_until_epoch=4)
    self.cnn = ConvolutionFrontEnd(
      input_shape=(8, 10, 80),
      num_blocks=2,
      num_layers_per_block=1,
      out_channels=(64, 32),
      kernel_sizes=(3, 3),
      strides=(2, 2),
      residuals=(False, False),
    )
    self.transformer = TransformerASR(
      input_size=640,
      tgt_vocab=labels,
      d_model=width,
      nhead=heads,
      num_encoder_layers=layers,
      num_decoder_layers=0,
      d_ffn=4 * width,
      dropout=0.1,
      activation=torch.nn.GELU,
      encoder_module='conformer',
      attention_type='RelPosMHAXL',
      normalize_before=True,
      causal=False,
    )
    self.output = torch.nn.Linear(width, labels)

  def forward(self, waveforms, lengths, epoch=0):
    """waveforms [B, S], lengths [B] in shares of S -> [B, N, labels]."""
    features = self.normalize(self.fbank(waveforms), lengths, epoch=epoch)
    encoded = self.transformer.encode(self.cnn(features), lengths)
    return self.output(encoded).log_softmax(-1)


class Augment:
  """The recipe's three augmentations one after another; the clean speech is trained on beside them."""

  def __init__(self):
    self._drop_freq = time_domain.DropFreq(
      drop_freq_low=0, drop_freq_high=1, drop_freq_count_low=1, drop_freq_count_high=3, drop_freq_width=0.05
    )
    self._drop_chunk = time_domain.DropChunk(
      drop_length_low=1000, drop_length_high=2000, drop_count_low=1, drop_count_high=5
    )

  def __call__(self, waveforms, lengths):
    # SpeechBrain's own change of speed needs torchaudio.
    speed = random.choice((95, 100, 105))
    waveforms = torch.from_numpy(scipy.signal.resample_poly(waveforms.numpy(), speed, 100, axis=1))
    return self._drop_chunk(self._drop_freq(waveforms), lengths)


class Training:
  """A run in a folder."""

  def __init__(self, args):
    self._args, self._stop = args, False
    torch.manual_seed(args.seed)
    self._train = [speech_sets.Split(path, 'train', _LONGEST) for path in args.train.split(',')]
    self._characters = sorted({c for part in self._train for text in part.texts for c in text})
    self._ids = {c: i + 1 for i, c in enumerate(self._characters)}  # 0 is the blank.
    self._model, self._augment = Model(len(self._ids) + 1), Augment()
    self._optimizer = torch.optim.AdamW(
      self._model.parameters(), lr=args.peak_rate, betas=(0.9, 0.98), eps=1e-9, weight_decay=5e-4
    )
    self._step, self._epoch, self._seconds, self._speech = 0, 0, 0.0, 0.0
    os.makedirs(args.output, exist_ok=True)
    self._checkpoint = os.path.join(args.output, 'checkpoint.pt')
    if os.path.exists(self._checkpoint):
      state = torch.load(self._checkpoint, weights_only=False)
      self._model.load_state_dict(state['model'])
      self._optimizer.load_state_dict(state['optimizer'])
      self._step, self._epoch, self._seconds, self._speech = state['counts']
    self._log_from = self._step, self._seconds, self._speech
    for signum in (signal.SIGTERM, signal.SIGINT):
      signal.signal(signum, self._OnSignal)
    print(f'{sum(p.numel() for p in self._model.parameters()):,} parameters, {len(self._ids) + 1} labels', flush=True)

  def _OnSignal(self, *_):
    self._stop = True

  def Run(self):
    """Trains for the hours, evaluates, and at the end decodes the test sets; returns whether it came so far."""
    args = self._args
    next_evaluation = self._seconds + 60 * args.eval_minutes
    while self._seconds < 3600 * args.hours:
      for batch in self._Batches():
        started = time.process_time()
        loss = self._Step(*batch)
        self._seconds += (time.process_time() - started) / args.threads
        self._step += 1
        if self._step % 50 == 0:
          self._Log(loss)
        if self._stop:
          self._Save()
          return False
        if self._seconds >= min(next_evaluation, 3600 * args.hours):
          next_evaluation = self._seconds + 60 * args.eval_minutes
          self._Evaluate('Dev', 'dev', args.dev)
          self._Save(keep=True)
          if self._seconds >= 3600 * args.hours:
            break
      self._epoch += 1
    self._model.load_state_dict(self._Averaged())
    for path in args.test.split(','):
      self._Evaluate('Test', 'test', path)
    return True

  def _Batches(self):
    """Batches of one epoch, of utterances of similar length: lists of (part, index)."""
    order = [(part, i) for part in self._train for i in range(len(part.texts))]
    rng = random.Random(1000 * self._args.seed + self._epoch)
    order.sort(key=lambda item: item[0].seconds[item[1]] * rng.uniform(0.9, 1.1))
    batches, batch = [], []
    for part, i in order:
      if batch and (len(batch) + 1) * part.seconds[i] > self._args.batch_seconds:
        batches.append(batch)
        batch = []
      batch.append((part, i))
    batches.append(batch)
    rng.shuffle(batches)
    for batch in batches:
      yield self._Tensors([part.Audio(i) for part, i in batch], [part.texts[i] for part, i in batch])

  def _Tensors(self, audio, texts):
    labels = [[self._ids[c] for c in text if c in self._ids] for text in texts]
    sizes = torch.tensor([len(a) for a in audio])
    waveforms = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(a) for a in audio], batch_first=True)
    counts = torch.tensor([len(row) for row in labels])
    rows = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in labels], batch_first=True)
    return waveforms, sizes / waveforms.shape[1], rows, counts / max(rows.shape[1], 1)

  def _Step(self, waveforms, lengths, labels, label_lengths):
    self._model.train()
    self._speech += float(lengths.sum()) * waveforms.shape[1] / speech_sets.RATE / 3600
    rate = self._args.peak_rate * self._Rate(self._seconds / 3600 / self._args.hours)
    for group in self._optimizer.param_groups:
      group['lr'] = rate
    parts = [waveforms]
    if self._args.augment:
      with torch.no_grad():
        parts.append(self._augment(waveforms, lengths))
    total = 0.0
    self._optimizer.zero_grad()
    for part in parts:
      log_probs = self._model(part, lengths, self._epoch)
      loss = ctc_loss(log_probs, labels, lengths, label_lengths, _BLANK, reduction='batchmean') / len(parts)
      loss.backward()
      total += loss.item()
    if torch.nn.utils.clip_grad_norm_(self._model.parameters(), 5.0).isfinite():
      self._optimizer.step()
    return total

  @staticmethod
  def _Rate(done):
    """Share of the peak rate after a share of the hours."""
    return min(done / _WARM_UP, 1.0, max(0.0, (1.0 - done) / (1.0 - _DECAY_FROM)) + 0.02)

  @torch.no_grad()
  def _Evaluate(self, kind, split, path):
    self._model.eval()
    part, words, characters = speech_sets.Split(path, split), ErrorRateStats(), ErrorRateStats(split_tokens=True)
    for i, text in enumerate(part.texts):
      waveforms = torch.from_numpy(part.Audio(i))[None]
      (ids,) = ctc_greedy_decode(self._model(waveforms, torch.ones(1)), torch.ones(1), blank_id=_BLANK)
      found = ''.join(self._characters[label - 1] for label in ids)
      words.append([str(i)], [found.split()], [text.split()])
      characters.append([str(i)], [found.split()], [text.split()])
    rates = {name: stats.summarize('error_rate') / 100 for name, stats in (('wer', words), ('cer', characters))}
    name = kind + os.path.basename(path).title().replace('_', '')
    self._Write(name, **{f'labeled/{rate}': value for rate, value in rates.items()})
    print(f'step {self._step}: {name} WER {100 * rates["wer"]:.1f} %, {self._seconds / 3600:.2f} h', flush=True)

  def _Log(self, loss):
    step, seconds, speech = self._log_from
    self._log_from = self._step, self._seconds, self._speech
    self._Write('train', loss=loss, **{
      'throughput/steps_per_second': (self._step - step) / (self._seconds - seconds),
      'throughput/cpu_seconds_per_step': (self._seconds - seconds) / (self._step - step) * self._args.threads,
      'labeled/audio_seconds': 3600 * (self._speech - speech),
    })  # fmt: skip

  def _Write(self, dataset, **values):
    row = {'dataset': dataset, 'step': self._step, 'time': time.time(), **values}
    with open(os.path.join(self._args.output, 'metrics.jsonl'), 'a', encoding='utf-8') as f:
      f.write(json.dumps(row) + '\n')

  def _Save(self, keep=False):
    counts = self._step, self._epoch, self._seconds, self._speech
    state = {'model': self._model.state_dict(), 'optimizer': self._optimizer.state_dict(), 'counts': counts}
    torch.save(state, self._checkpoint + '.tmp')
    os.replace(self._checkpoint + '.tmp', self._checkpoint)
    if keep:
      torch.save(state['model'], os.path.join(self._args.output, f'model-{self._step:08d}.pt'))
      for old in self._Kept()[:-_AVERAGED]:
        os.remove(old)

  def _Kept(self):
    names = sorted(name for name in os.listdir(self._args.output) if name.startswith('model-'))
    return [os.path.join(self._args.output, name) for name in names]

  def _Averaged(self):
    """Mean of the newest models."""
    states = [torch.load(path, weights_only=False) for path in self._Kept()] or [self._model.state_dict()]
    return {
      name: sum(state[name] for state in states) / len(states) if torch.is_floating_point(value) else value
      for name, value in states[-1].items()
    }


def Main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--train', required=True, help='data sets, comma-separated')
  parser.add_argument('--dev', required=True, help='data set')
  parser.add_argument('--test', required=True, help='data sets, comma-separated')
  parser.add_argument('--output', required=True, help='folder of the run')
  parser.add_argument('--hours', type=float, required=True, help='hours of training')
  parser.add_argument('--eval_minutes', type=float, default=10.0, help='minutes between evaluations (default: 10)')
  parser.add_argument('--batch_seconds', type=float, default=32.0, help='seconds of speech in a batch (default: 32)')
  parser.add_argument('--peak_rate', type=float, default=1e-3, help='peak of the learning rate (default: 1e-3)')
  parser.add_argument('--no_augment', dest='augment', action='store_false', help='only the clean speech')
  parser.add_argument('--threads', type=int, default=len(os.sched_getaffinity(0)), help='threads (default: all cores)')
  parser.add_argument('--seed', type=int, default=1)
  args = parser.parse_args()
  torch.set_num_threads(args.threads)
  Training(args).Run()


if __name__ == '__main__':
  Main()
