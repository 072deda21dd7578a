"""Traces one training step: the time of each kind of operation, and a timeline for Perfetto or chrome://tracing."""

import collections
import os
import re
import time
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

from lingvo import compat as tf
from tensorflow.core.framework import step_stats_pb2
from tensorflow.python.client import timeline

from fm_lingvo import errors

# Operations that run others, whose time they would count again.
_CALLERS = re.compile(r'(Stateful)?(PartitionedCall|While|If|Case)|SymbolicGradient|RemoteCall')
_LABEL = re.compile(r'= (\w+)\(')


class StepTrace:
  """Runs the steps of a training, one of them traced."""

  def __init__(self, logdir: str, step: int) -> None:
    """Constructor.

    Args:
      logdir: Folder of the run; the trace is in its folder `trace`.
      step: The step to trace, >= 1; 0: none.
    """
    self._folder, self._step = os.path.join(logdir, 'trace'), step

  def CheckStart(self, step: int) -> None:
    """Raises ConfigError if a run that goes on after `step` does not come to the step to trace."""
    if 0 < self._step <= step:
      raise errors.ConfigError(f'--trace_step={self._step}: expected a step after {step}, where the run resumes')

  def Run(self, sess: tf.Session, step: int, fetches: Any, line: Callable[[str], None]) -> Any:
    """Returns the values of `fetches`, which are those of a step.

    Args:
      sess: Session of the training.
      step: Its number.
      fetches: What to compute.
      line: Prints a line of progress.

    Raises:
      errors.RunError: The trace cannot be written.
    """
    if step != self._step:
      return sess.run(fetches)
    metadata = tf.RunMetadata()
    started = time.perf_counter()
    values = sess.run(fetches, options=tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE), run_metadata=metadata)
    seconds = time.perf_counter() - started
    prefix = os.path.join(self._folder, f'step-{step}')
    with errors.Writing(self._folder):
      tf.io.gfile.makedirs(self._folder)
      for suffix, text in (
        ('txt', Table(metadata.step_stats, seconds)),
        ('json', timeline.Timeline(metadata.step_stats).generate_chrome_trace_format()),
      ):
        with tf.io.gfile.GFile(f'{prefix}.{suffix}', 'w') as f:
          f.write(text)
    line(f'step {step} traced: {prefix}.txt, and {prefix}.json for https://ui.perfetto.dev')
    return values


def Table(stats: step_stats_pb2.StepStats, seconds: float) -> str:
  """Returns a table for each device: kinds of operations by their time, how many there are, and the share of the time.

  The time is the sum over all operations, some of which may have run at the same time. Operations that only call others
  are left out.

  Args:
    stats: TensorFlow's statistics of a step.
    seconds: Wall clock time of the step, traced.
  """
  lines = [f'{1000 * seconds:.1f} ms for the step while it was traced, which takes longer than others']
  for device in stats.dev_stats:
    times = collections.defaultdict[str, list[float]](list)
    for kind, milliseconds in _Operations(device.node_stats):
      times[kind].append(milliseconds)
    everything = sum(map(sum, times.values())) or 1.0
    lines += ['', f'{device.device}: {sum(map(len, times.values())):,} operations, {everything:.1f} ms']
    lines.append(f'{"ms":>10}  {"share":>6}  {"number":>7}  kind')
    for kind, each in sorted(times.items(), key=lambda item: -sum(item[1])):
      lines.append(f'{sum(each):10.2f}  {100 * sum(each) / everything:5.1f}%  {len(each):7,}  {kind}')
  return '\n'.join(lines) + '\n'


def _Operations(nodes: Any) -> Iterator[tuple[str, float]]:
  """Yields the kind of each operation and its milliseconds."""
  for node in nodes:
    found = _LABEL.search(node.timeline_label)
    kind = found.group(1) if found else node.node_name.split(':')[-1]
    if not _CALLERS.fullmatch(kind):
      yield kind, (node.op_end_rel_micros - node.op_start_rel_micros) / 1000
