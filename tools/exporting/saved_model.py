"""The format saved_model: a SavedModel from waveforms to texts, timed in a process that has TensorFlow alone."""

import json
import os
import shlex
import subprocess
import sys
from typing import Any

from fm_lingvo import errors

from ..common import exit_codes

HOW_TO_CALL = 'HOW_TO_CALL.txt'

# Times utterances of 10 s, one at a time and in a batch of 6. Prints one line of JSON.
_MEASURE = """
import json, os, sys, time
import numpy as np
import tensorflow as tf
recognize = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
rng = np.random.RandomState(0)
audio = (0.05 * rng.standard_normal([6, 160000])).astype(np.float32)
audio *= 1 + np.sin(np.arange(160000) / 16000 * 8 * np.pi, dtype=np.float32)  # Level varies at the rate of syllables.
def Run(batch):
  started = time.time()
  found = recognize(waveforms=tf.constant(batch), num_samples=tf.constant([batch.shape[1]] * len(batch)))
  found["texts"].numpy()
  return time.time() - started
Run(audio[:1]), Run(audio)
print(json.dumps({
    "audio_seconds": 60,
    "real_time_factor": sum(Run(audio[i:i + 1]) for i in range(6)) / 60,
    "real_time_factor_batch_6": Run(audio) / 60,
    "threads": len(os.sched_getaffinity(0)),
    "tensorflow": tf.__version__,
    "imported": [m for m in ("lingvo", "fm_lingvo", "tensorflow_text", "sentencepiece") if m in sys.modules],
}))
"""

_USAGE = """Speech recogniser, exported from {run}, checkpoint {checkpoint}, adapter {adapter}.
It needs TensorFlow >= 2.13 and nothing else:

  import tensorflow as tf
  recognize = tf.saved_model.load('{folder}').signatures['serving_default']
  found = recognize(waveforms=tf.constant(waveforms), num_samples=tf.constant(num_samples))
  texts = [text.decode() for text in found['texts'].numpy()]

waveforms: float32 [B, S] in [-1, 1], mono, 16 kHz, rows padded to S samples with any values.
num_samples: int32 [B], number of audio samples in each row. Trained on up to {max_seconds:g} s; cut longer recordings.
texts: string [B], UTF-8. scores: float32 [B], log-probabilities of the texts in nats.
"""


def SizeInBytes(folder: str) -> int:
  """Returns the total size of all files in a folder, in bytes."""
  return sum(os.path.getsize(os.path.join(d, name)) for d, _, names in os.walk(folder) for name in names)


def Measure(folder: str) -> dict:
  """Loads and times a SavedModel in another process.

  Args:
    folder: Folder of the SavedModel.

  Returns:
    dict: audio_seconds, real_time_factor (one utterance at a time), real_time_factor_batch_6, threads, tensorflow (its
    version) and imported, the names of packages that were imported although the model should not need them.

  Raises:
    RuntimeError: The model cannot be loaded or run; the message is the process's last line.
  """
  # -I: do not search the working directory and PYTHONPATH.
  done = subprocess.run(
    [sys.executable, '-I', '-c', _MEASURE, os.path.abspath(folder)],
    capture_output=True,
    text=True,
    check=False,
    cwd=folder,
    env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'},
  )
  if done.returncode:
    raise RuntimeError(exit_codes.Why(done.stderr, done.returncode))
  return json.loads(done.stdout.splitlines()[-1])


def Run(run: Any, args: Any) -> None:
  """Exports, measures and reports.

  Args:
    run: What load_run.Load returns.
    args: Flags of tools.export.
  """
  from fm_lingvo.inference import saved_model

  if isinstance(args.measure, str):
    raise errors.ConfigError(f'--measure={args.measure}: a SavedModel is timed on noise only; expected no data set')
  with errors.Writing(f'--output={args.output}'):
    os.makedirs(args.output, exist_ok=True)  # Fail before a minute of work.
    saved_model.Export(run, args.output)
  checkpoint = os.path.basename(run.checkpoint)
  with (
    errors.Writing(f'--output={args.output}'),
    open(os.path.join(args.output, HOW_TO_CALL), 'w', encoding='utf-8') as f,
  ):
    f.write(
      _USAGE.format(
        run=run.model_name,
        checkpoint=checkpoint,
        adapter=run.adapter,
        folder=os.path.basename(os.path.normpath(args.output)),
        max_seconds=run.max_seconds,
      )
    )
  size = SizeInBytes(args.output) / 1e6
  print(f'{args.output}: {size:.2f} MB, {run.model_name}, {checkpoint}, adapter {run.adapter}', flush=True)
  if not args.measure:
    return
  try:
    measured = Measure(args.output)
  except RuntimeError as e:
    raise errors.RunError(f'{args.output} was written but does not run: {e}') from e
  print(
    f'real-time factor {measured["real_time_factor"]:.4f} one utterance at a time, '
    f'{measured["real_time_factor_batch_6"]:.4f} in a batch of 6: {measured["audio_seconds"]} s of audio in '
    f'utterances of 10 s, {measured["threads"]} threads, TensorFlow {measured["tensorflow"]}'
  )
  print(f'measured by: python -m tools.export {shlex.join(args.given)}')
  print(f'how to call it: {os.path.join(args.output, HOW_TO_CALL)}')
