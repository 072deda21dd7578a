"""Converts transcripts to labels and back with a SentencePiece model, in-graph and on the host.

B: utterances, U: labels of the longest utterance, V: vocabulary size.
Label 0 is the blank of transducers and CTC. It does not occur in transcripts and is also used for padding.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.utils import labels as labels_lib
from fm_lingvo.utils import shipped

_HOW_TO = 'train one with: fm-train-tokenizer --input=DATA_SET --output=FILE.model'


class Tokenizer:
  """One SentencePiece model.

  The in-graph methods are for tf.data pipelines and for batches on the host: their
  operations have CPU kernels only.
  """

  def __init__(self, model_file: str) -> None:
    """Reads and checks a model.

    Args:
      model_file: Path of the model; a relative path is searched in the working directory,
        then in the checkout.

    Raises:
      errors.ConfigError: The file does not exist, is not a SentencePiece model, or its
        label 0 is a text piece.
    """
    self._name, self._path = model_file, FindModel(model_file)
    with tf.io.gfile.GFile(self._path, 'rb') as f:
      self._model = f.read()
    self._processor = _Processor(self._model, model_file)

  @property
  def path(self) -> str:
    """The path at which the model was found."""
    return self._path

  @property
  def model(self) -> bytes:
    """The model file's bytes."""
    return self._model

  @property
  def vocab_size(self) -> int:
    """Vocabulary size V, including blank."""
    return len(self._processor)

  @property
  def unk_id(self) -> int:
    """The label of characters that are not in the vocabulary."""
    return self._processor.unk_id()

  @property
  def pieces(self) -> list[str]:
    """The V pieces in the order of their labels; a leading U+2581 is a space."""
    return [self._processor.id_to_piece(i) for i in range(self.vocab_size)]

  @property
  def surfaces(self) -> list[bytes]:
    """The text that each of the V labels spells in UTF-8, b'' for control pieces."""
    return [self._Surface(label) for label in range(self.vocab_size)]

  def _Surface(self, label: int) -> bytes:
    piece = self._processor.id_to_piece(label)
    if self._processor.is_unknown(label):
      return self._processor.decode([label]).encode()  # The model's own symbol for unknown characters.
    if self._processor.is_control(label):
      return b''
    if self._processor.is_byte(label):  # <0x41>
      return bytes([int(piece[3:-1], 16)])
    return piece.replace('\u2581', ' ').encode()

  @property
  def has_byte_pieces(self) -> bool:
    """Whether characters without a piece are encoded as UTF-8 bytes, one label per byte."""
    return any(self._processor.is_byte(i) for i in range(self.vocab_size))

  @property
  def spells_letters(self) -> bool:
    """Whether every label spells one character at most."""
    return all(len(text.decode(errors='replace')) <= 1 for text in self.surfaces[1:] if text)

  @property
  def sha256(self) -> str:
    """SHA-256 of the model file in hexadecimal."""
    return hashlib.sha256(self._model).hexdigest()

  @property
  def record(self) -> list[float]:
    """The digest as 16 floats, each an integer < 2**16; see fm_lingvo/checkpoints/provenance.py."""
    return [float(int(self.sha256[i : i + 4], 16)) for i in range(0, 64, 4)]

  def Encode(self, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Converts texts to labels, in-graph.

    Args:
      texts: string [B], normalised like the model's training texts.

    Returns:
      (labels int32 [B, U], lengths int32 [B]): U >= 1; labels are 0 beyond the length. An
      empty text has length 0.
    """
    ragged = self._Processor().tokenize(texts)  # [B, (U)]
    lengths = tf.cast(ragged.row_lengths(), tf.int32)
    labels = ragged.to_tensor(labels_lib.BLANK_ID)
    # U = 0 would be a special case in every loss.
    empty = tf.cast(tf.equal(tf.shape(labels)[1], 0), tf.int32)
    labels = tf.pad(labels, [[0, 0], [0, empty]])
    labels.set_shape([texts.shape[0], None])
    lengths.set_shape([texts.shape[0]])
    return labels, lengths

  def CountUnknown(self, labels: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """Returns the number of unknown labels, int32 [B].

    Args:
      labels: int32 [B, U].
      lengths: int32 [B].
    """
    valid = tf.sequence_mask(lengths, tf.shape(labels)[1])  # [B, U]
    unknown = tf.logical_and(valid, tf.equal(labels, self.unk_id))
    return tf.reduce_sum(tf.cast(unknown, tf.int32), axis=1)

  def EncodeText(self, text: str) -> list[int]:
    """Returns the labels of a text."""
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
    """Returns the text of labels, without leading and trailing spaces."""
    return self._processor.decode([int(i) for i in ids]).strip()

  def _Processor(self) -> Any:
    """Returns the model as operations of the current graph, outside of loops and functions."""
    # Imported here because the import takes a quarter of a second.
    import tensorflow_text

    with tf.init_scope(), tf.device('/cpu:0'):
      return tensorflow_text.SentencepieceTokenizer(self._model, out_type=tf.int32)


def FindModel(model_file: str) -> str:
  """Returns the path of a model file, searched in the working directory, then in the checkout.

  Args:
    model_file: Local or remote path.

  Raises:
    errors.ConfigError: The path is empty, or the file does not exist.
  """
  if not model_file:
    raise errors.ConfigError(
      f'tokenizer_file is empty: expected a SentencePiece model such as params/tokenizers/graphemes_en.model; {_HOW_TO}'
    )
  return shipped.Find(model_file, 'tokenizer', _HOW_TO)


def _Processor(model: bytes, model_file: str) -> Any:
  """Returns the sentencepiece.SentencePieceProcessor of a model's bytes; raises errors.ConfigError if invalid."""
  import sentencepiece

  # SentencePieceProcessor treats empty bytes as a missing argument.
  processor = None
  if model:
    try:
      processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    except RuntimeError:
      pass
  if processor is None or not len(processor):
    raise errors.ConfigError(f'{model_file}: not a SentencePiece model ({len(model)} bytes); {_HOW_TO}')
  if not processor.is_control(labels_lib.BLANK_ID):
    raise errors.ConfigError(
      f'{model_file}: label 0 is the piece {processor.id_to_piece(0)!r}, expected '
      f'blank, a control piece (pad_id=0); {_HOW_TO}'
    )
  return processor
