"""Collects, scores and writes the hypotheses of an evaluation.

B: utterances, K: hypotheses, L: labels of a hypothesis.
"""

import os
import re

import numpy as np
from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.decoding import existence
from fm_lingvo.decoding import words
from fm_lingvo.evaluation import alignment
from fm_lingvo.evaluation import error_rates
from fm_lingvo.run_files import metrics_log
from fm_lingvo.run_files import tensorboard
from fm_lingvo.utils import audio

_HYPOTHESES = ('labels', 'lengths', 'scores')
_FOR_WORDS = ('frames', 'label_scores')
_STRINGS = ('utt_ids', 'texts', 'domains')
_SHOWN = 20  # Utterances in TensorBoard.


class Recognition:
  """Collects the hypotheses of one branch, batch by batch.

  Attributes:
    branch: Name of the branch.
    fetches: dict of tensors, what Add needs of each batch; the hypotheses are not among them where the task leaves the
      search to joint_search.py.
  """

  def __init__(self, task, branch):
    """Constructor.

    Args:
      task: A HydraTask built for evaluation.
      branch: Name of one of task.Tokenizers().
    """
    self.branch = branch
    self._tokenizer = task.Tokenizers()[branch]
    stream = dict(task.branches)[branch].stream
    tensors = task.per_example_tensors
    self._surfaces = self._tokenizer.surfaces
    # None where joint_search.py finds them.
    found = [key for key in (*_HYPOTHESES, *_FOR_WORDS) if f'{branch}/hyp_{key}' in tensors]
    self.fetches = {f'hyp_{key}': tensors[f'{branch}/hyp_{key}'] for key in found}
    self.fetches.update({key: tensors[f'{stream}/{key}'] for key in _STRINGS + ('weights', 'num_samples')})
    self._rows = []

  def Add(self, values):
    """Adds a batch, the values of `fetches`; padding rows are left out."""
    for i, weight in enumerate(values['weights']):
      if not weight:
        continue
      texts = [
        self._tokenizer.DecodeIds(labels[:length].tolist())
        for labels, length in zip(values['hyp_labels'][i], values['hyp_lengths'][i])
      ]
      row = {
        'utt_id': values['utt_ids'][i].decode(),
        'branch': self.branch,
        'domain': values['domains'][i].decode(),
        'seconds': round(int(values['num_samples'][i]) / audio.SAMPLE_RATE, 3),
        'reference': values['texts'][i].decode(),
        'hypothesis': texts[0],
        'score': round(float(values['hyp_scores'][i][0]), 4),
      }
      if len(texts) > 1:
        row['n_best'] = [
          {'hypothesis': t, 'score': round(float(s), 4)}
          for t, s in zip(texts, values['hyp_scores'][i])
          if existence.AreFound(s)
        ]
      if 'hyp_frames' in values:
        row['hypothesis_words'] = self._Words(values, i)
      self._rows.append(row)

  def _Words(self, values, i):
    """Returns the words of the best hypothesis of utterance i, with the evidence for each, see decoding/words.py."""
    out = {key.removeprefix('hyp_'): value for key, value in values.items() if key.startswith('hyp_')}
    found = words.FoundOf(self._surfaces, out, i, np.flatnonzero(existence.AreFound(out['scores'][i])).tolist())
    return [
      {'word': span.text, 'evidence': {name: round(value, 6) for name, value in evidence.items()}}
      for span, evidence in zip(found[0].spans, words.Evidence(found[0], found))
    ]

  def MetricNames(self):
    """Names of the values of Finish."""
    return list(self._Values(error_rates.Score([''], [''])))

  def _Values(self, scores):
    left_out = ('per_utterance', 'utterances')  # The latter are counted as `examples` already.
    return {f'{self.branch}/{k}': v for k, v in scores.items() if k not in left_out}

  def Finish(self):
    """Scores all utterances added so far and clears them.

    Returns:
      (values, rows): dict `BRANCH/wer` and so on -> float, from error_rates.Score; list of dicts, one per utterance.
    """
    rows, self._rows = self._rows, []
    if not rows:
      return {}, rows
    scores = error_rates.Score([row['reference'] for row in rows], [row['hypothesis'] for row in rows])
    for i, row in enumerate(rows):
      row.update({name: int(counts[i]) for name, counts in scores['per_utterance'].items()})
    return self._Values(scores), rows


def ForTask(task):
  """Returns a Recognition for each branch of a built task that decodes and whose input emits strings."""
  tensors, streams = task.per_example_tensors, dict(task.branches)
  return [
    Recognition(task, branch)
    for branch in task.Tokenizers()
    if f'{branch}/encoded' in tensors and f'{streams[branch].stream}/texts' in tensors
  ]


def Write(logdir, dataset, step, rows):
  """Writes RUN/hypotheses/DATASET.jsonl, one line per utterance; replaces that of the evaluation before.

  Args:
    logdir: Folder of the run.
    dataset: Name of the data set.
    step: Training step of the weights.
    rows: Rows that Recognition.Finish returned, for all branches.

  Returns:
    The path.

  Raises:
    errors.RunError: The file cannot be written.
  """
  folder = os.path.join(logdir, 'hypotheses')
  path = os.path.join(folder, f'{dataset}.jsonl')
  with errors.Writing(path):
    tf.io.gfile.makedirs(folder)
  metrics_log.WriteRows(path, [{'step': step, **row} for row in rows])
  return path


def Summary(rows):
  """Returns a tf.Summary with a table of the first utterances: references, and hypotheses with their errors marked."""
  legend = f'hypothesis: {_Struck("missing")}, **inserted**, {_Struck("instead")} **of**'
  lines = [f'| utterance | reference | {legend} |', '|---|---|---|']
  for row in rows[:_SHOWN]:
    marked = MarkedErrors(row['reference'], row['hypothesis'])
    lines.append(f'| {_Escaped(row["utt_id"])} | {_Escaped(row["reference"])} | {marked} |')
  return tensorboard.Markdown('hypotheses', '\n'.join(lines))


def MarkedErrors(reference, hypothesis):
  """Returns a hypothesis as Markdown: missing words struck, inserted words **bold**, a wrong word after the right one.

  Args:
    reference: The reference's words.
    hypothesis: The hypothesis's words.
  """
  (pairs,) = alignment.Align([reference], [hypothesis])
  words = []
  for expected, found in pairs:
    if expected == found:
      words.append(_Escaped(expected))
      continue
    if expected:
      words.append(_Struck(expected))
    if found:
      words.append(f'**{_Escaped(found)}**')
  return ' '.join(words)


def _Struck(word):
  """Returns a word with a stroke through each character; TensorBoard's Markdown has no ~~ and no HTML."""
  return ''.join(_Escaped(character) + '\u0336' for character in word)


def _Escaped(text):
  """Returns text without meaning in Markdown or HTML."""
  text = re.sub(r'([\\`*_~|\[\]#])', r'\\\1', text)
  return text.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')
