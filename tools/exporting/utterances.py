"""Utterances of a data set with their transcripts, one at a time, to calibrate and measure exported models with."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from lingvo import compat as tf
from lingvo.core import cluster_factory

from fm_lingvo import errors
from fm_lingvo.data import hydra_input
from fm_lingvo.decoding import search_options
from fm_lingvo.inference import load_run
from fm_lingvo.runtime import session


@dataclasses.dataclass(frozen=True)
class Utterance:
  """A recording of a data set."""

  waveform: np.ndarray  # int16 [S], 16 kHz.
  reference: str


def Read(run: Any, flag: str, dataset: str, data_dir: str | None = None, most: int | None = None) -> list[Utterance]:
  """Reads the labeled utterances of one of the experiment's data sets.

  Args:
    run: What load_run.Load returns.
    flag: What names the data set, for messages.
    dataset: Its name, such as TestTarget.
    data_dir: The experiment's data_dir, or None: that of the run.
    most: Number of utterances at most; None: all.

  Raises:
    errors.ConfigError: There is no such data set, or it has no files or no transcripts.
  """
  _, params = load_run.ModelParams(run.path, dataset, data_dir)
  ((_, branch),) = run.params.branches.IterParams()
  if branch.stream not in params.input.streams:
    raise errors.ConfigError(f'{flag}={dataset}: no stream {branch.stream} in it; expected speech with transcripts')
  hydra_input.Validate(params.input)
  load_run.SetSearch(run.path, params, search_options.Search())
  missing = hydra_input.MissingRecords(params.input)
  if missing:
    raise errors.ConfigError(f'{flag}={dataset}: {missing}')
  found = []
  for utterance in _Read(params, branch.stream):
    found.append(utterance)
    if len(found) == most:
      break
  if not found:
    raise errors.ConfigError(f'{flag}={dataset}: no utterance that can be used; expected speech with transcripts')
  return found


def _Read(params, stream) -> Iterator[Utterance]:
  with tf.Graph().as_default(), cluster_factory.Cluster(params.cluster.Copy().Set(do_eval=True)):
    reader = params.input.Instantiate()
    batch = reader.GetPreprocessedInputBatch()[stream]
    wanted = {key: batch[key] for key in ('waveforms', 'num_samples', 'weights', 'texts')}
    with tf.Session(config=session.Config()) as sess:
      sess.run([tf.global_variables_initializer(), tf.local_variables_initializer(), tf.tables_initializer()])
      reader.Reset(sess)
      while True:
        try:
          values = sess.run(wanted)
        except tf.errors.OutOfRangeError:
          return
        for i in np.flatnonzero(values['weights']):
          samples = values['waveforms'][i, : values['num_samples'][i]]
          yield Utterance(np.round(samples * 32768).astype(np.int16), values['texts'][i].decode())
