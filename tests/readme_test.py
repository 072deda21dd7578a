"""README.md and docs/ say what is so: their commands run, their tables match the code, their files exist.

The commands run as written, in the order of pages.PAGES, in a copy of the checkout with a
few seconds of sound for data; each one shares what those before it left. `trainer`
and `python` are this interpreter's: the first use of a program starts it, later ones
are forks (tests/fork_server.py), and so are the pages' own scripts but the first. What
a test adds to a command is in _Extra; what CI or another test runs is in _ELSEWHERE.
A command that nothing runs fails.
"""

import dataclasses
import glob
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import wave

import pytest
from absl.testing import absltest

from fm_lingvo.config import gin_config
from fm_lingvo.config import list_experiments
from fm_lingvo.data import dataset
from fm_lingvo.inference import kept_graphs
from params import asr
from tests import fork_server
from tests import pages
from tests import tiny_data

ROOT = pages.ROOT
_COPIED = ('fm_lingvo', 'params', 'tools', 'tests', 'docs', 'requirements')
_BAZEL_RUN = 'bazel run //fm_lingvo:trainer -- --model=asr.BestRqPretrain --dry_run'
_CLUSTER = 'python -m tools.run_local_cluster --mode='

# Command -> (file that runs it, regex of the line that does).
_ELSEWHERE = {
  'make demo': ('.ci/run', r'^\s*make demo\b'),
  'make test': ('.ci/run', r'^\s*make test$'),
  # Stands for the whole: some faults of these kinds.
  'make faults': ('tests/faults_processes_test.py', r'suite\.Suite\(.*full=False\)'),
  'make recipe': ('.ci/run', r'^\s*make recipe RECIPE=--quick$'),
  # Stands for the whole: some rows at sizes of seconds.
  'make benchmark': ('tests/benchmark_test.py', r"_Main\('--quick', f'--rows="),
  'python -m tools.recipe_data --output=data/recipe': (
    'tools/recipe/run.py',
    r"'-m', 'tools\.recipe_data', f'--output=",
  ),
  _BAZEL_RUN: ('.ci/run', rf'^\s*{re.escape(_BAZEL_RUN)}'),
  # A part of it: one test more under Bazel would be all of `make test` again.
  'bazel test //tests/...': ('.ci/run', r'^\s*bazel test //tests:\w+'),
  # With other flags of the trainer.
  _CLUSTER + 'sync --workers=2 -- --model=asr.BestRqPretrain --logdir=runs/sync': (
    'tests/cluster_test.py',
    r"_Run\('--mode=sync', '--workers=2'",
  ),
  _CLUSTER + 'async --workers=2 --ps=1 -- --model=asr.BestRqPretrain --logdir=runs/async': (
    'tests/cluster_test.py',
    r"^\s*'--mode=async', '--workers=2', '--ps=1', '--evaluate",
  ),
  _CLUSTER + 'sync --workers=2 --evaluate=DevHuman -- --model=asr.BestRqPretrain --logdir=runs/evaluated': (
    'tests/cluster_test.py',
    r"'--ps=1', '--evaluate=DevTarget'",
  ),
  # On other ports; these serve until they are ended.
  **{
    f'python -m tools.serve {runs}': (
      'tests/serve_run_test.py',
      r"^\s*command = \['tools\.serve', cls\.run_folder, f'other=",
    )
    for runs in ('runs/adapted', 'english=runs/adapted hydra=runs/hydra --port=8080')
  },
  'FM_SERVE_TOKEN=a-long-random-word python -m tools.serve runs/adapted --host=0.0.0.0': (
    'tests/serve_test.py',
    r"'FM_SERVE_TOKEN': 'a-long-random-word'",
  ),
  **{
    f'curl -s http://127.0.0.1:8000/v1/{what}': ('tests/serve_run_test.py', r"commands = re\.findall\(r'\(\?m\)\^curl ")
    for what in (
      'audio/transcriptions -F model=adapted -F file=@my_audio/0.wav',
      'audio/transcriptions -F model=adapted -F file=@my_audio/0.wav -F response_format=srt',
      'models',
    )
  },
  'python -m tools.bench.serve_load runs/adapted my_audio --clients=1,8 --requests=40 --every=8': (
    'tests/serve_run_test.py',
    r"'--clients=1,8', '--requests=40', '--every=8'",
  ),
  'python -m tools.data_service dispatcher --port=5050': (
    'tests/data_service_test.py',
    r"_Start\('dispatcher', '--port=0'",
  ),
  'python -m tools.data_service worker --dispatcher=localhost:5050': (
    'tests/data_service_test.py',
    r"_Start\('worker', f'--dispatcher=",
  ),
  'trainer --model=asr.BestRqPretrain --tf_data_service_address=localhost:5050 --logdir=runs/service': (
    'tests/data_service_test.py',
    r"f'--tf_data_service_address=\{address\}'",
  ),
}
_FITTED = ('tests/evaluate_test.py', r"'--calibrate', '--datasets=DevTarget'")
_ELSEWHERE.update(
  {
    # They need a model that recognises words.
    'python -m tools.evaluate runs/adapted --datasets=DevTarget --beam_size=8 --calibrate': _FITTED,
    'python -m tools.evaluate runs/adapted --datasets=TestTarget --beam_size=8 --confidence': (
      'tests/evaluate_test.py',
      r"'--confidence', '--datasets=DevTarget'",
    ),
    'python -m tools.pseudo_label runs/adapted data/recipe/target --beam_size=8 --min_confidence=0.8 '
    '--output=data/recipe/pseudo': ('tests/pseudo_label_test.py', r"pseudo_label\.Main\(\['pseudo_label', "),
    'python -m tools.word_times runs/adapted': ('tests/word_times_test.py', r"word_times\.Main\(\['word_times', "),
  }
)
# Runs whose evaluations the commands after them, or this test, read.
_EVALUATED = ('runs/first', 'runs/mine', 'runs/adapted', 'runs/tutorial/adapted')
_RUN_HERE = re.compile(r'trainer |\.venv/bin/trainer |(\w+=\w+ )?python -m |for |make tensorboard$')


