"""Variables that have another name in checkpoints of older versions.

The CTC projection used to be a part of the transducer head; it now belongs to a `ctc` head of its own:
`task/transducer/ctc/w/var` became `task/ctc/proj/w/var`, and so did its bias and the optimizer slots. The tokenizer
record of the new head is read from the transducer's.
"""

import re
from collections.abc import Iterable

_CTC_OF_TRANSDUCER = re.compile(r'(\w+)/(\w+)/ctc/([wb])/var(.*)')


def Names(names: Iterable[str]) -> dict[str, str]:
  """Maps today's names of variables to the names in a checkpoint.

  Args:
    names: The names in the checkpoint.

  Returns:
    dict: today's name -> name in the checkpoint; they differ only if an older version wrote the checkpoint.
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
