"""The Python API: `fm_lingvo.load` and the model that it returns.

  import fm_lingvo

  with fm_lingvo.load('runs/adapted', adapter='target') as model:
    print(model.transcribe('a.wav').text)

Its names follow PEP 8 (`load`, `model.transcribe`), as those of the programs that call it do; functions inside the
library have Lingvo's CamelCase. TensorFlow is imported by the first `load`.
"""

import collections
import copy
import dataclasses
import math
import os
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from fm_lingvo import audio
from fm_lingvo import errors
from fm_lingvo.audio import frames as audio_frames
from fm_lingvo.data import normalizers
from fm_lingvo.decoding import search_options
from fm_lingvo.inference import api_arguments
from fm_lingvo.inference import live_model
from fm_lingvo.inference import sounds
from fm_lingvo.inference import starting
from fm_lingvo.inference import transcribing
from fm_lingvo.inference import transcript
from fm_lingvo.utils import files
from fm_lingvo.utils import shipped
from fm_lingvo.utils import suggest

if TYPE_CHECKING:
  from fm_lingvo.inference import scored

MIN_WINDOW_SECONDS = 2.0
MAX_HOURS = 6.0  # A small file can hold days of silence.
_ON_ERROR = ('raise', 'return')


def load(
  run: str | os.PathLike[str] = shipped.MODEL,
  *,
  adapter: str | os.PathLike[str] | None = None,
  checkpoint: str | None = None,
  averages: bool = True,
  search: search_options.Search | None = None,
  n_best: int = 1,
  max_window: float | None = None,
  language: str | None = None,
) -> 'Model':
  """Loads a trained run as a recogniser.

  Leaves TensorFlow's eager mode, its default graph and the log's level as they are, and prints nothing. Gin's bindings
  are cleared.

  Args:
    run: Folder of a run with a transducer or CTC head, or one that fm-export --format=safetensors wrote; without it
      the English model that the project ships.
    adapter: Name of the adapters to apply, a folder with adapters that fm-export wrote, or 'none'; None: the run's
      active set.
    checkpoint: 'best' (by task.train.best_metric), 'newest', a checkpoint of the run such as 'ckpt-00000500', or the
      prefix of another one; None: 'best' if the run keeps best checkpoints, else 'newest'.
    averages: Whether to use the moving averages of the weights, if the run has them.
    search: Beam and language model, such as fm_lingvo.Search(beam_size=8); None: the run's.
    n_best: Number of hypotheses to return, from 1 to the beam size.
    max_window: Longest window in seconds, >= 2; None: the longest utterance that the run was trained on.
    language: Code of the language that the results name, such as 'en'; None: that of the run's training data, if it is
      known. It changes no text.

  Returns:
    A Model.

  Raises:
    errors.ConfigError: The run, or an option for it, cannot be used; the message is one line.
  """
  api_arguments.CheckLoad(run, adapter, checkpoint, averages, search, n_best, max_window)
  if max_window is not None and not MIN_WINDOW_SECONDS <= max_window < math.inf:
    raise errors.ConfigError(f'max_window = {max_window:g}: expected >= {MIN_WINDOW_SECONDS:g} and finite')
  if language is not None:
    normalizers.CheckLanguage(language, 'language')  # Before seconds of imports.
  found, model = starting.Recognizer(
    shipped.Folder(files.ExpandUser(os.fspath(run))),
    n_best,
    checkpoint=checkpoint if checkpoint is None else files.ExpandUser(checkpoint),
    adapter=adapter if adapter is None else _NameOrFolder(files.ExpandUser(os.fspath(adapter))),
    averages=averages,
    how=search or search_options.Search(),
    language=language,
  )
  return Model(found, model, max_window or found.max_seconds)


def _NameOrFolder(adapter: str) -> str:
  """Returns where the project ships a folder with adapters, if it does; else what was given, such as a name."""
  starting.ImportTensorFlow()
  from fm_lingvo.checkpoints import weights_file

  folder = shipped.Folder(adapter)
  return adapter if weights_file.AdapterIn(folder) is None else folder


