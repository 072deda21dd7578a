"""Variables that have another name in checkpoints of older versions.

Until CTC beside a transducer became a branch of its own, its projection was a part of the transducer's head:
`task/transducer/ctc/w/var` is `task/ctc/proj/w/var` now, and so are its bias and the optimizer's slots. The record of
the tokenizer, which the `ctc` head did not have, is the transducer's.
"""

import re
from collections.abc import Iterable

_CTC_OF_TRANSDUCER = re.compile(r'(\w+)/(\w+)/ctc/([wb])/var(.*)')


def Names(names: Iterable[str]) -> dict[str, str]:
  """Today's names of the variables of a checkpoint.

  Args:
    names: The names in the checkpoint.

  Returns:
    dict: today's name -> name in the checkpoint, the same unless the checkpoint is of an older version.
  """
  names, today = set(names), {}
  for name in names:
    match = _CTC_OF_TRANSDUCER.fullmatch(name)
    record = match and f'{match[1]}/{match[2]}/tokenizer_record/var'
    if not match or record not in names:
      today[name] = name
      continue
    today[f'{match[1]}/ctc/proj/{match[3]}/var{match[4]}'] = name
    today[f'{match[1]}/ctc/tokenizer_record/var'] = record
  return today
