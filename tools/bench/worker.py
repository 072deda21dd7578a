"""A worker process of the benchmark: sets up once, then times a turn for each line on its standard input.

  python -m tools.bench.worker .ours.step '{"batch": 8, ...}'

The module's function SetUp(sizes) takes the JSON object and returns (call, facts). `call` is what is timed: a function
without arguments that returns when all its work is done; numbers in a dict that it returns go into the turn's figures.
`facts` is a dict that tells the benchmark what was computed; a function in the place of a fact is called before the
turns. Of the sizes, `calls` is how often a turn repeats the call (default: as often as a second call before the turns
suggests), and `warm_up` 0 means no call before the turns. Answers are JSON, one a line:

  {}                                                     once it is set up
  {"facts": {...}}                                       after the first line, and a call that is not measured
  {"seconds": ..., "cpu_seconds": ..., "peak_gb": ...}   after each further line: figures of a turn, for one call

Peers run this file in an environment of their own: it imports the standard library alone.
"""

import importlib
import json
import math
import os
import resource
import sys
import time

_TURN_SECONDS = 0.25  # A turn repeats shorter calls, so that the resolution of the clocks does not matter.


def Serve(module, sizes):
  """Runs the process; see the top of this file."""
  out = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)  # What libraries print is no answer.

  def _Answer(**message):
    out.write(json.dumps(message) + '\n')
    out.flush()

  call, facts = importlib.import_module(module, __package__).SetUp(sizes)
  idle = Memory('VmRSS')
  _Answer()
  if not sys.stdin.readline():  # The benchmark has ended.
    return
  if sizes.get('warm_up', 1):
    call()
  ForgetPeak()
  calls = sizes.get('calls') or max(1, math.floor(_TURN_SECONDS / max(Timed(call, 1)['seconds'], 1e-9)))
  _Answer(facts={name: fact() if callable(fact) else fact for name, fact in facts.items()})
  for _ in sys.stdin:
    ForgetPeak()
    timed = Timed(call, calls)
    _Answer(**{'peak_gb': max(0.0, Memory('VmHWM') - idle), **timed})


def Memory(field, pid='self'):
  """GB of memory that a process has (VmRSS), or had at most (VmHWM); 0 if it has ended."""
  try:
    with open(f'/proc/{pid}/status', encoding='utf-8') as f:
      return next((int(line.split()[1]) / 2**20 for line in f if line.startswith(field + ':')), 0.0)
  except OSError:
    return 0.0


def ForgetPeak():
  """Resets VmHWM of this process to its memory now."""
  with open('/proc/self/clear_refs', 'w', encoding='utf-8') as f:
    f.write('5')  # man 5 proc_pid_clear_refs.


def Timed(call, calls):
  """Means over some calls: seconds (wall clock), cpu_seconds (children included), and the call's own figures."""
  wall, cpu, own = time.perf_counter(), _Cpu(), {}
  for _ in range(calls):
    found = call()
    for name, value in (found if isinstance(found, dict) else {}).items():
      own[name] = own.get(name, 0.0) + value / calls
    del found  # Its memory must not add to the next call's peak.
  return {**own, 'seconds': (time.perf_counter() - wall) / calls, 'cpu_seconds': (_Cpu() - cpu) / calls}


def _Cpu():
  return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


if __name__ == '__main__':
  Serve(sys.argv[1], json.loads(sys.argv[2]))
