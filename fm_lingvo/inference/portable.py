"""Exports a run as a self-contained folder: weights as safetensors, configuration, tokenizers, model card.

fm_lingvo.load, the tools and init_from take such a folder like that of a run. It contains no path of this machine.

  model.safetensors    the weights that load would use, without optimizer; or adapter.safetensors: adapters alone
  config.gin           the configuration that replays the run
  config.json          the same for other programs, with sizes and provenance
  tokenizer_HEAD.model SentencePiece models of the heads; confidence.json, if the run has one
  README.md            model card
"""

import ast
import dataclasses
import json
import os
import re
import shutil
import tempfile

import numpy as np
from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.checkpoints import fingerprint
from fm_lingvo.checkpoints import reader
from fm_lingvo.checkpoints import weights_file
from fm_lingvo.config import gin_config
from fm_lingvo.data import spoken_language
from fm_lingvo.data import transcripts
from fm_lingvo.decoding import confidence
from fm_lingvo.inference import load_run
from fm_lingvo.inference import model_card
from fm_lingvo.inference import run as run_lib
from fm_lingvo.layers import adapter as adapter_lib
from fm_lingvo.run_files import run_dir
from fm_lingvo.utils import audio
from fm_lingvo.utils import files

# Constants that a rounding would change the meaning of: records, statistics of the front end, quantizers.
_EXACT = re.compile(r'record/var$|/frontend/|/quantizer/|/lora/scale/var$')
_STRING_OR_COMMENT = re.compile(r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|\s*#.*$""")
_PATH_KEY = re.compile(r'(_dir|_file|_from|_pattern|_override|_rules|logdir)$')
_PLACE = re.compile(r'^(/(home|root|Users|tmp|mnt|media|data|srv|var|opt|scratch|work|workspace)/|~|[a-z0-9]+://)')


@dataclasses.dataclass(frozen=True)
class Options:
  """What to write."""

  adapter: str | None = None  # Set of adapters to write alone or to merge; None: the run's active set.
  adapter_only: bool = False  # Adapters and decoder alone, in adapter.safetensors.
  merge: bool = False  # Adapters of the kinds lora and bias become part of the weights.
  float16: bool = False  # Weights are stored in float16.
  licenses: tuple[str, ...] = ()  # Lines `CORPUS: LICENCE` for the card, beside those of the data sets.


def Write(run: run_lib.Run, folder: str, options: Options = Options()) -> dict:
  """Writes a run's folder.

  Args:
    run: What load_run.Load returned; its adapter is the one of `options`.
    folder: New or empty.
    options: What to write.

  Returns:
    The contents of config.json.

  Raises:
    errors.ConfigError: The folder is in use, or the run has not what the options ask for.
    errors.RunError: The disk is full.
  """
  files.CheckNewFolder(folder)
  _, params = load_run.ModelParams(run.path)
  weights = run.Weights()
  values, about = _Select(run, params, weights, options)
  if options.merge:
    digest = fingerprint.Digest(fingerprint.Encoder(weights), values.__getitem__)
  else:
    digest = fingerprint.EncoderDigest(weights, values if options.adapter_only else ())
  about['encoder_sha256'] = digest.tobytes().hex()
  about['stored'] = 'float16' if options.float16 else 'float32'
  if options.float16:
    values, worst = weights_file.ToFloat16(values, [n for n in values if _Rounds(n, values[n])])
    about['largest_difference'] = worst
  if options.float16 or options.adapter_only or fingerprint.DIGEST in weights.others:
    values[fingerprint.DIGEST] = digest
  config = _Config(run, params, weights, values, about, options.licenses)
  parent = os.path.dirname(os.path.abspath(folder))
  with errors.Writing(folder):
    os.makedirs(parent, exist_ok=True)
  with errors.Writing(folder), tempfile.TemporaryDirectory(dir=parent) as made:
    name = weights_file.ADAPTER if options.adapter_only else weights_file.MODEL
    weights_file.Write(os.path.join(made, name), values)
    texts = {'config.json': json.dumps(config, indent=2) + '\n', 'config.gin': _ConfigGin(run, options)}
    recorded = transcripts.Recorded(run.path)
    if recorded:
      short = {stream: {n: os.path.basename(path) for n, path in names.items()} for stream, names in recorded.items()}
      texts[transcripts.RECORD] = json.dumps(short, indent=2) + '\n'
    if run.language:
      texts[spoken_language.RECORD] = json.dumps({run.stream: run.language}, indent=2) + '\n'
    texts['README.md'] = model_card.Text(config)
    for name, text in texts.items():
      with open(os.path.join(made, name), 'w', encoding='utf-8') as f:
        f.write(text)
    for name in files.List(run.path):
      if name == confidence.FILE or re.fullmatch(r'tokenizer_\w+\.model', name):
        tf.io.gfile.copy(os.path.join(run.path, name), os.path.join(made, name))
    os.makedirs(folder, exist_ok=True)
    for name in os.listdir(made):
      shutil.copyfile(os.path.join(made, name), os.path.join(folder, name))
  return config


def _Select(run, params, weights, options):
  """Returns (dict: name -> array to write, what config.json says about them)."""
  about = {'adapter': run.adapter, 'adapters': {}}
  found = fingerprint.Adapters(weights)
  if (options.adapter_only or options.merge) and run.adapter == adapter_lib.NO_ADAPTER:
    raise errors.ConfigError(
      f'{run.path}: no active adapters; name a set with --adapter, of {", ".join(found) or "none"}'
    )
  values = weights.Values(weights.weights)
  if options.merge:
    task = run_dir.DeclaredTask(params.Copy().Set(task=run.params))
    values = {n: v for n, v in task.encoder.Merged(values).items() if '/' + fingerprint.ADAPTERS not in n}
    about['merged'], about['adapter'] = run.adapter, adapter_lib.NO_ADAPTER
  elif options.adapter_only:
    trained = re.compile(params.task.train.learner.bprop_variable_filter or '$^')
    names = [n for n in fingerprint.Encoder(weights) if trained.search(n)]  # Norms, with train_layer_norms.
    names += found[run.adapter] + fingerprint.Decoder(weights) + [n for n in values if '/frontend/' in n]
    values = {name: values[name] for name in names}
  if weights.step >= 0:
    values[reader.STEP] = np.array(weights.step, np.int64)
  about['adapters'] = {} if options.merge else {name: _Count(weights, names) for name, names in found.items()}
  if options.adapter_only:
    about.update(only_adapters=True, adapters={run.adapter: about['adapters'][run.adapter]})
  return values, about


def _Rounds(name, value):
  return value.dtype == np.float32 and not _EXACT.search(name)


def _Count(weights, names):
  return sum(int(np.prod(weights.weights[name][1])) for name in names)


def _Config(run, params, weights, values, about, licenses):
  """Returns the contents of config.json."""
  components: dict[str, int] = {}
  for name, value in values.items():
    if name in weights.weights:
      components[reader.Component(name)] = components.get(reader.Component(name), 0) + int(value.size)
  head = run.params.heads.Get(run.head)
  frontend = run.params.frontend
  return {
    'format': weights_file.FORMAT,
    'model': run.model_name,
    'step': weights.step,
    'averages': weights.averaged,
    'head': run.head,
    'kind_of_head': head.cls.__name__,
    'encoder': run.params.encoder.cls.__name__,
    'downsample_factor': run.params.encoder.cls.DownsampleFactor(run.params.encoder),
    'sample_rate': audio.SAMPLE_RATE,
    'mel_bins': frontend.mel.num_bins,
    'normalization': frontend.normalization,
    'max_seconds': run.max_seconds,
    'language': run.language,
    'parameters': components,
    **about,
    **model_card.Origin(run.path, params, weights.step, licenses),
  }


def _ConfigGin(run, options):
  """Returns config.gin without comments and paths of this machine."""
  gin_config.Configure(run.model_name, [os.path.join(run.path, 'config.gin')])
  try:
    text = gin_config.ConfigText(run.model_name, reference=False)
  finally:
    gin_config.Reset()
  lines = [f'# Configuration of {run.model_name}, without paths of the machine that trained it.']
  lines += [shown for line in text.splitlines() if (shown := WithoutPaths(line))]
  bound = {}
  if options.merge:
    bound = {'adapters': [], 'active_adapter': None}
  elif run.adapter_file:  # The configuration is that of the base, without its adapters.
    encoder = run.params.encoder
    bound = {name: encoder.Get(name) for name in ('adapters', 'active_adapter', 'adapter_kind', 'adapter_position')}
    bound['adapter_tpl.bottleneck_dim'] = encoder.adapter_tpl.bottleneck_dim
    bound.update({f'lora_tpl.{name}': encoder.lora_tpl.Get(name) for name in ('rank', 'projections')})
  bound = {f'task.encoder.{name}': value for name, value in bound.items()}
  lines = [line for line in lines if line.partition(' ')[0] not in bound]
  lines += [f'{name} = {value!r}' for name, value in bound.items()]
  return '\n'.join(lines) + '\n'


def WithoutPaths(line: str) -> str:
  """Returns a line of Gin without its comment; of paths on this machine the last name is left."""
  key = line.partition('=')[0].strip()

  def _Replace(match):
    if match[1] is None:
      return ''
    value = ast.literal_eval(match[1])
    is_place = isinstance(value, str) and (
      _PLACE.match(value) or value.startswith('/') and (_PATH_KEY.search(key) or files.Exists(value))
    )
    return repr(os.path.basename(value.rstrip('/'))) if is_place else match[1]

  return _STRING_OR_COMMENT.sub(_Replace, line).rstrip()
