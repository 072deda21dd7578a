"""Creates summary protos for TensorBoard without a graph: scalars, figures, audio.

T: log-mel frames, F: mel bins, N: encoded frames, V: codes per codebook, S: samples.
"""

import io
import wave
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from lingvo import compat as tf

from fm_lingvo.utils import audio

_Value = tf.Summary.Value


def Scalars(values: Mapping[str, float]) -> tf.Summary:
  """Returns a tf.Summary of a dict tag -> number."""
  return tf.Summary(value=[_Value(tag=tag, simple_value=float(v)) for tag, v in sorted(values.items())])


def _TextTab(tag: str, text: str) -> tf.Summary:
  return tf.Summary(
    value=[
      _Value(
        tag=tag,
        metadata=tf.tf1.SummaryMetadata(plugin_data=tf.tf1.SummaryMetadata.PluginData(plugin_name='text')),
        tensor=tf.make_tensor_proto([text], dtype=tf.string, shape=[1]),
      )
    ]
  )


def Text(tag: str, text: str) -> tf.Summary:
  """Returns a tf.Summary of a text, shown verbatim in TensorBoard's Text tab."""
  block = '\n'.join('    ' + line for line in text.removesuffix('\n').split('\n'))
  return _TextTab(tag, block)


def Markdown(tag: str, text: str) -> tf.Summary:
  """Returns a tf.Summary of a text in Markdown, for TensorBoard's Text tab."""
  return _TextTab(tag, text)


def CodeHistogram(tag: str, counts: npt.ArrayLike, max_bins: int = 64) -> tf.Summary:
  """Returns a tf.Summary with the histogram of code indices, from their counts [V]."""
  counts = np.asarray(counts, np.float64)
  codes = np.arange(len(counts))
  weights, edges = np.histogram(codes, bins=min(max_bins, len(counts)), range=(0, len(counts)), weights=counts)
  proto = tf.tf1.HistogramProto(
    min=0.0,
    max=float(len(counts) - 1),
    num=float(counts.sum()),
    sum=float((counts * codes).sum()),
    sum_squares=float((counts * codes**2).sum()),
  )
  # TensorBoard interprets a bucket as (previous limit, limit].
  proto.bucket_limit.extend([0.0] + edges[1:].tolist())
  proto.bucket.extend([0.0] + weights.tolist())
  return tf.Summary(value=[_Value(tag=tag, histo=proto)])


def Audio(tag: str, samples: npt.ArrayLike, sample_rate: int = audio.SAMPLE_RATE) -> tf.Summary:
  """Returns a tf.Summary of float samples [S] in [-1, 1) as 16-bit WAV."""
  pcm = np.clip(np.round(np.asarray(samples) * 32768.0), -32768, 32767)
  buffer = io.BytesIO()
  with wave.open(buffer, 'wb') as f:
    f.setnchannels(1)
    f.setsampwidth(2)
    f.setframerate(sample_rate)
    f.writeframes(pcm.astype('<i2').tobytes())
  return tf.Summary(
    value=[
      _Value(
        tag=tag,
        audio=tf.Summary.Audio(
          sample_rate=sample_rate,
          num_channels=1,
          length_frames=len(pcm),
          encoded_audio_string=buffer.getvalue(),
          content_type='audio/wav',
        ),
      )
    ]
  )


def Figure(tag: str, figure: Any) -> tf.Summary:
  """Returns a tf.Summary of a matplotlib figure."""
  buffer = io.BytesIO()
  figure.savefig(buffer, format='png', dpi=80)
  width, height = figure.get_size_inches() * 80
  return tf.Summary(
    value=[
      _Value(
        tag=tag,
        image=tf.Summary.Image(
          width=int(width), height=int(height), colorspace=4, encoded_image_string=buffer.getvalue()
        ),
      )
    ]
  )


def MaskedLogMel(
  tag: str,
  masked_features: np.ndarray,
  mask: np.ndarray,
  codes: np.ndarray,
  predictions: np.ndarray,
  loss_weights: np.ndarray,
  num_frames: int,
) -> tf.Summary:
  """Returns a tf.Summary with the masked log-mel, targets and predictions of one utterance of BEST-RQ.

  Args:
    tag: Tag of the summary.
    masked_features: [T, F], input of the encoder.
    mask: [T], 1 on masked frames.
    codes: [N], target codes of one codebook.
    predictions: [N], most probable codes.
    loss_weights: [N], 1 on frames of the loss.
    num_frames: Unpadded log-mel frames, <= T.

  Returns:
    tf.Summary with an image: on top the log-mel with masked spans shaded, below the target
    and predicted codes on the frames of the loss.
  """
  # A Figure without pyplot needs no display and is freed after use.
  from matplotlib import figure as mpl_figure

  figure = mpl_figure.Figure(figsize=(10, 5), layout='constrained')
  top, bottom = figure.subplots(2, 1, sharex=True)
  seconds = num_frames / 100.0
  bins = masked_features.shape[1]
  top.imshow(
    masked_features[:num_frames].T, origin='lower', aspect='auto', extent=(0, seconds, 0, bins), interpolation='nearest'
  )
  edges = np.flatnonzero(np.diff(np.pad(mask[:num_frames] > 0, 1).astype(int)))
  for start, end in zip(edges[::2], edges[1::2]):
    top.axvspan(start / 100.0, end / 100.0, color='white', alpha=0.35, lw=0)
  top.set_ylabel('mel bin')
  top.set_title('log-mel, masked spans shaded')
  used = np.flatnonzero(loss_weights > 0)
  time = (used + 0.5) * (len(mask) // len(codes)) / 100.0
  right = predictions[used] == codes[used]
  bottom.plot(time, codes[used], 'o', mfc='none', ms=7, label='target')
  bottom.plot(time[right], predictions[used][right], '.', color='tab:green', label='predicted, right')
  bottom.plot(time[~right], predictions[used][~right], 'x', color='tab:red', ms=5, label='predicted, wrong')
  bottom.set_ylabel('code')
  bottom.set_xlabel('seconds')
  bottom.legend(loc='upper right', fontsize='small', ncols=3)
  return Figure(tag, figure)
