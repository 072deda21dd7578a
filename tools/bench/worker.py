"""The measured process: it sets up once, then takes a turn for every line that it is sent.

Scripts in tools/bench/ours and tools/bench/peers call Serve. This module imports the standard library alone, for peers
run in an environment of their own. What it writes, JSON a line:

  {"facts": {...}, "idle_gb": ...}                       once it is ready: a first call is done
  {"seconds": ..., "cpu_seconds": ..., "peak_gb": ...}   after each turn, figures of one call
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
      that it can compare, or versions. A function in the place of a fact is called after the first call.
  """
  out = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)  # What libraries print is no answer.
  call, facts = set_up(json.loads(sys.argv[1]))
  idle = Memory('VmRSS')
  call()
  _ForgetPeak()
  calls = max(1, math.floor(_TURN_SECONDS / max(_Timed(call, 1)[0], 1e-9)))
  facts = {name: fact() if callable(fact) else fact for name, fact in facts.items()}
  _Say(out, facts=facts, idle_gb=idle)
  for _ in sys.stdin:
    _ForgetPeak()
    seconds, cpu_seconds = _Timed(call, calls)
    _Say(out, seconds=seconds, cpu_seconds=cpu_seconds, peak_gb=max(0.0, Memory('VmHWM') - idle))


def Memory(field):
  """GB that this process has (VmRSS), or had at most (VmHWM)."""
  with open('/proc/self/status', encoding='utf-8') as f:
    return next(int(line.split()[1]) / 2**20 for line in f if line.startswith(field + ':'))


def _ForgetPeak():
  with open('/proc/self/clear_refs', 'w', encoding='utf-8') as f:
    f.write('5')  # man 5 proc: VmHWM begins anew.


def _Timed(call, calls):
  """Seconds of the clock and of the processor, children included, a call took on average."""
  wall, cpu = time.perf_counter(), _Cpu()
  for _ in range(calls):
    call()
  return (time.perf_counter() - wall) / calls, (_Cpu() - cpu) / calls


def _Cpu():
  return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _Say(out, **message):
  out.write(json.dumps(message) + '\n')
  out.flush()
