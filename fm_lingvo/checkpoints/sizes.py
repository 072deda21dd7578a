"""What a run's config.gin says of the sizes of its model, for a message on a checkpoint that does not fit."""

import os
import re

_SIZE = re.compile(r'(?m)^(?:\w+\.(?:size|frame_ms|adapter_dim)|task\.(?:frontend|encoder|heads)\.\S+) = .*$')


def There(prefix: str) -> str:
  """Returns ` (there: size = 'small', frame_ms = 40)` for a checkpoint's path prefix; '' without a config.gin."""
  folder = os.path.dirname(prefix)
  for path in (folder, os.path.dirname(folder)):  # Exported weights are next to it, a run's checkpoints in train/.
    try:
      with open(os.path.join(path, 'config.gin'), encoding='utf-8') as f:
        found = _SIZE.findall(f.read())
    except (OSError, UnicodeDecodeError):
      continue
    lines = [line if line.startswith('task.') else line.partition('.')[2] for line in found]
    return f' (there: {", ".join(lines)})' if lines else ''
  return ''
