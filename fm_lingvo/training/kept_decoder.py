"""What the user of a warm start must know: the decoder learnt other transcripts than those that are to come.

It can learn these, too, so the run is not refused; mostly, the data was prepared with another normaliser by mistake.
"""

import os
from collections.abc import Mapping
from typing import Any

from fm_lingvo.checkpoints import warm_start
from fm_lingvo.data import spoken_language
from fm_lingvo.data import transcripts


def Print(task: Any, p: Any) -> None:
  """Prints Lines."""
  for line in Lines(task, p):
    print(line, flush=True)


def Lines(task: Any, p: Any) -> list[str]:
  """Returns a line for each difference between the transcripts that a decoder of a warm start learnt and the new ones.

  Args:
    task: A base_task.BaseTask; its variables may be mere declarations of name and shape.
    p: Params of its training input.
  """
  tokenizers = task.Tokenizers()
  decoders = [branch for name, branch in task.branches if name in tokenizers]
  if not decoders:
    return []
  trained, languages = transcripts.OfInput(p), spoken_language.OfInput(p)
  lines: dict[str, None] = {}  # Transducer and CTC say the same.
  for covered, match in warm_start.Matches(task):
    folder = os.path.dirname(match.checkpoint.prefix)
    for run in (folder, os.path.dirname(folder)):
      known = transcripts.Recorded(run) or {}
      for branch in decoders if known else ():
        if any(f'/{branch.head}/' in v.op.name and v.trainable for v in covered.values()):
          new = trained.get(branch.stream, {}), languages.get(branch.stream)
          lines.update(dict.fromkeys(_Differences(run, known, branch.stream, *new)))
  return list(lines)


def _Differences(run, known, stream: str, names: Mapping[str, str], language: str | None):
  """Yields what differs between a run and the transcripts of a stream with normalisers `names` and a language."""
  streams = [stream] if known.get(stream) else sorted(known)  # It may have had other names of streams.
  there = {normalizer: folder for s in streams for normalizer, folder in known[s].items()}
  if names and there and not names.keys() & there.keys():
    (learnt, _), (new, folder) = min(there.items()), min(names.items())
    yield (
      f'{run}: its decoder learnt transcripts of the normaliser {learnt}; those of stream {stream} ({folder}) are of '
      f'{new}, which it must learn anew: prepare them again, with --normalizer={learnt}, or set init_decoder = False'
    )
  spoken = sorted(filter(None, {spoken_language.Recorded(run, s) for s in streams}))
  if language and spoken and language not in spoken:
    yield (
      f'{run}: its decoder learnt transcripts in the language {spoken[0]}; those of stream {stream} are in {language}: '
      'init_decoder = False makes a new decoder'
    )
