"""One stage on disk: its command, the stamp of its inputs, RUN/stage.json, and whether there is anything to do.

A stage's inputs are its experiment, knobs and bindings, the files of its size and tokenizer, its data sets and its
parent's inputs. The code is not among them. RUN/stage.json:
  stamp, inputs    digest of the inputs, and the inputs themselves, so that a change can be named
  command          what trained it, from the checkout
  seconds, cores   wall clock of the trainer's process, all resumes together, and the cores that it was given
  done             whether it ended, evaluations included
  date, machine, versions   when and on what it ended
  taken            only of a run that --take took: the inputs in which it differs
"""

import ast
import datetime
import hashlib
import json
import os
import re
import shlex
import time

from fm_lingvo import dataset
from fm_lingvo import errors
from fm_lingvo import metrics_log
from tools import recipe_labels
from tools.common import this_machine

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# What changes neither the weights nor what they recognise.
_NOT_INPUTS = ('eval_interval_steps', 'save_interval_steps', 'summary_interval_steps', 'human', 'synthetic')
_FINAL = ('TestTarget', 'TestSource')
# A run without a stage.json whose files are younger than this is being trained by someone else.
_FRESH_SECONDS = 150
# Longer gaps between two summaries are pauses.
_PAUSE_SECONDS = 600


def RunDir(settings, stage):
  """Folder of a stage's run."""
  return os.path.join(settings.output, stage.name)


def Command(settings, stage):
  """The trainer's arguments, after its name."""
  bound = {**{f'{stage.experiment}.{knob}': value for knob, value in stage.knobs.items()}, **stage.bindings}
  return [f'--model={stage.model}', f'--logdir={RunDir(settings, stage)}',
          *[f'--gin.{path}={_Literal(value)}' for path, value in bound.items()]]


def _Literal(value):
  """A value as --gin.NAME= takes it: words and paths without quotes."""
  is_word = isinstance(value, str) and re.fullmatch(r'[A-Za-z_/][\w/-]+', value)
  return value if is_word and value not in ('True', 'False', 'None') else repr(value)


def CommandText(settings, stage):
  """The command as one types it."""
  return ' '.join(['trainer', *[_Quoted(arg) for arg in Command(settings, stage)]])


def _Quoted(arg):
  """An argument for a shell; in double quotes where it has single ones."""
  return f'"{arg}"' if "'" in arg and not re.search(r'["$`\\!]', arg) else shlex.quote(arg)


def Inputs(settings, stages):
  """Inputs of each stage.

  Args:
    settings: recipe_plan.Settings.
    stages: dict name -> Stage, parents before children.

  Returns:
    dict: name -> dict of JSON values.

  Raises:
    errors.ConfigError: a data set is not there.
  """
  digests, result = {}, {}
  for name, stage in stages.items():
    for data in stage.data:
      if data not in digests:
        digests[data] = _DataDigest(os.path.join(settings.data_dir, data))
    inputs = {'model': stage.model}
    inputs.update({knob: value for knob, value in stage.knobs.items()
                   if knob not in (*_NOT_INPUTS, 'data_dir', 'init_from')})
    inputs.update({path: value for path, value in stage.bindings.items() if 'eval_datasets' not in path})
    inputs['size file'] = _SizeDigest(stage.knobs['size'])
    if stage.row:
      inputs['tokenizer'] = _Digest(_ReadBytes(os.path.join(_ROOT, recipe_labels.Tokenizer())))
    if stage.knobs.get('lm'):  # What is in the file counts, not where it lies.
      inputs['lm'] = _Digest(_ReadBytes(os.path.join(_ROOT, stage.knobs['lm'])))
    inputs.update({f'data {data}': digests[data] for data in stage.data})
    if stage.parent:
      inputs[f'stage {stage.parent}'] = Stamp(result[stage.parent])
    result[name] = json.loads(json.dumps(inputs))  # Tuples become lists, as they will be when read again.
  return result


def Stamp(inputs):
  """Digest of a stage's inputs."""
  return _Digest(json.dumps(inputs, sort_keys=True).encode())


def State(settings, stage, inputs, seconds, cores, done):
  """What stage.json says of a stage now."""
  return {'stamp': Stamp(inputs), 'inputs': inputs, 'command': CommandText(settings, stage), 'seconds': seconds,
          'cores': cores, 'done': done, 'date': datetime.date.today().isoformat(), 'machine': this_machine.Machine(),
          'versions': _Versions()}


def _Versions():
  try:
    return this_machine.Versions(_ROOT)
  except errors.ConfigError:  # No git here.
    return this_machine.Versions(_ROOT, 'unknown')


def Take(settings, stage, inputs, why):
  """Records a finished run as that of a stage although its inputs differ, as `why` says.

  Returns:
    Whether the run is finished.
  """
  run = RunDir(settings, stage)
  if not IsSaved(run, stage) or MissingResults(run, stage):
    return False
  old = Read(run)
  state = State(settings, stage, inputs, old['seconds'] if old else TrainedSeconds(run), Cores(), done=True)
  Write(run, {**state, 'taken': why})
  return True


def Cores():
  """Cores that this process may use."""
  return len(os.sched_getaffinity(0))


def Differences(old, new):
  """Text that names each input that differs."""
  def _Show(inputs, key):
    return repr(inputs[key]) if key in inputs else 'unset'
  keys = [key for key in sorted({*old, *new}) if _Show(old, key) != _Show(new, key)]
  return ', '.join(f'{key}: {_Show(old, key)} -> {_Show(new, key)}' for key in keys)


