"""Trains a SentencePiece model on texts; its label 0 is the blank of transducers and CTC.

  python -m tools.train_tokenizer --alphabet="abcdefghijklmnopqrstuvwxyz'" --output=params/tokenizers/graphemes_en.model
  python -m tools.train_tokenizer --input=data/recipe/source --kind=char --output=graphemes.model
  python -m tools.train_tokenizer --input=data/a,data/b,texts.txt --kind=bpe --vocab_size=500 --output=bpe500.model

An input is a data set, whose training transcripts are used, or a UTF-8 text file with an utterance per line. Texts are
not normalised here; those of data sets are already, see fm_lingvo/data/normalizers/. Labels: 0 blank, 1 unknown, then
the pieces; with --alphabet the space, then the characters in order. The same texts and flags give the same file.
Exit code 0: done; 1: the file cannot be written; 2: wrong usage; 130: Ctrl-C.
"""

import collections
import io
import os
import sys

from fm_lingvo import errors
from fm_lingvo.data import dataset
from fm_lingvo.runtime import quiet
from fm_lingvo.utils import files as file_system
from fm_lingvo.utils import text_lines

from .common import command_line
from .common import exit_codes
from .common import files

KINDS = ('char', 'unigram', 'bpe')
_SPACE = '\u2581'
_SKIPPED = '\u2585'  # SentencePiece leaves out all of a text that has it.


def ReadTexts(inputs):
  """Reads the texts of data sets and text files.

  Args:
    inputs: Paths.

  Returns:
    A list of non-empty strings with single spaces between words.

  Raises:
    exit_codes.UsageError: An input does not exist or has no text.
    dataset.DatasetError: A data set is incomplete.
  """
  texts = []
  for path in inputs:
    if file_system.IsFolder(path):
      dataset.ReadDataset(path, check_shards=False)
      lines = [row['text'] for row in dataset.ReadManifest(path, 'train')]
      what = 'transcript in its training set'
    elif file_system.Exists(path):
      lines = [line for _, line in text_lines.Lines(path)]
      what = 'text in it'
    else:
      raise exit_codes.UsageError(f'--input={path}: no such data set or text file{file_system.HintBeside(path)}')
    lines = [' '.join(line.split()) for line in lines]
    lines = [line for line in lines if line]
    if not lines:
      raise exit_codes.UsageError(f'--input={path}: no {what}')
    texts += lines
  return texts


def AlphabetTexts(alphabet):
  """Returns texts from which a char model learns the space and these characters, in this order.

  SentencePiece orders characters by frequency, so earlier characters occur more often in the texts.

  Args:
    alphabet: At least three distinct characters; spaces are ignored.

  Returns:
    A list of strings.

  Raises:
    exit_codes.UsageError: The alphabet has too few or repeated characters.
  """
  characters = [c for c in alphabet if not c.isspace()]
  if len(characters) < 3 or len(set(characters)) != len(characters):
    raise exit_codes.UsageError(f'--alphabet={alphabet}: expected distinct characters, at least three')
  texts = []
  for i, c in enumerate(characters):
    texts += [f'{c} {c}'] * (len(characters) - i)
  # Adds one of each character per line, and more spaces than the most frequent character has.
  return texts + [' '.join(characters)] * (2 * len(characters))


def Train(texts, kind, vocab_size=None):
  """Trains a model.

  Args:
    texts: List of strings.
    kind: One of KINDS.
    vocab_size: Number of labels; ignored for kind char, which has a label for each character.

  Returns:
    The bytes of the model file.

  Raises:
    exit_codes.UsageError: The vocabulary is too small, or too large for these texts.
  """
  import sentencepiece  # Not needed for --help.

  texts = [text.replace(_SKIPPED, ' ') for text in texts]
  characters = {_SPACE if c == ' ' else c for text in texts for c in text}
  if kind == 'char':
    vocab_size = len(characters) + 2
  elif vocab_size is None or vocab_size < len(characters) + 3:
    given = ' is missing' if vocab_size is None else f'={vocab_size}'
    raise exit_codes.UsageError(
      f'--vocab_size{given}: expected more than {len(characters) + 2}, a label for each '
      'character of the texts, blank and unknown'
    )
  model = io.BytesIO()
  try:
    sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(texts),
      model_writer=model,
      model_type=kind,
      vocab_size=vocab_size,
      pad_id=0,
      pad_piece='<blank>',
      unk_id=1,
      bos_id=-1,
      eos_id=-1,
      unk_surface='\u2047',
      normalization_rule_name='identity',
      character_coverage=1.0,
      add_dummy_prefix=kind != 'char',
      max_sentence_length=1 << 20,
      num_threads=1,
      minloglevel=3,
    )
  except (RuntimeError, OSError) as e:
    reason = str(e).strip().splitlines()[-1].rpartition('] ')[2]  # Before it are places in its source.
    raise exit_codes.UsageError(
      f'--vocab_size={vocab_size}: SentencePiece cannot train a {kind} model of these {len(texts)} texts ({reason})'
    ) from e
  return model.getvalue()