class Model(live_model.LiveModel):
  """A trained run that transcribes recordings; threads may share it, and a process may hold several."""

  def __init__(self, run: Any, recognizer: Any, max_window: float) -> None:
    """Use fm_lingvo.load.

    Args:
      run: A run.Run.
      recognizer: Its recognizer.Recognizer.
      max_window: Longest window in seconds.
    """
    self._run = run
    self._recognizer = recognizer
    self._max_window = max_window

  @property
  def run(self) -> str:
    """The run's folder."""
    return self._run.path

  @property
  def checkpoint(self) -> str:
    """Prefix of the checkpoint's files."""
    return self._run.checkpoint

  @property
  def adapter(self) -> str:
    """Name of the adapters that are applied, or 'none'."""
    return self._run.adapter

  @property
  def language(self) -> str | None:
    """Code of what the model transcribes, such as 'en'; None: not known."""
    return self._run.language

  @property
  def max_window(self) -> float:
    """Longest window in seconds; longer recordings are recognised in windows that overlap."""
    return self._max_window

  def transcribe(
    self,
    recordings: Any,
    sampling_rate: int | None = None,
    *,
    max_hours: float = MAX_HOURS,
    on_error: str = 'raise',
    read_ahead: int = transcribing.WAITING_FILES,
  ) -> Any:
    """Transcribes a recording, a list of them, or those that an iterator gives.

    A recording is
      - a path, the bytes of a file, or a file open in binary mode: any format that FFmpeg reads, as fm-transcribe;
      - an array, with its sampling rate: int16, or float in -1 to 1; [n], or [n, channels], which are mixed;
      - a tuple (samples, sampling_rate) of the two.

    Args:
      recordings: A recording; a list or tuple of recordings; or any other iterable of them.
      sampling_rate: Hz, of arrays without one.
      max_hours: Longest accepted recording.
      on_error: What becomes of a recording that cannot be read: 'raise', or 'return' an errors.AudioError in its place.
      read_ahead: Recordings that are read before they are recognised, at most, sorted by length for batches with little
        padding. 1 gives each result before the next recording is asked for.

    Returns:
      A Transcript; for a list or tuple, the list of them; for another iterable, an iterator that reads and recognises
      as it is asked. The order is that of the recordings.

    Raises:
      errors.AudioError: A recording cannot be read, with on_error = 'raise'; in a list of many, the first such one.
      errors.ConfigError: Something is no recording, an option is out of range, or the model is closed.
    """
    api_arguments.CheckTranscribe(max_hours, read_ahead)
    suggest.CheckChoice('on_error', on_error, _ON_ERROR)
    if sounds.IsRecording(recordings):
      (one,) = self._Transcribe([recordings], sampling_rate, max_hours, on_error, read_ahead)
      return one
    if isinstance(recordings, Mapping) or not isinstance(recordings, Iterable):
      raise errors.ConfigError(f'{sounds.Shown(recordings)}: {sounds.EXPECTED}')
    found = self._Transcribe(recordings, sampling_rate, max_hours, on_error, read_ahead)
    return list(found) if isinstance(recordings, list | tuple) else found

  def _Transcribe(
    self, recordings: Iterable[Any], rate: int | None, max_hours: float, on_error: str, read_ahead: int
  ) -> Iterator[transcript.Transcript | errors.AudioError]:
    """Yields the results of transcribe."""
    seconds = 3600 * max_hours if max_hours < math.inf else None
    waiting: collections.deque[tuple[str, audio_frames.Losses]] = collections.deque()

    def _Sounds() -> Iterator[tuple[str, Iterator[np.ndarray]]]:
      for number, recording in enumerate(recordings, 1):
        losses = audio_frames.Losses()
        name, blocks = sounds.Sound(recording, rate, seconds, losses)
        waiting.append((name or f'recording {number}', losses))
        yield name, blocks

    for results in transcribing.Transcribe(self._recognizer, _Sounds(), self._max_window, read_ahead):
      for result in results:
        label, losses = waiting.popleft()
        if isinstance(result, audio.Rejected):
          error = errors.AudioError(label, result.reason, result.detail)
          if on_error == 'raise':
            raise error from result
          yield error
        else:
          yield dataclasses.replace(result, damage=str(losses) if losses else '', language=self.language)

  def score(
    self,
    refs: Any,
    sampling_rate: int | None = None,
    *,
    normalizer: str | None = None,
    language: str | None = None,
    costs: str = 'levenshtein',
    resample: str = 'speakers',
    max_hours: float = MAX_HOURS,
  ) -> 'scored.Score':
    """Transcribes recordings and scores them against their transcripts, as fm-score does.

    Args:
      refs: Path of a manifest, a JSON object a line with audio_filepath, text and, if known, offset, duration, end,
        channel, speaker, lang and utt_id, as tools.prepare_data reads it; or pairs (recording, text), or triples
        (recording, text, speaker), with recordings as of `transcribe`.
      sampling_rate: See transcribe.
      normalizer: One of fm_lingvo.data.normalizers.NAMES, for both sides; None: that of the run's training transcripts,
        or `none` if it is not known.
      language: Of texts without one, for the normaliser.
      costs: See fm_lingvo.evaluation.scoring.Score.
      resample: See fm_lingvo.evaluation.scoring.Score.
      max_hours: See transcribe.

    Returns:
      A Score: wer, cer, their intervals, speakers, worst(n), transcripts.

    Raises:
      errors.AudioError: A recording cannot be read.
      errors.ConfigError: The references are malformed, or an option is not known.
    """
    from fm_lingvo.inference import scored

    references = scored.References(refs)
    name = scored.Normalizer(self.run, normalizer)
    normalizers.Get(name)  # Before minutes of work.
    results = list(self.transcribe(scored.Recordings(references), sampling_rate, max_hours=max_hours))
    return scored.Scored(references, results, name, language, costs, resample)

  @property
  def recognizer(self) -> Any:
    """What recognises batches of windows: an object with recognizer.Recognizer's methods."""
    return self._recognizer

  def with_recognizer(self, recognizer: Any) -> 'Model':
    """Returns a model that differs in who recognises its windows, such as one caller of a shared_batches.SharedBatches.

    Args:
      recognizer: An object with the method Recognize of recognizer.Recognizer.
    """
    if not callable(getattr(recognizer, 'Recognize', None)):
      raise errors.ConfigError(f'recognizer of type {type(recognizer).__name__}: expected an object with Recognize')
    other = copy.copy(self)
    other._recognizer = recognizer
    return other

  def close(self) -> None:
    """Frees the memory of the model; a batch that another thread recognises is finished first."""
    self._recognizer.Close()

  def __enter__(self) -> 'Model':
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    self.close()

  def __repr__(self) -> str:
    return f'<fm_lingvo.Model {self.run!r}, {os.path.basename(self.checkpoint)}, adapter {self.adapter!r}>'
