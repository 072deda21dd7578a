"""Trains stages as processes of the trainer: several at a time, parents first, with a line of progress for each."""

import contextlib
import datetime
import fcntl
import os
import re
import signal
import subprocess
import sys
import time

from tools import interrupts
from tools import recipe_stage

TRAINER = (sys.executable, '-m', 'fm_lingvo.trainer')
_POLL_SECONDS = 0.5
_LINE_SECONDS = 60  # Between two lines of a stage where the output is no terminal.
_STATE_SECONDS = 20  # What a killed recipe may forget of a stage's time.
_END_SECONDS = 60  # That a trainer may take to save a checkpoint.
_TAIL = 8192


class Interrupted(Exception):
  """A signal ended the recipe. `exit_code` is 128 + the signal's number."""

  def __init__(self, signum, what):
    super().__init__(f'{signal.Signals(signum).name}: {what}')
    self.exit_code = 128 + signum


class Runner:
  """Trains what is not trained yet; see the module."""

  def __init__(self, settings, stages, inputs, jobs, on_done=lambda name: None, take=(), trainer=TRAINER, stream=None):
    """Constructor.

    Args:
      settings: recipe_plan.Settings.
      stages: dict name -> Stage, parents before children.
      inputs: recipe_stage.Inputs of them.
      jobs: stages at a time, >= 1.
      on_done: called with the name of each stage that is or has been trained.
      take: names of stages whose finished runs are used although their inputs changed.
      trainer: the trainer's command.
      stream: where progress goes; default: standard output.
    """
    self._settings, self._stages, self._inputs = settings, stages, inputs
    self._jobs, self._on_done, self._take, self._trainer = jobs, on_done, take, trainer
    self._display = _Display(stream or sys.stdout)
    self._running, self._busy, self._signum, self._killed = {}, set(), None, False
    self.outcomes = {}  # Name -> 'done', 'reused', 'failed' or 'not run'.

  def Run(self):
    """Trains all stages.

    Returns:
      dict: name -> 'done', 'reused', 'failed', or 'not run' if a parent failed.

    Raises:
      Interrupted: after SIGINT or SIGTERM, once the trainers have ended.
    """
    with self._Signals():
      try:
        while len(self.outcomes) < len(self._stages):
          self._Reap()
          if self._signum is None:
            self._StartReady()
          elif not self._running:
            what = 'were killed at the second signal' if self._killed else 'have saved checkpoints and ended'
            raise Interrupted(self._signum, f'the trainers {what}; the same command goes on from their last checkpoints')
          self._display.Show({name: child.Progress() for name, child in self._running.items()})
          if self._running or self._busy:
            time.sleep(_POLL_SECONDS)
      finally:
        for child in self._running.values():  # Only after an error of our own.
          child.End(kill=False)
        for child in self._running.values():
          child.Wait(_END_SECONDS)
        self._display.Close()
    return self.outcomes

  def _StartReady(self):
    """Starts, or finds done, the stages whose parents are done."""
    self._busy.clear()
    for name, stage in self._stages.items():
      if self._signum is not None:
        return
      if name in self.outcomes or name in self._running:
        continue
      parent = self.outcomes.get(stage.parent, 'pending' if stage.parent else 'done')
      if parent in ('failed', 'not run'):
        self._Finish(name, 'not run', f'{name}: not run, for {stage.parent} is not there')
      elif parent in ('done', 'reused'):
        self._StartOrReuse(name, stage)

  def _StartOrReuse(self, name, stage):
    run = recipe_stage.RunDir(self._settings, stage)
    what, why = recipe_stage.Look(run, stage, self._inputs[name])
    if what == 'done':
      state = recipe_stage.Read(run)
      if state is None:  # Trained before there was a recipe.
        seconds = recipe_stage.TrainedSeconds(run)
        recipe_stage.Write(run, self._State(stage, seconds, recipe_stage.Cores(), done=True))
      self._Finish(name, 'reused', f'{name}: reused, its inputs did not change')
    elif what == 'busy':
      self._Wait(name, run)
    elif what == 'changed' and name in self._take:
      if recipe_stage.Take(self._settings, stage, self._inputs[name], why):
        self._Finish(name, 'reused', f'{name}: taken as it is, though its inputs changed ({why})')
      else:
        self._Finish(name, 'failed', f'{name}: not taken, {run} is not a finished run of '
                     f'{stage.knobs["max_steps"]} steps, and its inputs changed ({why})')
    elif len(self._running) + len(self._busy) < self._jobs:
      self._StartLocked(name, stage, run)

  def _StartLocked(self, name, stage, run):
    """Starts a stage unless another process has its lock."""
    lock = _Lock(run)
    if lock is None:
      self._Wait(name, run)
      return
    # Another process may have trained it between the first look and the lock.
    what, why = recipe_stage.Look(run, stage, self._inputs[name])
    if what in ('done', 'busy') or what == 'changed' and name in self._take:
      lock.close()  # The next round sees it.
      return
    if what == 'changed':
      moved = MoveAside(run)  # The lock goes with the folder: nobody has it until the new one is locked.
      self._display.Line(f'{name}: its inputs changed ({why}); the old run is now {moved}')
      old, lock = lock, _Lock(run)
      old.close()
      if lock is None:
        self._Wait(name, run)
        return
    self._Start(name, stage, run, lock)

  def _Wait(self, name, run):
    if name not in self._busy and self._display.Once(f'{name} busy'):
      self._display.Line(f'{name}: another process trains it in {run}; waiting')
    self._busy.add(name)

  def _Start(self, name, stage, run, lock):
    left = sum(n not in self.outcomes for n in self._stages)
    cores = max(1, recipe_stage.Cores() // min(self._jobs, left))
    state = recipe_stage.Read(run)
    seconds = state['seconds'] if state else recipe_stage.TrainedSeconds(run)
    state = self._State(stage, seconds, cores, done=False)
    recipe_stage.Write(run, state)
    command = [*self._trainer, *recipe_stage.Command(self._settings, stage)]
    self._display.Line(f'{name}: {"resumed" if seconds else "started"}, {stage.knobs["max_steps"]} steps, '
                       f'{cores} core(s), log {run}/train.log')
    self._running[name] = child = _Child(run, command, cores, state, lock)
    if self._signum is not None:  # It came before the handler could know of the child.
      child.End(kill=self._killed)

  def _State(self, stage, seconds, cores, done):
    return recipe_stage.State(self._settings, stage, self._inputs[stage.name], seconds, cores, done)

  def _Reap(self):
    """Takes note of trainers that have ended."""
    for name, child in list(self._running.items()):
      code = child.Poll()
      if code is None:
        continue
      del self._running[name]
      stage = self._stages[name]
      missing = recipe_stage.MissingResults(child.run, stage) if code == 0 else []
      child.Close(done=code == 0 and not missing)
      if code == 0 and not missing:
        self._Finish(name, 'done', f'{name}: done in {child.state["seconds"] / 3600:.2f} h')
      elif self._signum is None:
        why = (f'no evaluation of {", ".join(missing)} at the last step' if missing else
               f'exit code {code}: {child.LastLine()}')
        self._Finish(name, 'failed', f'{name}: failed, {why} ({child.run}/train.log)')

  def _Finish(self, name, outcome, line):
    self.outcomes[name] = outcome
    self._display.Line(line)
    if outcome in ('done', 'reused'):
      self._on_done(name)

  @contextlib.contextmanager
  def _Signals(self):
    """The first SIGINT or SIGTERM ends the trainers, who save checkpoints; the second kills them."""
    def _Handle(signum, unused_frame):
      self._killed = self._signum is not None
      for child in self._running.values():
        child.End(kill=self._killed)
      self._signum = signum
    with interrupts.HandledBy(_Handle):
      yield


class _Child:
  """A trainer's process in its run's folder."""

  def __init__(self, run, command, cores, state, lock):
    self.run, self.state = run, state
    self._lock, self._asked = lock, False
    # TensorFlow would take every core for each process.
    names = ('TF_NUM_INTRAOP_THREADS', 'TF_NUM_INTEROP_THREADS', 'OMP_NUM_THREADS')
    self._before, self._started, self._noted = state['seconds'], time.time(), time.time()
    self._log_path = os.path.join(run, 'train.log')
    with open(self._log_path, 'ab') as log:
      # A session of its own: Ctrl-C reaches the recipe alone, which passes it on once.
      self._process = subprocess.Popen(  # pylint: disable=consider-using-with
          command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
          pass_fds=(lock.fileno(),),  # It holds the lock while it lives, also where the recipe is killed.
          env={**os.environ, **dict.fromkeys(names, str(cores))})

  def Poll(self):
    """The exit code, None while it runs."""
    if time.time() - self._noted > _STATE_SECONDS:
      self._Note()
    return self._process.poll()

  def _Note(self, **fields):
    self._noted = time.time()
    self.state.update(fields, seconds=round(self._before + self._noted - self._started, 3))
    recipe_stage.Write(self.run, self.state)

  def Close(self, done):
    """Notes the end."""
    self._Note(done=done, date=datetime.date.today().isoformat())
    self._lock.close()

  def End(self, kill):
    """Asks the process, once, to save and end, or ends it."""
    if self._asked and not kill:
      return
    self._asked = True
    if self._process.poll() is None:
      self._process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)

  def Wait(self, seconds):
    """Waits for its end; ends it after so many seconds."""
    try:
      self._process.wait(seconds)
    except subprocess.TimeoutExpired:
      self.End(kill=True)
    self._lock.close()

  def Progress(self):
    """What the trainer said last about a step."""
    found = re.findall(r'(?m)^(step \d+/\d+: .*)$', self._Tail())
    return found[-1] if found else 'starting'

  def LastLine(self):
    """The trainer's last words."""
    lines = [line for line in self._Tail().splitlines() if line.strip()]
    return next((line for line in reversed(lines) if line.startswith('trainer: ')), lines[-1] if lines else 'no output')

  def _Tail(self):
    with open(self._log_path, 'rb') as f:
      f.seek(max(0, os.path.getsize(self._log_path) - _TAIL))
      return f.read().decode('utf-8', 'replace').replace('\r', '\n')


