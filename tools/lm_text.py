"""General English text for a language model: WordNet's words, definitions and examples, a normalised line each.

  python -m tools.lm_text --output=general_en.txt --exclude=data/recipe/source,data/recipe/target

WordNet 3.0 comes from Debian's package wordnet-base, which is fetched without root (its licence:
tools/texts/README.md). Of the data sets of --exclude, held-out transcripts are kept out: no line of three words or
more is part of one.
Exit code 0: done; 1: cannot write; 2: bad usage, or a text that cannot be fetched; 130: Ctrl-C.
"""

import os
import re
import sys

from fm_lingvo import errors
from fm_lingvo.data import dataset
from fm_lingvo.data.normalizers import prompts
from fm_lingvo.utils import files as file_system

from .common import command_line
from .common import exit_codes
from .common import flag_types
from .prepare.import_helpers import debian
from .speech_synthesis import general_text

_FILES = ('data.adj', 'data.adv', 'data.noun', 'data.verb')
_MIN_WORDS = 3  # Shorter lines are too common to give a held-out transcript away.
_NOTE = re.compile(r'\([^)]*\)')
_SPELLABLE = re.compile(r"[a-z' ]+")


def Lines(root):
  """Yields the lemmas, parts of definitions and examples of WordNet's files below a folder, not normalised."""
  for name in _FILES:
    with open(os.path.join(root, *general_text.WORDNET_FOLDER, name), encoding='utf-8') as f:
      for line in f:
        if line.startswith(' '):  # The licence, at the head.
          continue
        synset, _, gloss = line.partition(' | ')
        fields = synset.split()
        # wndb(5WN): offset, file, type, number of words in hexadecimal, then each word and its id.
        for lemma in fields[4 : 4 + 2 * int(fields[3], 16) : 2]:
          yield lemma.partition('(')[0].replace('_', ' ')
        yield from general_text.EXAMPLE.findall(gloss)
        yield from re.sub(r'"[^"]*"', '', _NOTE.sub('', gloss)).split(';')


def HeldOut(paths):
  """The dev and test transcripts of data sets, one long text in which each stands between two bars."""
  texts = []
  for path in paths:
    dataset.ReadDataset(path, check_shards=False)
    texts += [row['text'] for split in ('dev', 'test') for row in dataset.ReadManifest(path, split)]
  return f' | {" | ".join(sorted(set(texts)))} | '


def Select(lines, held_out):
  """The lines to keep, normalised.

  Args:
    lines: Iterable of str.
    held_out: What HeldOut returned.

  Returns:
    (sorted list of distinct normalised lines, dict reason -> lines that were left out).
  """
  kept, dropped = set(), {'held out': 0, 'unwanted': 0, 'not English letters': 0}
  for line in lines:
    text = prompts.Normalize(line, 'en')
    if not text or text in kept:
      continue
    if general_text.UNWANTED.search(text):
      dropped['unwanted'] += 1
    elif not _SPELLABLE.fullmatch(text):
      dropped['not English letters'] += 1
    elif len(text.split()) >= _MIN_WORDS and f' {text} ' in held_out:
      dropped['held out'] += 1
    else:
      kept.add(text)
  return sorted(kept), dropped


def _Run(args):
  try:
    root, _ = debian.FetchPackages([general_text.WORDNET_PACKAGE])
  except debian.AptError as e:
    raise errors.ConfigError(str(e)) from e
  lines, dropped = Select(Lines(root), HeldOut(file_system.SplitPaths(args.exclude)))
  with errors.Writing(f'--output={args.output}'), file_system.Replacing(args.output) as f:
    f.writelines(line + '\n' for line in lines)
  print(
    f'{args.output}: {len(lines)} lines, {sum(len(line.split()) for line in lines)} words; left out: '
    + ', '.join(f'{count} {reason}' for reason, count in dropped.items())
  )


def Main(argv: list[str] | None = None) -> int:
  """Runs the tool; returns the exit code."""
  parser = command_line.Parser('lm_text', __doc__)
  parser.add_argument(
    '--output', type=flag_types.LocalPath, required=True, help='text file to write; one that exists is replaced'
  )
  parser.add_argument(
    '--exclude', default='', help='data sets, with commas between them, whose held-out transcripts are kept out'
  )
  args = parser.parse_args((argv or sys.argv)[1:])
  return exit_codes.Report('lm_text', lambda: _Run(args))


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
