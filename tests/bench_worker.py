"""A worker for tests/benchmark_test.py: does what its sizes say, without TensorFlow."""

import os
import threading
import time


def SetUp(sizes):
  """Sizes: `seconds` a call sleeps; `log`: file to which each call adds `name`; `fail`: setup, turn, hang or, once
  a turn is done, later.

  A call's own figure `number` is the number of the call.
  """
  if sizes.get('fail') == 'setup':
    raise ValueError('no such thing')
  calls = []

  def _Call():
    print('what a library prints')
    calls.append(1)
    if len(calls) > 3 and sizes.get('fail') == 'turn':
      raise ValueError('broke on the way')
    if len(calls) > 3 and sizes.get('fail') == 'hang':
      time.sleep(60)
    if len(calls) > 3 and sizes.get('fail') == 'later':
      threading.Timer(0.1, os._exit, [3]).start()  # After the answer, while others take their turns.
      return None
    if 'log' in sizes:
      with open(sizes['log'], 'a', encoding='utf-8') as f:
        f.write(sizes['name'])
    time.sleep(sizes.get('seconds', 0.26))
    return {'number': len(calls)}

  return _Call, {'loss': sizes.get('loss', 1.0), 'calls': lambda: len(calls)}
