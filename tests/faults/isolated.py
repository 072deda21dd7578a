"""Calls of a function that may crash, hang or fill memory, in a process with limits that is restarted after a crash.

python -m tests.faults.isolated MODULE FUNCTION MEMORY_GB SECONDS < arguments.jsonl > results.jsonl
"""

import importlib
import json
import resource
import signal
import subprocess
import sys

from tests.faults import processes


def Results(function, arguments, memory_gb=4, seconds=20):
  """Calls a function with each of the arguments.

  Args:
    function: Of a module; takes a str and returns one.
    arguments: List of str.
    memory_gb: Address space that the calls may take together, beside what imports take.
    seconds: Time limit of each call.

  Returns:
    List of str: what the calls returned, what they raised ('raised ...'), or how they ended the process ('ended ...').
  """
  results = []
  while len(results) < len(arguments):
    done = subprocess.run(
      [
        sys.executable,
        '-m',
        'tests.faults.isolated',
        function.__module__,
        function.__name__,
        str(memory_gb),
        str(seconds),
      ],
      input='\n'.join(json.dumps(argument) for argument in arguments[len(results) :]),
      cwd=processes.ROOT,
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      text=True,
      check=False,
    )
    results += [json.loads(line) for line in done.stdout.splitlines()]
    if len(results) < len(arguments):
      results.append(f'ended its process, exit code {done.returncode}')
  return results


def _Main(argv):
  function = getattr(importlib.import_module(argv[1]), argv[2])
  with open('/proc/self/statm', encoding='ascii') as f:
    in_use = int(f.read().split()[0]) * resource.getpagesize()
  limit = in_use + int(argv[3]) * 2**30
  resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
  for line in sys.stdin:
    signal.alarm(int(argv[4]))  # Ends the process if the call hangs.
    try:
      result = function(json.loads(line))
    except BaseException as e:
      result = f'raised {type(e).__name__}: {e}'
    print(json.dumps(result), flush=True)


if __name__ == '__main__':
  _Main(sys.argv)
