"""What XLA writes down about the programs that it compiles; imports no TensorFlow."""

import glob
import os
import re
import tempfile

from fm_lingvo import errors


def Start():
  """Makes XLA write down the steps of xla_check; call it before XLA compiles anything.

  Returns:
    The folder that it writes to.
  """
  folder = tempfile.mkdtemp(prefix='xla_check_')
  os.environ['XLA_FLAGS'] = ' '.join(
    [
      os.environ.get('XLA_FLAGS', ''),
      f'--xla_dump_to={folder}',
      '--xla_dump_hlo_as_text',
      '--xla_dump_hlo_module_re=.*CompiledStep.*',
    ]
  )
  return folder


def Files(folder):
  """Set of the files in the folder that Start returned."""
  return set(glob.glob(os.path.join(folder, '*')))


def Read(files):
  """Reads what was written down about a program.

  Args:
    files: Its files, of Files.

  Returns:
    (instructions, bytes of temporary memory), ints.

  Raises:
    errors.ConfigError: There is nothing.
  """
  ops = temp_bytes = 0
  for name in files:
    if not name.endswith(('after_optimizations.txt', 'buffer-assignment.txt')):
      continue
    with open(name, encoding='utf-8') as f:
      text = f.read()
    if name.endswith('after_optimizations.txt'):
      ops += len(re.findall(r'(?m)^ +(?:ROOT )?%?[\w.-]+ = ', text))
    else:
      temp_bytes += sum(map(int, re.findall(r'size (\d+), preallocated-temp', text)))
  if not ops:
    raise errors.ConfigError('XLA wrote down no program: it had compiled another before xla_dump.Start')
  return ops, temp_bytes