class _Display:
  """Lines, and below them on a terminal a line for each running stage that changes in place."""

  def __init__(self, stream):
    self._stream, self._is_terminal = stream, stream.isatty()
    self._height, self._shown, self._said = 0, {}, set()

  def Once(self, key):
    """True the first time."""
    new = key not in self._said
    self._said.add(key)
    return new

  def Line(self, text):
    """Prints a line that stays."""
    self._Erase()
    print(text, file=self._stream, flush=True)

  def Show(self, progress):
    """dict stage -> text; elsewhere than on a terminal now and then only."""
    if self._is_terminal:
      self._Erase()
      width = os.get_terminal_size(self._stream.fileno()).columns - 1
      for name, text in progress.items():
        print(f'{name}: {text}'[:width], file=self._stream)
      self._height = len(progress)
      self._stream.flush()
      return
    for name, text in progress.items():
      said, at = self._shown.get(name, ('starting', 0.0))
      if text != said and time.time() - at >= _LINE_SECONDS:
        self._shown[name] = (text, time.time())
        print(f'{name}: {text}', file=self._stream, flush=True)

  def _Erase(self):
    if self._height:
      print(f'\x1b[{self._height}F\x1b[J', end='', file=self._stream)
      self._height = 0

  def Close(self):
    """Takes the changing lines away."""
    self._Erase()
    self._stream.flush()


def MoveAside(run):
  """Renames a run's folder; returns the new name."""
  base = f'{run}.before-{datetime.datetime.now().strftime("%Y%m%d-%H%M%S")}'
  moved, number = base, 1
  while os.path.exists(moved):
    number += 1
    moved = f'{base}-{number}'
  os.rename(run, moved)
  return moved


def _Lock(run):
  """An open file that locks the run's folder until it is closed; None if another recipe has it."""
  os.makedirs(run, exist_ok=True)
  path = os.path.join(run, 'stage.lock')
  try:
    lock = open(path, 'w', encoding='utf-8')  # pylint: disable=consider-using-with
  except FileNotFoundError:  # The folder was just moved aside.
    return None
  try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError:
    lock.close()
    return None
  if not _IsAt(lock, path):  # The folder was moved aside meanwhile, and the lock with it.
    lock.close()
    return None
  return lock


def _IsAt(file, path):
  """Whether an open file is the one at a path."""
  try:
    return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
  except FileNotFoundError:
    return False
