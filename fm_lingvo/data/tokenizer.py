"""Transcripts <-> labels by a SentencePiece model, in-graph and on the host.

B: utterances, U: labels of the longest, V: vocabulary.
Label 0 is the blank of transducers and CTC, which no text has, and pads.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.utils import shipped

BLANK_ID = 0

_HOW_TO = 'train one with: fm-train-tokenizer --input=DATA_SET --output=FILE.model'


class Tokenizer:
  """One SentencePiece model.

  In-graph methods take texts as they are in a tf.data pipeline or in a batch on the
  host; their operations have kernels for the CPU only.
  """

  def __init__(self, model_file: str) -> None:
    """Reads and checks a model.

    Args:
      model_file: Its path; a relative one is looked up from the working directory,
        then from the checkout.

    Raises:
      errors.ConfigError: No such file, not a SentencePiece model, or label 0 is a
        piece of text.
    """
    self._name, self._path = model_file, FindModel(model_file)
    with tf.io.gfile.GFile(self._path, 'rb') as f:
      self._model = f.read()
    self._processor = _Processor(self._model, model_file)

  @property
  def path(self) -> str:
    """Where the model was found."""
    return self._path

  @property
  def model(self) -> bytes:
    """The model file's bytes."""
    return self._model

  @property
  def vocab_size(self) -> int:
    """Labels V, blank included."""
    return len(self._processor)

  @property
  def unk_id(self) -> int:
    """The label of whatever the model cannot spell."""
    return self._processor.unk_id()

  @property
  def pieces(self) -> list[str]:
    """The V pieces in the order of their labels; a leading U+2581 is a space."""
    return [self._processor.id_to_piece(i) for i in range(self.vocab_size)]

  @property
  def has_byte_pieces(self) -> bool:
    """Whether a character that no piece has is spelled in UTF-8, a label a byte."""
    return any(self._processor.is_byte(i) for i in range(self.vocab_size))

  @property
  def sha256(self) -> str:
    """Hexadecimal digest of the model file."""
    return hashlib.sha256(self._model).hexdigest()

  @property
  def record(self) -> list[float]:
    """The digest as 16 floats, each a whole number < 2**16, see fm_lingvo/checkpoints/provenance.py."""
    return [float(int(self.sha256[i : i + 4], 16)) for i in range(0, 64, 4)]

  def Encode(self, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Labels of texts, in-graph.

    Args:
      texts: string [B], normalised as the model's training texts.

    Returns:
      labels int32 [B, U], U >= 1, 0 past their lengths int32 [B]; an empty text has
      none.
    """
    ragged = self._Processor().tokenize(texts)  # [B, (U)]
    lengths = tf.cast(ragged.row_lengths(), tf.int32)
    labels = ragged.to_tensor(BLANK_ID)
    # A dimension of 0 would be a special case of every loss.
    empty = tf.cast(tf.equal(tf.shape(labels)[1], 0), tf.int32)
    labels = tf.pad(labels, [[0, 0], [0, empty]])
    labels.set_shape([texts.shape[0], None])
    lengths.set_shape([texts.shape[0]])
    return labels, lengths

  def CountUnknown(self, labels: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """How many labels the model could not spell: int32 [B].

    Args:
      labels: int32 [B, U].
      lengths: int32 [B].
    """
    valid = tf.sequence_mask(lengths, tf.shape(labels)[1])  # [B, U]
    unknown = tf.logical_and(valid, tf.equal(labels, self.unk_id))
    return tf.reduce_sum(tf.cast(unknown, tf.int32), axis=1)

  def EncodeText(self, text: str) -> list[int]:
    """Labels of a text: list of ints."""
    return self._processor.encode(text)

  def EncodeTexts(self, texts: list[str]) -> list[list[int]]:
    """Labels of a list of texts: a list of lists of ints."""
    return self._processor.encode(texts)

  def CheckRecord(self, value: Iterable[float], source: str) -> None:
    """Raises ConfigError if a checkpoint was made with another model.

    Args:
      value: float array [16], a checkpoint's `record`.
      source: Where it was read, for the message.
    """
    if [float(x) for x in value] != self.record:
      raise errors.ConfigError(
        f'{source}: made with another tokenizer than '
        f'{self._name} (sha256 {self.sha256[:12]}...); '
        "use the model file that lies in the run's folder"
      )

  def DecodeIds(self, ids: Iterable[int]) -> str:
    """Text of a list of labels, without spaces at its ends."""
    return self._processor.decode([int(i) for i in ids]).strip()

  def _Processor(self) -> Any:
    """The model as operations of the current graph, outside any loop or function."""
    # It takes a quarter of a second to import.
    import tensorflow_text

    with tf.init_scope(), tf.device('/cpu:0'):
      return tensorflow_text.SentencepieceTokenizer(self._model, out_type=tf.int32)


def FindModel(model_file: str) -> str:
  """Path of a model file: from the working directory, else from the checkout.

  Args:
    model_file: A path, local or remote.

  Raises:
    errors.ConfigError: There is none.
  """
  if not model_file:
    raise errors.ConfigError(
      f'tokenizer_file is empty: expected a SentencePiece model such as params/tokenizers/graphemes_en.model; {_HOW_TO}'
    )
  return shipped.Find(model_file, 'tokenizer', _HOW_TO)


def _Processor(model: bytes, model_file: str) -> Any:
  """The sentencepiece.SentencePieceProcessor of a model's bytes, checked."""
  import sentencepiece

  # It takes no bytes at all for no argument.
  processor = None
  if model:
    try:
      processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    except RuntimeError:
      pass
  if processor is None or not len(processor):
    raise errors.ConfigError(f'{model_file}: not a SentencePiece model ({len(model)} bytes); {_HOW_TO}')
  if not processor.is_control(BLANK_ID):
    raise errors.ConfigError(
      f'{model_file}: label 0 is the piece {processor.id_to_piece(0)!r}, expected '
      f'the blank, a control piece (pad_id=0); {_HOW_TO}'
    )
  return processor
