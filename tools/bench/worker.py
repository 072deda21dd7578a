"""The measured process: it sets up once, warms up at the first line that it is sent, then takes a turn for every other.

Scripts in tools/bench/ours and tools/bench/peers call Serve. This module imports the standard library alone, for peers
run in an environment of their own. What it writes, JSON a line:

  {"idle_gb": ...}                                       once it is set up
  {"facts": {...}}                                       after the first line: a first call is done
  {"seconds": ..., "cpu_seconds": ..., "peak_gb": ...}   after each turn, figures of one call, those that it returns too
"""

import json
import math
import os
import resource
import sys
import time

# A turn repeats short calls, so that the clock's grain does not count.
_TURN_SECONDS = 0.25


def Serve(set_up):
  """Runs the process.

  Args:
    set_up: Function of the JSON object on the command line; returns (call, facts): what is timed, a function without
      arguments that returns when all its work is done, and a dict that goes to the benchmark: what was computed, so
      that it can compare, or versions. A function in the place of a fact is called before the turns. A dict of
      numbers that a call returns goes into its turn. Of the sizes, `calls` is how often a turn repeats the call; without,
      a second call before the turns tells. `warm_up`: 0 for no call before the turns, 1 without.
  """
  out = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)  # What libraries print is no answer.
  sizes = json.loads(sys.argv[1])
  call, facts = set_up(sizes)
  idle = Memory('VmRSS')
  _Say(out, idle_gb=idle)
  sys.stdin.readline()
  if sizes.get('warm_up', 1):
    call()
  ForgetPeak()
  calls = sizes.get('calls') or max(1, math.floor(_TURN_SECONDS / max(Timed(call, 1)['seconds'], 1e-9)))
  facts = {name: fact() if callable(fact) else fact for name, fact in facts.items()}
  _Say(out, facts=facts)
  for _ in sys.stdin:
    ForgetPeak()
    timed = Timed(call, calls)
    _Say(out, **{'peak_gb': max(0.0, Memory('VmHWM') - idle), **timed})


def Memory(field):
  """GB that this process has (VmRSS), or had at most (VmHWM)."""
  with open('/proc/self/status', encoding='utf-8') as f:
    return next(int(line.split()[1]) / 2**20 for line in f if line.startswith(field + ':'))


def ForgetPeak():
  """Makes VmHWM begin anew."""
  with open('/proc/self/clear_refs', 'w', encoding='utf-8') as f:
    f.write('5')  # man 5 proc: VmHWM begins anew.


def Timed(call, calls):
  """dict: seconds of the clock and cpu_seconds of the processor, children included, that a call took, and its own figures.

  They are means over `calls` calls; a call's own figures are those of the dict that it returns, if it does.
  """
  wall, cpu, own = time.perf_counter(), _Cpu(), {}
  for _ in range(calls):
    found = call()
    found = found if isinstance(found, dict) else {}  # Whatever else it is, its memory goes back.
    own = {name: own.get(name, 0.0) + value / calls for name, value in found.items()}
  return {**own, 'seconds': (time.perf_counter() - wall) / calls, 'cpu_seconds': (_Cpu() - cpu) / calls}


def _Cpu():
  return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _Say(out, **message):
  out.write(json.dumps(message) + '\n')
  out.flush()
