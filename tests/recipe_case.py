"""Data sets, a trainer and results for tests of the recipe, all made up."""

import dataclasses
import functools
import json
import os
import shutil
import sys
import tempfile

from absl.testing import parameterized

from fm_lingvo.data import dataset
from fm_lingvo.utils import audio as audio_format
from tools.recipe import labels
from tools.recipe import stage_spec
from tools.recipe import stages
from tools.recipe import stamps

# The params of a stage take 0.2 s to resolve and are the same in every test.
stamps.Resolved = functools.cache(stamps.Resolved)

_TRAINER_SOURCE = """
import json, os, re, signal, sys, time
flags = dict(arg.split('=', 1) for arg in sys.argv[1:])
run = flags['--logdir']
steps = next(int(value) for flag, value in flags.items() if flag.endswith('.max_steps'))
os.makedirs(os.path.join(run, 'train'), exist_ok=True)
os.makedirs(os.path.join(run, 'hypotheses'), exist_ok=True)
with open(os.path.join(run, 'calls.txt'), 'a') as f:
  f.write(json.dumps({'argv': sys.argv[1:], 'threads': os.environ['TF_NUM_INTRAOP_THREADS']}) + '\\n')
if os.path.exists(os.path.join(os.path.dirname(run), 'fail_' + os.path.basename(run))):
  print('trainer: task.nothing = 1: no such param')
  sys.exit(2)
def Stop(signum, frame):
  with open(os.path.join(run, 'stopped.txt'), 'w') as f:
    f.write('saved')
  sys.exit(128 + signum)
signal.signal(signal.SIGTERM, Stop)
print(f'step {steps}/{steps}: loss 1.5, 0:00 left', flush=True)
if os.path.exists(os.path.join(os.path.dirname(run), 'hang')):
  open(os.path.join(run, 'hanging'), 'w').close()
  time.sleep(60)
def Row(dataset, **values):
  with open(os.path.join(run, 'metrics.jsonl'), 'a') as f:
    f.write(json.dumps({'dataset': dataset, 'step': steps, 'time': time.time(), **values}) + '\\n')
Row('train', loss=1.5)
rates = {'labeled/examples': 20.0, 'labeled/dropped': 0.0, 'labeled/dropped_too_long': 0.0,
         'labeled/dropped_too_short': 0.0}
if os.path.exists(os.path.join(os.path.dirname(run), 'drop')):
  rates.update({'labeled/dropped': 2.0, 'labeled/dropped_too_long': 2.0})
rates |= {f'labeled/{m}{end}': 0.4 + change for m in ('wer', 'cer')
         for end, change in (('', 0.0), ('_low', -0.1), ('_high', 0.1))}
for name in ('TestTarget', 'TestSource'):
  if 'BestRqPretrain' not in flags['--model']:
    Row(name, **rates)
with open(os.path.join(run, 'hypotheses', 'TestTarget.jsonl'), 'w') as f:
  for i in range(20):
    f.write(json.dumps({'utt_id': str(i), 'reference': 'one two', 'hypothesis': 'one two' if i % 2 else 'one'}) + '\\n')
with open(os.path.join(run, 'parameters.json'), 'w') as f:
  json.dump({'total': {'total': 1000, 'trained': 170}}, f)
with open(os.path.join(run, 'train', 'checkpoint'), 'w') as f:
  f.write(f'model_checkpoint_path: "ckpt-{steps:08d}"')
"""


class RecipeTest(parameterized.TestCase):
  """Has settings of a new folder with data sets."""

  def setUp(self):
    super().setUp()
    self.folder = Folder(self)
    self.settings = stage_spec.Settings(
      output=os.path.join(self.folder, 'runs'), data_dir=os.path.join(self.folder, 'data')
    )
    os.makedirs(self.settings.output)
    WriteData(self.settings.data_dir)

  def Stages(self, names=('all',), seeds=(), change=()):
    """Stages that are asked for, resolved; `change`: run -> bindings that are set."""
    chosen = stages.Select(stages.Plan(self.settings, seeds), names, seeds)
    for run, bindings in dict(change).items():
      stage = chosen[run]
      chosen[run] = dataclasses.replace(
        stage, bindings={**stage.bindings, **bindings}, steps=bindings.get('max_steps', stage.steps)
      )
    return labels.Labels(self.settings).Resolve(chosen)

  def Stamps(self, chosen):
    """Stamps of stages."""
    return stamps.Stamps(self.settings, chosen)


def Folder(test):
  """A new folder that goes with the test."""
  folder = tempfile.mkdtemp()
  test.addCleanup(shutil.rmtree, folder)
  return folder


def Trainer(folder):
  """Command of a trainer that writes what the real one writes, at once."""
  path = os.path.join(folder, 'trainer.py')
  with open(path, 'w', encoding='utf-8') as f:
    f.write(_TRAINER_SOURCE)
  return sys.executable, path


def WriteData(folder, names=('source', 'target', 'unlabeled'), utterances=100):
  """Data sets without audio; training utterances last 6 s, a fourth of the test prompts is in training, too."""
  for name in names:
    path = os.path.join(folder, name)
    os.makedirs(path, exist_ok=True)
    splits = {split: {'shards': [], 'hours': 0.1} for split in dataset.SPLITS}
    rows = [{'utt_id': f'{name}/{i}', 'split': 'train', 'text': 'words', 'duration': 6.0} for i in range(utterances)]
    rows += [
      {'utt_id': f'{i}', 'split': 'test', 'text': 'Words ' if i < 5 else 'one two', 'duration': 2.0}
      for i in range(20 * (name == 'target'))
    ]
    with open(os.path.join(path, 'manifest.jsonl'), 'w', encoding='utf-8') as f:
      f.writelines(json.dumps({'shard': '', 'speaker': 's', 'domain': name, **row}) + '\n' for row in rows)
    with open(os.path.join(path, 'dataset.json'), 'w', encoding='utf-8') as f:
      json.dump(
        {
          'format': dataset.FORMAT,
          'version': dataset.VERSION,
          'sample_rate': audio_format.SAMPLE_RATE,
          'splits': splits,
          'domains': [name],
          'settings': {},
        },
        f,
      )


def Row(name, wer=0.4, seed=1, **changed):
  """A row of the results."""
  rates = {
    f'{where}_{metric}{end}': value
    for where in ('target', 'source')
    for metric in ('wer', 'cer')
    for end, value in (('', wer), ('_low', max(0.0, wer - 0.05)), ('_high', wer + 0.05))
  }
  return {
    'name': name,
    'seed': seed,
    'stamp': 'stamp',
    'title': f'model {name}',
    'group': 'main',
    **rates,
    'target_utterances': 20,
    'target_dropped': 0,
    'total_params': 1000,
    'trained_params': 170,
    'target_label_fraction': 0.067,
    'target_label_minutes': 1.0,
    'hours': 0.5,
    'hours_with_parents': 1.5,
    'cores': 1,
    'steps': 100,
    'command': f'trainer {name}',
    'date': '2026-01-31',
    'machine': {'cpu': 'X', 'cores': 2, 'memory_gb': 8, 'system': 'Linux'},
    'versions': {'python': '3', 'tensorflow': '2', 'lingvo': '0', 'commit': 'abc'},
    **changed,
  }


def Pair(a, b, low, high):
  """A comparison whose difference is in the middle of its interval, for WER and CER."""
  middle = (low + high) / 2
  return {
    'a': a,
    'b': b,
    'seeds': [1],
    'difference': middle,
    'low': low,
    'high': high,
    'a_better': 0.5,
    'cer_difference': middle,
    'cer_low': low,
    'cer_high': high,
  }