def Coverage(tokens, texts):
  """Measures how well a model covers texts.

  Args:
    tokens: A fm_lingvo.data.tokenizer.Tokenizer.
    texts: List of strings.

  Returns:
    (share of characters that the model covers, mean number of labels per text, Counter of characters not covered).
  """
  counts = collections.Counter(c for text in texts for c in text)
  pieces = {piece.replace(_SPACE, ' ') for piece in tokens.pieces}
  missing = collections.Counter({c: n for c, n in counts.items() if c not in pieces})
  labels = sum(len(tokens.EncodeText(text)) for text in texts)
  return 1 - sum(missing.values()) / max(1, sum(counts.values())), labels / max(1, len(texts)), missing


def _Parser():
  parser = command_line.Parser('train_tokenizer', __doc__)
  parser.add_argument('--input', default='', help='data sets and text files, comma-separated')
  parser.add_argument(
    '--alphabet',
    default='',
    help='characters of a --kind=char model, instead of those of --input; the space is added',
  )
  parser.add_argument(
    '--kind',
    default='char',
    help=f'kind of pieces, one of {", ".join(KINDS)}: single characters, or several, chosen by a unigram language '
    'model or by byte-pair encoding (default: char)',
  )
  parser.add_argument(
    '--vocab_size', type=int, help='number of labels of a unigram or bpe model, including blank and unknown'
  )
  parser.add_argument(
    '--output', type=file_system.ExpandUser, default='', help='model file to write; an existing file is replaced'
  )
  return parser


def _Run(args):
  """Trains, writes and describes the model that the arguments specify."""
  if args.kind not in KINDS:
    raise exit_codes.UsageError(f'--kind={args.kind}: expected one of {", ".join(KINDS)}')
  if not args.output:
    raise exit_codes.UsageError('--output is missing: the model file to write')
  if not args.input and not args.alphabet:
    raise exit_codes.UsageError('--input is missing: data sets or text files; or give an --alphabet')
  if args.kind != 'char' and args.alphabet:
    raise exit_codes.UsageError(f'--alphabet with --kind={args.kind}: expected --kind=char')
  if args.kind == 'char' and args.vocab_size:
    raise exit_codes.UsageError(
      f'--vocab_size={args.vocab_size} with --kind=char: expected none, each character is a label'
    )
  if file_system.IsFolder(args.output):
    raise exit_codes.UsageError(f'--output={args.output}: a directory, expected the model file to write')
  files.MakeFolder(os.path.dirname(args.output), f'--output={args.output}')  # Fail before the work.
  texts = ReadTexts(file_system.SplitPaths(args.input))
  model = Train(AlphabetTexts(args.alphabet) if args.alphabet else texts, args.kind, args.vocab_size)
  with errors.Writing(f'--output={args.output}'), file_system.Replacing(args.output, 'wb') as f:
    f.write(model)
  with quiet.Imports():  # TensorFlow, which --help does not need.
    from fm_lingvo.data import tokenizer
  tokens = tokenizer.Tokenizer(file_system.Absolute(args.output))
  print(f'{args.output}: {args.kind}, {tokens.vocab_size} labels with blank and unknown, sha256 {tokens.sha256}')
  if texts:
    share, labels, missing = Coverage(tokens, texts)
    shown = ' '.join(f'{c!r} ({n})' for c, n in missing.most_common(10))
    print(
      f'{len(texts)} texts: {100 * share:.3f} % of the characters covered, {labels:.1f} labels per text'
      + (f'; not covered: {shown}' if missing else '')
    )


def Main(argv: list[str] | None = None) -> int:
  """Runs the tool; returns the exit code."""
  args = _Parser().parse_args((argv or sys.argv)[1:])
  os.environ.setdefault('CUDA_VISIBLE_DEVICES', '-1')
  return exit_codes.Report('train_tokenizer', lambda: _Run(args))


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
