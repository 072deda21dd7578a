"""Trains stages as processes of the trainer: several at a time, in the order of the plan, with lines of progress."""

import datetime
import fcntl
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from collections.abc import Sequence
from typing import TextIO

from ..common import interrupts
from ..common import trainer_log
from ..common import training_env
from . import stage_run
from .stage_spec import Settings
from .stage_spec import Stage

TRAINER = (sys.executable, '-m', 'fm_lingvo.trainer')
_POLL_SECONDS = 0.5
_NOTE_SECONDS = 30  # Between two lines about a stage; a killed recipe may lose so much of a stage's time.
_END_SECONDS = 60  # That a trainer may take to save a checkpoint.
# TensorFlow would take every core for each process.
_THREADS = ('TF_NUM_INTRAOP_THREADS', 'TF_NUM_INTEROP_THREADS', 'OMP_NUM_THREADS')


class Interrupted(Exception):
  """A signal ended the recipe. `exit_code` is 128 + the signal's number."""

  def __init__(self, signum, what):
    super().__init__(f'{signal.Signals(signum).name}: {what}')
    self.exit_code = 128 + signum


class Runner:
  """Trains what is not trained yet."""

  def __init__(
    self,
    settings: Settings,
    stages: dict[str, Stage],
    stamps,
    jobs: int,
    on_done: Callable[[], object] = lambda: None,
    trainer: Sequence[str] = TRAINER,
    stream: TextIO | None = None,
  ):
    """Constructor.

    Args:
      settings: Settings.
      stages: of stages.Select().
      stamps: stamps.Stamps of them.
      jobs: stages at a time, >= 1.
      on_done: called when a stage has been trained now, not for one that is reused.
      trainer: the trainer's command.
      stream: where progress goes; default: standard output.
    """
    self._settings, self._stages, self._stamps = settings, stages, stamps
    self._jobs, self._on_done, self._trainer, self._stream = jobs, on_done, trainer, stream or sys.stdout
    self._trainings, self._waiting, self._signum, self._killed = {}, set(), None, False
    self.outcomes = {}  # Run -> 'done', 'reused', 'failed' or 'not run'.

  def Run(self) -> dict[str, str]:
    """Trains all stages.

    Returns:
      dict: run -> 'done', 'reused', 'failed', or 'not run' if what it starts from failed.

    Raises:
      Interrupted: after SIGINT or SIGTERM, once the trainers have ended.
    """
    with interrupts.HandledBy(self._OnSignal):
      try:
        while len(self.outcomes) < len(self._stages):
          self._Reap()
          if self._signum is None:
            self._StartReady()
          elif not self._trainings:
            what = 'were killed at the second signal' if self._killed else 'have saved checkpoints and ended'
            raise Interrupted(self._signum, f'the trainers {what}; the same command goes on from there')
          if self._trainings or self._waiting:
            time.sleep(_POLL_SECONDS)
      finally:
        for training in self._trainings.values():  # Only after an error of our own.
          training.End()
        for training in self._trainings.values():
          training.Wait()
    return self.outcomes

  def _OnSignal(self, signum, unused_frame):
    """The first signal ends the trainers, which save checkpoints; the second kills them."""
    self._killed = self._signum is not None
    self._signum = signum
    for training in self._trainings.values():
      training.End(self._killed)

  def _StartReady(self):
    """Starts, or finds done, the stages whose starts are done."""
    for run, stage in self._stages.items():
      before = {name: self.outcomes.get(name) for name in stage.needs}
      if self._signum is not None or run in self.outcomes or run in self._trainings:
        continue
      missing = [name for name, outcome in before.items() if outcome in ('failed', 'not run')]
      if missing:
        self._Finish(run, 'not run', f'not run, for {missing[0]} is not there')
      elif all(before.values()):
        self._StartOrReuse(run, stage)

  def _StartOrReuse(self, run, stage):
    run_dir = stage_run.RunDir(self._settings, run)
    what, why = stage_run.Look(run_dir, stage, self._stamps)
    if what == 'done':
      self._Finish(run, 'reused', 'reused, its inputs did not change')
    elif len({*self._trainings, *self._waiting} - {run}) < self._jobs:
      lock = _Lock(run_dir)
      if lock is None:
        if run not in self._waiting:
          self._Say(f'{run}: another process trains it in {run_dir}; waiting')
        self._waiting.add(run)
        return
      self._waiting.discard(run)
      if stage_run.Look(run_dir, stage, self._stamps) != (what, why):
        lock.close()  # Another process has trained it meanwhile; the next round sees it.
        return
      if what == 'changed':
        self._Say(f'{run}: its inputs changed ({why}); the old run is now {_MoveAside(run_dir)}')
      self._Start(run, stage, run_dir, lock)

  def _Start(self, run, stage, run_dir, lock):
    left = sum(other not in self.outcomes for other in self._stages)
    cores = max(1, Cores() // min(self._jobs, left))
    seconds = (stage_run.Read(run_dir) or {}).get('seconds', 0.0)
    state = stage_run.NewState(self._settings, stage, self._stamps, seconds, cores)
    stage_run.Write(run_dir, state)
    self._Say(
      f'{run}: {"resumed" if seconds else "started"}, {stage.steps} steps, {cores} core(s), log {run_dir}/train.log'
    )
    commands = [*stage_run.LabelCommands(self._settings, stage)]
    commands.append([*self._trainer, *stage_run.Command(self._settings, stage)])
    self._trainings[run] = _Training(run_dir, commands, state, lock)
    if self._signum is not None:  # It came before the handler could know of the process.
      self._trainings[run].End(self._killed)

  def _Reap(self):
    """Takes note of trainers that have ended."""
    for run, training in list(self._trainings.items()):
      code = training.Poll()
      if code is None:
        progress = training.Progress()
        if progress:
          self._Say(f'{run}: {progress}')
        continue
      del self._trainings[run]
      missing = stage_run.MissingResults(training.run_dir, self._stages[run]) if code == 0 else []
      training.Close(done=code == 0 and not missing)
      if code == 0 and not missing:
        self._Finish(run, 'done', f'done in {training.state["seconds"] / 3600:.2f} h')
      elif self._signum is None:
        why = (
          f'no evaluation of {", ".join(missing)} at the last step'
          if missing
          else f'exit code {code}: {training.LastError()}'
        )
        self._Finish(run, 'failed', f'failed, {why} ({training.run_dir}/train.log)')

  def _Finish(self, run, outcome, text):
    self._waiting.discard(run)
    self.outcomes[run] = outcome
    self._Say(f'{run}: {text}')
    if outcome == 'done':
      self._on_done()

  def _Say(self, text):
    print(text, file=self._stream, flush=True)


class _Training:
  """The processes of a stage, one after the other; the last one is the trainer's."""

  def __init__(self, run_dir, commands, state, lock):
    self.run_dir, self.state = run_dir, state
    self._lock, self._ended = lock, False
    self._before, self._started, self._noted, self._said = state['seconds'], time.time(), time.time(), ''
    self._log_path = os.path.join(run_dir, 'train.log')
    self._commands = list(commands)
    self._StartNext()

  def _StartNext(self):
    with open(self._log_path, 'ab') as log:
      # In a session of its own: Ctrl-C reaches the recipe alone, which passes it on once. The process holds the lock
      # while it lives, also where the recipe is killed.
      self._process = subprocess.Popen(
        self._commands.pop(0),
        stdout=log,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=(self._lock.fileno(),),
        env=training_env.Float32(**dict.fromkeys(_THREADS, str(self.state['cores']))),
      )

  def Poll(self):
    """The exit code of the process that was the last, None while one runs."""
    code = self._process.poll()
    if code == 0 and self._commands and not self._ended:
      self._StartNext()
      return None
    return code

  def Progress(self):
    """Now and then the trainer's last line about a step, if it is a new one; notes the time."""
    if time.time() - self._noted < _NOTE_SECONDS:
      return ''
    self._Note()
    found = re.findall(r'(?m)^(step \d+/\d+: .*)$', trainer_log.Tail(self._log_path))
    if not found or found[-1] == self._said:
      return ''
    self._said = found[-1]
    return self._said

  def _Note(self, **fields):
    self._noted = time.time()
    self.state.update(fields, seconds=round(self._before + self._noted - self._started, 3))
    stage_run.Write(self.run_dir, self.state)

  def Close(self, done):
    """Notes the end."""
    self._Note(done=done, date=datetime.date.today().isoformat())
    self._lock.close()

  def End(self, kill=False):
    """Asks the process, once, to save and end, or kills it."""
    if self._process.poll() is None and (kill or not self._ended):
      self._process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
    self._ended = True

  def Wait(self):
    """Waits for the end; kills a process that takes too long."""
    try:
      self._process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
      self.End(kill=True)
    self._lock.close()

  def LastError(self):
    """The trainer's last error, or its last line."""
    return trainer_log.LastError(trainer_log.Tail(self._log_path))


def Cores() -> int:
  """Cores that this process may use."""
  return len(os.sched_getaffinity(0))


def _MoveAside(run_dir):
  """Renames a run's folder; returns the new name."""
  folder, run = os.path.split(run_dir)
  moved = tempfile.mkdtemp(prefix=f'{run}.before-{datetime.datetime.now():%Y%m%d-%H%M%S}-', dir=folder)
  os.rename(run_dir, moved)
  return moved


def _Lock(run_dir):
  """An open file that locks a run until it is closed; None if another process has it.

  It lies beside the run's folder, which may be moved aside.
  """
  folder = os.path.join(os.path.dirname(run_dir), '.locks')
  os.makedirs(folder, exist_ok=True)
  lock = open(os.path.join(folder, os.path.basename(run_dir)), 'w', encoding='utf-8')
  try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError:
    lock.close()
    return None
  return lock
