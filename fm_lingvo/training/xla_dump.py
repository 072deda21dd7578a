"""Makes XLA dump the programs that it compiles, and reads these dumps; imports no TensorFlow."""

import glob
import os
import re
import tempfile

from fm_lingvo import errors


def Start():
  """Makes XLA dump the steps of xla_check; call it before XLA compiles anything.

  Returns:
    The folder of the dumps.
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
  """Returns the set of files in the folder that Start returned."""
  return set(glob.glob(os.path.join(folder, '*')))


def Read(files):
  """Reads the dump of a program.

  Args:
    files: The program's files, from Files.

  Returns:
    (number of instructions, bytes of temporary memory), ints.

  Raises:
    errors.ConfigError: The files hold no program.
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
    raise errors.ConfigError('XLA dumped no program: it had compiled another before xla_dump.Start')
  return ops, temp_bytes
