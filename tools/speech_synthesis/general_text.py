"""General English text for synthetic speech: lines of one to four sentences, without repeated sentences.

There are four sources, in this order:
  - tools/texts/sentences_en.txt, written for this project;
  - phrases.py, a grammar of short phrases: numbers, letters, dates, times, requests;
  - the most frequent words of WordNet 3.0, each a line: a recogniser trained without single words inserts others;
  - the example sentences of WordNet 3.0 (WordNet's licence: free to use, copy and distribute with its notice), from
    Debian's package wordnet-base, which is fetched without root. If apt cannot fetch it, the last two are left out.
"""

import os
import re

from fm_lingvo.data.normalizers import prompts

from ..prepare import importers
from ..prepare.import_helpers import debian
from . import phrases
from . import synth

NUM_PHRASES = 1600
NUM_WORDS = 1600
NUM_WORDNET_LINES = 3300

WORDNET_PACKAGE = 'wordnet-base'
WORDNET_FOLDER = ('usr', 'share', 'wordnet')
_WORDNET_FILES = ('data.verb', 'data.adv')  # Mostly whole sentences; examples of nouns and adjectives are fragments.
_WORDNET_COUNTS = 'cntlist.rev'  # Lines of lemma%sense, number of the sense, count in a corpus.
# An example in a gloss, unless an author's name follows: quotations are old, and their licences differ.
EXAMPLE = re.compile(r'"([^"]+)"(?!\s*-)')
_PLAIN = re.compile(r"[A-Za-z][A-Za-z' ,.;!?-]*")
_WORD = re.compile(r'[a-z]{2,}')
_SHOUTED = re.compile(r'\b[A-Z]{2,}\b|\b[A-Z]\.')
_MAX_WORDS = 20
_MAX_CHARS = 150  # Characters per line, about ten seconds.
# Words that should not be read aloud.
UNWANTED = re.compile(
  r'\b(?:(?:abort|arous|bastard|bitch|breast|corpse|damn|faggot|fuck|genital|homosexual|kill|masturbat|murder|naked|'
  r'negro|nigger|nude|penis|prostitut|rape|raping|shit|slave|slut|strangl|suicid|tortur|uterus|vagina|whore)\w*'
  r'|(?:anal|anus|blacks|bloody|bomb|cock|gang|hell|jews?|jewish|muslims?|nazis?|semen|sex|sexual|black people)\b)',
  re.IGNORECASE,
)


def Lines(exclude=()):
  """Returns the lines to speak.

  Args:
    exclude: Normalised texts; lines and sentences whose normalised text is among them are left out.

  Returns:
    (lines, notes): list of str, in no meaningful order; dict with the sources of the lines, for the report.
  """
  exclude = frozenset(exclude)
  notes = {'excluded_sentences': 0}
  seen = set()

  def Fresh(sentences):
    result = []
    for sentence in sentences:
      text = prompts.Normalize(sentence, 'en')
      if text in exclude:
        notes['excluded_sentences'] += 1
      elif text and text not in seen:
        seen.add(text)
        result.append(sentence)
    return result

  own = Fresh(synth.ReadText(synth.DEFAULT_TEXT))
  short = Fresh(phrases.Phrases(NUM_PHRASES))
  try:
    root, _ = debian.FetchPackages([WORDNET_PACKAGE])
    words, examples = Fresh(_WordNetWords(root)), Fresh(_WordNetExamples(root))
  except debian.AptError as e:
    words, examples, notes['no_wordnet'] = [], [], str(e)
  joined = _Join(sorted(examples, key=lambda s: importers.Uniform(s, 'order')), exclude)[:NUM_WORDNET_LINES]
  notes['lines'] = {'own sentences': len(own), 'phrases': len(short), 'words': len(words), 'wordnet': len(joined)}
  return own + short + words + joined, notes


def _WordNetWords(root):
  """Returns the NUM_WORDS most frequent lemmas of WordNet that are a single plain word, each as a sentence."""
  counts = {}
  with open(os.path.join(root, *WORDNET_FOLDER, _WORDNET_COUNTS), encoding='utf-8') as f:
    for line in f:
      sense, _, count = line.split()
      word = sense.partition('%')[0]
      if _WORD.fullmatch(word) and not UNWANTED.search(word):
        counts[word] = counts.get(word, 0) + int(count)
  frequent = sorted(counts, key=lambda word: (-counts[word], word))[:NUM_WORDS]
  return [f'{word.capitalize()}.' for word in frequent]


def _WordNetExamples(root):
  """Yields the plain example sentences and phrases of WordNet's glosses, each as a sentence."""
  for name in _WORDNET_FILES:
    with open(os.path.join(root, *WORDNET_FOLDER, name), encoding='utf-8') as f:
      for line in f:
        _, _, gloss = line.partition(' | ')
        for example in EXAMPLE.findall(gloss):
          example = ' '.join(example.split())
          if (
            _PLAIN.fullmatch(example)
            and 2 <= len(example.split()) <= _MAX_WORDS
            and not _SHOUTED.search(example)
            and not UNWANTED.search(example)
          ):
            yield example[0].upper() + example[1:] + ('' if example[-1] in '.!?' else '.')


def _Join(sentences, exclude):
  """Joins sentences to lines of one to four; a hash of the first sentence chooses the number."""
  lines, position = [], 0
  while position < len(sentences):
    point = importers.Uniform(sentences[position], 'join')
    count = 1 if point < 0.25 else 2 if point < 0.55 else 3 if point < 0.8 else 4
    line = ' '.join(sentences[position : position + count])
    while len(line) > _MAX_CHARS and count > 1:
      count -= 1
      line = ' '.join(sentences[position : position + count])
    position += count
    if prompts.Normalize(line, 'en') not in exclude:
      lines.append(line)
  return lines