def _Blocks(language):
  """Texts of the fenced blocks of a language."""
  return re.findall(rf'(?ms)^```{language}\n(.*?)^```$', pages.Text())


def Commands():
  """The commands of the pages' sh blocks, each once, lines that end in \\ joined.

  Those of the section LibriSpeech are left out: librispeech_test.py runs them.
  """
  text = ''.join(b for b in _Blocks('sh') if 'LibriSpeech/train-' not in b).replace('\\\n', ' ')
  return list(dict.fromkeys(' '.join(line.split()) for line in text.splitlines() if line.strip()))


def _Table(header):
  """Rows, lists of cells, of the table whose first header cell is `header`."""
  match = re.search(rf'(?m)^\| {re.escape(header)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)', pages.Text())
  if not match:
    raise AssertionError(f'no table that begins with {header}')
  return [[cell.strip() for cell in line.strip().strip('|').split('|')] for line in match.group(1).splitlines()]


@pytest.mark.slow
class CommandsTest(absltest.TestCase):
  # Programs that a command has used; a sweep's trainers are forks only if it is one.
  _begun = {'python -m tools.sweep'}
  _scripts = []  # Names of the pages' own files.

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = tempfile.mkdtemp()
    cls.addClassCleanup(shutil.rmtree, folder)
    cls.root = os.path.join(folder, 'checkout')
    for name in _COPIED:
      shutil.copytree(
        os.path.join(ROOT, name), os.path.join(cls.root, name), ignore=shutil.ignore_patterns('__pycache__', 'goldens')
      )
    for name in ('README.md', 'Makefile', 'pyproject.toml', 'setup.py', 'requirements.txt'):
      shutil.copy(os.path.join(ROOT, name), cls.root)
    cls._WriteEnvironment()
    cls._WriteExamples()
    cls._WriteSound()

  @classmethod
  def _Path(cls, *parts):
    path = os.path.join(cls.root, *parts)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path

  @classmethod
  def _Write(cls, name, text):
    with open(cls._Path(name), 'w', encoding='utf-8') as f:
      f.write(text)

  @classmethod
  def _WriteEnvironment(cls):
    """.venv whose commands are this interpreter's, up to date for make."""
    server = cls.enter_context(fork_server.Server(cls.root, 'tests.page_preload'))
    server.WriteProgram(cls._Path('.venv/bin/python'))
    server.WriteProgram(cls._Path('.venv/bin/trainer'), '-m', 'fm_lingvo.trainer')
    cls._Write('.venv/bin/tensorboard', f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tensorboard.main "$@"\n')
    os.chmod(cls._Path('.venv/bin/tensorboard'), 0o755)
    cls._Write('.venv/ready', '')

  @classmethod
  def _WriteExamples(cls):
    """The pages' python and gin blocks, each under the name in its first line."""
    for block in _Blocks('python') + _Blocks('gin'):
      name = re.match(r'# (\S+)\n', block).group(1)
      assert not os.path.exists(cls._Path(name)), name
      cls._scripts.append(name)
      cls._Write(name, block)

  @classmethod
  def _WriteSound(cls):
    """What the commands read: the demo's data set, recordings and sentences."""
    tiny_data.WriteAll(cls._Path('data/demo'))
    for name in ('source', 'target', 'unlabeled', 'pseudo'):
      for split in ('train', 'dev', 'test'):
        tiny_data.Write(cls._Path(f'data/recipe/{name}/{split}-0.tfrecord'), 12)
    wanted = {'train': 16, 'dev': 3, 'test': 1}  # Names that fall into each split, with and without the folder.
    number, written = 0, []
    while any(wanted.values()):
      split = dataset.SplitOf(f'my_audio/{number}')
      if wanted[split] and split == dataset.SplitOf(f'{number}'):
        wanted[split] -= 1
        cls._WriteWav(f'my_audio/{number}.wav', number)
        cls._Write(f'my_audio/{number}.txt', 'some words\n')
        written.append(f'my_audio/{number}.wav')
      number += 1
    for i in range(3):
      cls._WriteWav(f'LibriSpeech/dev-clean/84/121123/84-121123-000{i}.wav', i)
    cls._Write(
      'LibriSpeech/dev-clean/84/121123/84-121123.trans.txt', ''.join(f'84-121123-000{i} SOME WORDS\n' for i in range(3))
    )
    for voice in ('en_US_f_A', 'es_MX_f_B'):
      for i in range(3):
        cls._WriteWav(f'prompts/{voice}/prompt-{i}.wav', i)
    cls._Write('names.txt', 'ann lee\njoe\t7\n')
    cls._Write('words.arpa', '\\data\\\nngram 1=3\n\n\\1-grams:\n-99 <s>\n-1 a\n-2 <unk>\n\\end\\\n')
    cls._Write('refs.jsonl', ''.join(f'{{"audio_filepath": "{path}", "text": "a b"}}\n' for path in written[:2]))
    cls._Write('sentences.txt', 'The first sentence.\nAnd one more.\n')
    cls._Write('my_texts.txt', ''.join(f'line {"abcdefghij"[i % 10] * (1 + i // 10)}\n' for i in range(300)))

  @classmethod
  def _WriteWav(cls, name, seed):
    with wave.open(cls._Path(name), 'wb') as f:
      f.setnchannels(1)
      f.setsampwidth(2)
      f.setframerate(16000)
      f.writeframes(tiny_data.Waveform(1.5, seed).tobytes())

  def _Extra(self, command):
    """Arguments that make a command of a page small enough for a test."""
    if re.match(r'\S*trainer ', command) and not re.search('--(dry_run|help|list_models|version)', command):
      name = re.search(r'--model=\w+\.(\w+)', command).group(1)
      experiment = getattr(asr, name, asr.BestRqPretrain)
      knobs = [f.name for f in dataclasses.fields(experiment)]
      shipped = 'init_from=params/models/' in command  # Of another size than the other runs here.
      tiny = [] if shipped else tiny_data.Bindings(experiment)
      bindings = [b.replace(experiment.__name__ + '.', name + '.') for b in tiny]
      bindings.append(f'{name}.max_steps = 2')
      if 'label_share' in knobs:
        bindings.append(f'{name}.label_share = 1.0')
      if 'eval_datasets' not in command:
        evaluated = re.search(r'--logdir=(\S+)', command).group(1) in _EVALUATED
        names = ['DevTarget' if 'init_from' in knobs else 'DevHuman'] if evaluated else []
        bindings.append(f'task.train.eval_datasets = {names}')
      if 'init_from' in knobs:
        bindings.append('task.train.final_eval_datasets = []')
      return [f'--gin_bindings={b}' for b in bindings]
    if 'tools.sweep' in command:  # What follows -- is the trainer's.
      return [f'--gin_bindings={b}' for b in [*tiny_data.Bindings(asr.Supervised), 'Supervised.max_steps = 2']]
    if '--input=tools/texts/' in command:
      return ['--input=sentences.txt']
    if '--importer=prompts' in command:
      return ['--input=prompts']  # Without the network.
    if 'tools.train_lm' in command:
      return ['--max_steps=2', '--hidden_dim=8']
    if 'tools.results add' in command:
      return ['--commit=0123456789']  # The copy is no git checkout.
    if 'pytest tests/experiments_test.py' in command:
      return ['-q', '-k', 'golden', '-p', 'no:cacheprovider']
    return []

  def _Environment(self, fresh):
    return {
      **os.environ,
      **({'FRESH_INTERPRETER': '1'} if fresh else {}),
      'PYTHONPATH': os.pathsep.join([self.root, os.environ.get('PYTHONPATH', '')]),
      'PATH': self._Path('.venv/bin') + os.pathsep + os.environ['PATH'],
      kept_graphs.FOLDER: self._Path('graphs'),  # Commands find the graphs of those before them, as a user's do.
    }

  def _Run(self, command):
    whole = ' '.join([command.replace('--trials=20', '--trials=2'), *map(shlex.quote, self._Extra(command))])
    programs = set(re.findall(r'\btrainer |python -m \S+', command))
    programs = {'script' if f'{name.split()[-1]}.py' in self._scripts else name for name in programs}
    fresh = not programs <= self._begun
    self._begun.update(programs)
    started = time.time()
    done = subprocess.run(
      ['bash', '-c', whole],
      cwd=self.root,
      env=self._Environment(fresh),
      text=True,
      capture_output=True,
      check=False,
      timeout=600,
    )
    print(f'{time.time() - started:.1f} s: {command}', flush=True)
    self.assertEqual(done.returncode, 0, f'`{command}`:\n{(done.stdout + done.stderr)[-3000:]}')
    return done.stdout

  def test_every_command_is_run_by_something(self):
    self.assertNotEmpty(Commands())
    for command in Commands():
      if command in _ELSEWHERE:
        name, pattern = _ELSEWHERE[command]
        self.assertIsNotNone(re.search(pattern, pages.Read(name), re.M), f'`{command}`: {name} does not run it')
      else:
        self.assertIsNotNone(_RUN_HERE.match(command), f'`{command}`: nothing runs it')
    for command in _ELSEWHERE:
      self.assertIn(command, Commands(), 'an entry of _ELSEWHERE that is not needed')

  def test_make_targets_exist(self):
    targets = re.findall(r'(?m)^([a-z]+):', pages.Read('Makefile'))
    for target in re.findall(
      r'(?m)(?:^|`|&& )make ([a-z]+)', ''.join(re.findall(r'`[^`\n]+`', pages.Text())) + '\n'.join(Commands())
    ):
      self.assertIn(target, targets, f'`make {target}`')

  def test_commands_run_in_their_order(self):
    for command in Commands():
      if command in _ELSEWHERE:
        continue
      with self.subTest(command):
        if command == 'make tensorboard':
          self._RunTensorBoard(command)
          continue
        out = self._Run(command)
        if '--model=radio.' in command:
          self.assertRegex(out, r'(?m)^heads\.reconstruct proj +[\d,]+')
          self.assertIn('step 2/2: loss', out)
        if '--dry_run' in command:
          self.assertRegex(out, r'\nparameters total=\d+ trained=\d+\n$', command)
    for made in (
      'runs/first/config.gin',
      'runs/first/metrics.jsonl',
      'runs/replay/train/ckpt-00000002.index',
      'runs/mine/eval_devhuman',
      'data/manifest/human/dataset.json',
      'data/zip/human/dataset.json',
      'data/libri/human/dataset.json',
      'runs/adapted/hypotheses/DevTarget.jsonl',
      'subtitles/0.srt',
      'exported/saved_model.pb',
      'runs/tutorial/adapted/hypotheses/DevTarget.jsonl',
      'runs/sweep/study.db',
      'adapters/target.ckpt.index',
      'adapters/hydra.ckpt.index',
      'graphemes.model',
      'my_lm.npz',
      'tests/goldens/base.txt',
      'tests/goldens/asr.BestRqPretrain.txt',
    ):
      self.assertTrue(os.path.exists(self._Path(made)), made)

  def _RunTensorBoard(self, command):
    """Starts it, waits for its address, ends it."""
    process = subprocess.Popen(
      ['bash', '-c', f'exec {command} PORT=0'],
      cwd=self.root,
      text=True,
      env=self._Environment(fresh=True),
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      start_new_session=True,
    )
    lines = []
    try:
      for line in process.stdout:
        lines.append(line)
        if re.match(r'TensorBoard \S+ at http://', line):
          return
      self.fail(f'`{command}`: {"".join(lines)[-2000:]}')
    finally:
      os.killpg(process.pid, signal.SIGKILL)
      process.communicate()


class PageTest(absltest.TestCase):
  def tearDown(self):
    super().tearDown()
    gin_config.Reset()

  def test_the_readme_is_read_in_some_minutes(self):
    text = re.sub(
      r'<!--.*?-->',
      '',
      re.sub(r'(?s)<!-- results:.*?:begin -->.*?<!-- results:.*?:end -->', '', pages.Read('README.md')),
    )
    words = sum(bool(re.search(r'\w', word)) for word in text.split())
    self.assertLessEqual(words, 650, 'words of README.md without its measured figures; details belong into docs/')

  def test_the_knobs_are_the_dataclass_s(self):
    table = [row[:2] for row in _Table('knob of `BestRqPretrain`')]
    fields = dataclasses.fields(asr.BestRqPretrain)
    self.assertEqual(table, [[f'`{f.name}`', f'`{f.default!r}`'] for f in fields])

  def test_the_defaults_are_those_of_the_experiments(self):
    knobs = ('learning_rate', 'warmup_steps', 'max_steps', 'label_share')
    listed = set()
    for names, *values in _Table('experiment'):
      for name in re.findall(r'`(\w+)`', names):
        listed.add(name)
        defaults = {f.name: f.default for f in dataclasses.fields(getattr(asr, name))}
        self.assertEqual(values, [str(defaults.get(knob, '')) for knob in knobs], name)
    self.assertEqual(listed, {m.partition('.')[2] for m in list_experiments.ListModels() if m.startswith('asr.')})

  def test_every_knob_is_on_the_pages(self):
    for model in list_experiments.ListModels():
      if model.startswith('asr.'):
        for field in dataclasses.fields(getattr(asr, model.partition('.')[2])):
          self.assertIn(f'`{field.name}`', pages.Read('docs/params.md'), model)

  def test_the_experiments_are_the_registered_ones(self):
    table = [row[0].strip('`') for row in _Table('`--model=`')]
    self.assertEqual(table, list(list_experiments.ListModels()))

  def test_the_sizes_are_those_of_the_gin_files(self):
    for size, *numbers, _ in _Table('size'):
      text = pages.Read(f'params/gin/{size.strip("`")}.gin')
      for name, number in zip(('num_layers', 'model_dim', 'num_heads'), numbers):
        self.assertIn(f'task.encoder.{name} = {number}\n', text, size)

  def test_the_features_are_those_of_the_format(self):
    table = {row[0].strip('`'): row[1] for row in _Table('feature of a record')}
    self.assertEqual(table, dataset.FEATURES)

  def test_the_errors_shown_are_the_trainer_s(self):
    shown = re.findall(r'(?m)^\$ trainer (.*)\n(.*)$', '\n'.join(_Blocks('text')))
    self.assertNotEmpty(shown)
    for args, message in shown:
      model, *rest = gin_config.RewriteGinArgs(shlex.split(args))
      bindings = [arg[len('--gin_bindings=') :] for arg in rest]
      with self.assertRaises(gin_config.GinError) as raised:
        gin_config.Configure(model[len('--model=') :], (), bindings)
        gin_config.CheckIdle()
      self.assertEqual(message, f'trainer: {raised.exception}')

  def test_the_names_that_can_be_bound_are_bound(self):
    names = [row[0].strip('`') for row in _Table('name') if row[0].strip('`') != 'STEPS']
    gin_config.Configure('asr.BestRqPretrain')
    config = gin_config.ConfigText('asr.BestRqPretrain')
    for name in [*names, 'task.train.max_minutes']:
      self.assertIn(f'{name.replace("DevHuman/", "")} = ', config, name)

  def test_folders_of_the_layout_exist_and_none_is_left_out(self):
    layout = re.search(r'## Layout\n+```text\n(.*?)```', pages.Read('docs/developing.md'), re.S).group(1)
    listed = {line.split()[0] for line in layout.splitlines()}
    for path in listed:
      self.assertTrue(os.path.exists(os.path.join(ROOT, path)), f'docs/developing.md, layout: {path}: no such file')
    tracked = subprocess.run(['git', 'ls-files'], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    folders = {path.partition('/')[0] + '/' for path in tracked if '/' in path and not path.startswith('.')}
    self.assertEmpty(folders - listed, 'docs/developing.md, layout: folders without a line')

  def test_every_page_is_one_of_the_pages(self):
    self.assertCountEqual(
      pages.PAGES[1:], [os.path.relpath(path, ROOT) for path in glob.glob(os.path.join(ROOT, 'docs', '*.md'))]
    )

  def test_links_and_images_exist(self):
    for page in pages.PAGES:
      for target in re.findall(r'\]\(([^)]+)\)', _WithoutBlocks(page)):
        if '://' in target:
          continue
        path, _, anchor = target.partition('#')
        path = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
        self.assertTrue(
          os.path.exists(os.path.join(ROOT, path)),
          f'{page}: no {target}; pictures of TensorBoard are made as docs/dashboard.md says',
        )
        if anchor:
          self.assertIn(anchor, _Anchors(path), f'{page}: link to {target}')


def _WithoutBlocks(page):
  """A page's text without its fenced blocks."""
  return re.sub(r'(?ms)^```.*?^```$', '', pages.Read(page))


def _Anchors(page):
  """Where links into a page can point."""
  return {
    re.sub(r'[^\w -]', '', title.lower()).replace(' ', '-')
    for title in re.findall(r'(?m)^#+ (.*)$', _WithoutBlocks(page))
  }


if __name__ == '__main__':
  absltest.main()
