"""What TensorBoard shows at a glance: a page of charts, and runs compared by their knobs."""

import json
import os
from collections.abc import Mapping
from typing import Any

from lingvo import compat as tf

from fm_lingvo import errors

# Category -> title of a chart -> regular expressions of its tags; charts without a matching tag stay empty.
_CHARTS: dict[str, dict[str, tuple[str, ...]]] = {
  'Is it learning?': {
    'Loss, training and evaluations': ('^loss$',),
    'Error rates (must fall)': ('.*/(wer|cer)$',),
    'Masked accuracy (must rise above majority_accuracy)': ('.*/(masked|majority)_accuracy$',),
    'Cross-entropy (must fall below unigram_entropy)': ('.*/(cross_entropy|unigram_entropy)$',),
  },
  'Branches': {
    'Loss of each branch': ('^[^/]+/loss$',),
    "Share of the encoder's gradient": ('^branch/.*_encoder_grad_share$',),
    "Norm of the encoder's gradient": ('^branch/.*_encoder_grad_norm$',),
    'Codes in use': ('.*/code_(coverage|perplexity)$',),
  },
  'Is it healthy?': {
    'Learning rate': ('^learning_rate(/.*)?$',),
    'Gradient norm': ('^grad_norm$',),
    'Skipped steps': ('^skipped_steps$',),
    'Utterances dropped and cut': ('.*/(dropped|cut)$',),
    'Seconds of audio a second': ('^throughput/audio_seconds_per_second$',),
  },
}
_KNOBS_ALWAYS = ('size', 'learning_rate', 'batch_seconds', 'max_steps', 'seed')  # Compared even if no run sets them.


def Layout() -> tf.Summary:
  """Returns a tf.Summary with the charts of the tab Custom Scalars."""
  from tensorboard.plugins.custom_scalar import layout_pb2
  from tensorboard.plugins.custom_scalar import summary

  categories = []
  for title, charts in _CHARTS.items():
    protos = [
      layout_pb2.Chart(title=name, multiline=layout_pb2.MultilineChartContent(tag=tags))
      for name, tags in charts.items()
    ]
    categories.append(layout_pb2.Category(title=title, chart=protos))
  return summary.pb(layout_pb2.Layout(category=categories))


def HParams(settings: Mapping[str, Any]) -> dict[str, bool | float | str]:
  """Returns settings as the tab HParams takes them: booleans, numbers and texts; anything else as JSON or repr."""
  values: dict[str, bool | float | str] = {}
  for name, value in settings.items():
    if isinstance(value, (bool, int, float, str)):
      values[name] = value
    else:
      try:
        values[name] = json.dumps(value)
      except TypeError:
        values[name] = repr(value)
  return values


def Compared(experiment: str, knobs: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, bool | float | str]:
  """Returns what a run is compared by: its experiment, a few knobs that always count, and all that was set.

  Args:
    experiment: Its name, such as asr.JustHydra.
    knobs: Name without the experiment's -> value.
    overrides: Path -> value, of settings that differ from their defaults; knobs with their experiment's name.
  """
  known = {f'{experiment.rpartition(".")[2]}.{name}': name for name in knobs}
  settings = {'experiment': experiment, **{name: knobs[name] for name in _KNOBS_ALWAYS if name in knobs}}
  settings.update({known.get(path, path): value for path, value in overrides.items()})
  return HParams(settings)


def RunStart(run: str, settings: Mapping[str, bool | float | str]) -> tf.Summary:
  """Returns a tf.Summary that makes a run a row of the tab HParams.

  Args:
    run: Folder of the run; the row is named after it and the folder around it.
    settings: As Compared returns.
  """
  from tensorboard.plugins.hparams import summary_v2

  name = os.sep.join(os.path.normpath(run).split(os.sep)[-2:])
  return _AsTf(summary_v2.hparams_pb(dict(settings), trial_id=name))


def RunEnd() -> tf.Summary:
  """Returns a tf.Summary for the tab HParams: the run has ended; one without it is running or was stopped."""
  from tensorboard.plugins.hparams import api_pb2
  from tensorboard.plugins.hparams import summary

  return _AsTf(summary.session_end_pb(api_pb2.STATUS_SUCCESS))


def Write(logdir: str, proto: tf.Summary, name: str) -> None:
  """Writes a tf.Summary into an event file in a run's folder itself, where the tab HParams expects it.

  Args:
    logdir: Folder of the run.
    proto: The summary.
    name: End of the file's name; two files of one name and second would be one.

  Raises:
    errors.RunError: The file cannot be written.
  """
  with errors.Writing(f'{logdir}: event file'), tf.Graph().as_default():  # A writer refuses TensorFlow's eager mode.
    writer = tf.summary.FileWriter(logdir, filename_suffix=f'.{name}')
    writer.add_summary(proto, 0)
    writer.close()


def _AsTf(proto: Any) -> tf.Summary:
  """Converts TensorBoard's message to TensorFlow's of the same fields."""
  return tf.Summary.FromString(proto.SerializeToString())