def Read(run):
  """RUN/stage.json, None if there is none."""
  path = os.path.join(run, 'stage.json')
  if not os.path.exists(path):
    return None
  with open(path, encoding='utf-8') as f:
    try:
      return json.load(f)
    except ValueError as e:
      raise errors.ConfigError(f'{path}: not JSON ({e}); remove it, and the run is looked at anew') from e


def IsOf(run, stamp):
  """Whether a run was trained from the inputs with this stamp."""
  state = Read(run)
  return bool(state) and state['stamp'] == stamp


def Write(run, state):
  """Writes RUN/stage.json, all at once."""
  os.makedirs(run, exist_ok=True)
  path = os.path.join(run, 'stage.json')
  with open(path + '.tmp', 'w', encoding='utf-8') as f:
    f.write(json.dumps(state, indent=2) + '\n')
  os.replace(path + '.tmp', path)


def Look(run, stage, inputs):
  """What there is to do.

  Args:
    run: the stage's folder.
    stage: the Stage.
    inputs: its Inputs.

  Returns:
    (what, why): what is 'done'; 'train' (nothing is there); 'resume'; 'changed', if what is there was trained from
    other inputs, named by `why`; or 'busy', if another process trains it.
  """
  state = Read(run)
  if state:
    if state['stamp'] != Stamp(inputs):
      return 'changed', Differences(state['inputs'], inputs)
    if state['done'] and not MissingResults(run, stage):
      return 'done', ''
    return 'resume', ''
  config = os.path.join(run, 'config.gin')
  if not os.path.exists(config):
    return ('changed', 'no config.gin') if _Files(run) else ('train', '')
  with open(config, encoding='utf-8') as f:
    why = ConfigDifferences(f.read(), stage)
  if not why and IsSaved(run, stage) and not MissingResults(run, stage):
    return 'done', ''
  metrics = os.path.join(run, 'metrics.jsonl')
  newest = max(os.path.getmtime(path) for path in (config, metrics) if os.path.exists(path))
  if time.time() - newest < _FRESH_SECONDS:
    return 'busy', ''
  return ('changed', why) if why else ('resume', '')


def _Files(run):
  return [name for name in os.listdir(run) if name != 'stage.lock'] if os.path.isdir(run) else []


def ConfigDifferences(text, stage):
  """Text that names the knobs of a config.gin that differ from a stage's, among those that count."""
  head = text.partition('\n# Every other param')[0]
  found, was = {}, {}
  for line in head.splitlines():
    match = re.match(r'([\w./]+) = (.*?)(?:  # <- .*; was (.*))?$', line)
    if match:
      found[match.group(1)] = _Value(match.group(2))
      was[match.group(1)] = _Value(match.group(3)) if match.group(3) else found[match.group(1)]
  wanted = {f'{stage.experiment}.{knob}': value for knob, value in stage.knobs.items()}
  wanted.update(stage.bindings)
  def _Counts(key):
    return key.rpartition('.')[2] not in (*_NOT_INPUTS, 'eval_datasets') and not key.startswith(('Dev', 'Test'))
  old = {key: value for key, value in found.items() if _Counts(key) and (key in wanted or value != was[key])}
  return Differences(json.loads(json.dumps(old)),
                     json.loads(json.dumps({key: value for key, value in wanted.items() if _Counts(key)})))


def _Value(text):
  try:
    return ast.literal_eval(text)
  except (SyntaxError, ValueError):  # A macro, or what code gave.
    return text


def Rows(run):
  """Rows of the run's metrics.jsonl."""
  path = os.path.join(run, 'metrics.jsonl')
  return metrics_log.ReadMetrics(path) if os.path.exists(path) else []


def IsSaved(run, stage):
  """Whether the newest checkpoint is of the stage's last step."""
  path = os.path.join(run, 'train', 'checkpoint')
  if not os.path.exists(path):
    return False
  with open(path, encoding='utf-8') as f:
    match = re.search(r'model_checkpoint_path: ".*ckpt-(\d+)"', f.read())
  return bool(match) and int(match.group(1)) >= stage.knobs['max_steps']


def FinalRows(run, stage):
  """dict: data set -> its metrics at the stage's last step."""
  return {row['dataset']: row for row in Rows(run)
          if row['dataset'] in _FINAL and row['step'] == stage.knobs['max_steps']}


def MissingResults(run, stage):
  """Names of the final data sets that a finished stage lacks."""
  found = FinalRows(run, stage) if stage.row else {}
  return [name for name in _FINAL if name not in found] if stage.row else []


def TrainedSeconds(run):
  """Wall clock of a run without a stage.json: between its summaries, pauses left out."""
  times = sorted(row['time'] for row in Rows(run))
  return sum(b - a for a, b in zip(times, times[1:]) if b - a < _PAUSE_SECONDS)


def _DataDigest(path):
  """Digest of what a data set's directory says that it holds."""
  try:
    dataset.ReadDataset(path)
  except dataset.DatasetError as e:
    raise errors.ConfigError(str(e)) from e
  return _Digest(b''.join(_ReadBytes(os.path.join(path, name)) for name in ('dataset.json', 'manifest.jsonl')))


def _SizeDigest(size):
  """Digest of the bindings of params/gin/SIZE.gin."""
  text = _ReadBytes(os.path.join(_ROOT, 'params', 'gin', f'{size}.gin')).decode()
  lines = [line.partition('#')[0].strip() for line in text.splitlines()]
  return _Digest('\n'.join(line for line in lines if line).encode())


def _ReadBytes(path):
  if not os.path.exists(path):
    raise errors.ConfigError(f'{path}: no such file')
  with open(path, 'rb') as f:
    return f.read()


def _Digest(data):
  return hashlib.sha256(data).hexdigest()[:12]
