"""Properties of tools/adapters.py: bit-exact copies of adapters, and its errors."""

import contextlib
import io
import os
import re

import numpy as np
from absl.testing import absltest

from fm_lingvo.checkpoints import reader
from fm_lingvo.checkpoints import warm_start
from tests import graph_case
from tests import stage_case
from tools import adapters

_ADAPTED = dict(adapters=['target', 'other'], active_adapter='target')


class AdaptersTest(stage_case.StageCase):
  def setUp(self):
    super().setUp()
    self.run, self.values = self.MakeRun('adapted', **_ADAPTED)

  def _Path(self, name):
    return os.path.join(self.folder, name)

  def _Main(self, *argv):
    """Runs the tool; returns (exit code, standard output, standard error)."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
      code = adapters.Main(['adapters', *argv])
    return code, out.getvalue(), err.getvalue()

  def _Read(self, path):
    checkpoint = reader.Checkpoint(path)
    return {name: checkpoint.Read(name) for name in checkpoint.weights}

  def _AssertSame(self, found, expected):
    self.assertEqual(set(found), set(expected))
    for name, value in expected.items():
      self.assertEqual(found[name].dtype, value.dtype, name)
      np.testing.assert_array_equal(found[name], value, name)

  def _Without(self, pattern):
    return {n: v for n, v in self.values.items() if not re.search(pattern, n)}

  def test_lists_adapters_decoder_and_encoder(self):
    code, out, _ = self._Main('list', self.run)
    self.assertEqual(code, 0)
    self.assertRegex(
      out,
      r'^.*/adapted/train/ckpt-10\n'
      r'adapters other: after_block, width 4, 1 blocks, \d+ values, '
      r'.* MB\n'
      r'adapters target: after_block, width 4, 1 blocks, .*\n'
      r'decoder transducer: [\d,]+ values, .* MB\n'
      r'encoder sha256 [0-9a-f]{12}\n$',
    )
    plain, _ = self.MakeRun('pretrained', head='best_rq')
    self.assertRegex(self._Main('list', plain)[1], r'\nno adapters\nencoder sha256')

  def test_removed_then_injected_gives_the_same_bits(self):
    steps = (
      ('extract', self.run, '--adapter=target', '--decoder', f'--output={self._Path("target.ckpt")}'),
      ('remove', self.run, '--adapter=target', f'--output={self._Path("plain")}'),
      ('inject', self._Path('target.ckpt'), self._Path('plain'), f'--output={self._Path("new/again")}'),
    )
    for step in steps:
      code, out, err = self._Main(*step)
      self.assertEqual((code, err), (0, ''), step)
    self.assertRegex(
      out,
      r'^added adapters target: .* MB\nreplaced decoder transducer: '
      r'.* MB\nwrote .*/new/again\n$',
    )
    small = self._Read(self._Path('target.ckpt'))
    self.assertEqual({reader.Component(n) for n in small}, {'encoder/adapters/target', 'transducer', 'frontend'})
    self._AssertSame(small, {n: self.values[n] for n in small})
    self._AssertSame(self._Read(self._Path('plain')), self._Without('/target/'))
    self._AssertSame(self._Read(self._Path('new/again')), self.values)
    self.assertEqual(reader.Checkpoint(self._Path('new/again')).Read('global_step'), 0)

  def test_what_inject_writes_starts_a_run_under_a_new_name(self):
    self._Main('extract', self.run, '--adapter=target', f'--output={self._Path("target.ckpt")}')
    code, _, err = self._Main(
      'inject', self._Path('target.ckpt'), self.run, '--name=third', f'--output={self._Path("three")}'
    )
    self.assertEqual((code, err), (0, ''))
    task = stage_case.TaskParams(
      init_from=self._Path('three'), adapters=['target', 'other', 'third'], active_adapter='third'
    ).Instantiate()
    _, loaded = warm_start.Restore(task, self.session)
    found = self.Eval({v.op.name: v for v in task.vars.Flatten()})
    self.assertEqual(loaded, set(found))
    self._AssertSame({n: v for n, v in found.items() if '/third/' not in n}, self.values)
    self._AssertSame(
      {n.replace('third', 'target'): v for n, v in found.items() if '/third/' in n},
      {n: v for n, v in self.values.items() if '/target/' in n},
    )

  def test_adapters_of_another_encoder_are_refused(self):
    self._Main('extract', self.run, '--adapter=target', f'--output={self._Path("target.ckpt")}')
    with self.NewGraph():
      self.Randomized(stage_case.TaskParams().Instantiate(), seed=9)
      self.Save('strange')
    inject = ('inject', self._Path('target.ckpt'), self._Path('strange'), f'--output={self._Path("out")}')
    code, _, err = self._Main(*inject)
    self.assertEqual(code, 2)
    self.assertRegex(
      err,
      r'^adapters: .*target.ckpt: its adapters were trained on '
      r'another encoder \(sha256 \w{12}\) than .*/strange/train/ckpt-10 '
      r'has \(\w{12}\); --any_encoder adds them anyway\n$',
    )
    self.assertFalse(os.path.exists(self._Path('out.index')))
    self.assertEqual(self._Main(*inject, '--any_encoder')[0], 0)

  def test_other_adapters_keep_their_decoder_unless_told_otherwise(self):
    self._Main('extract', self.run, '--adapter=target', '--decoder', f'--output={self._Path("target.ckpt")}')
    self._Main('remove', self.run, '--adapter=target', f'--output={self._Path("plain")}')
    with self.NewGraph():
      task = stage_case.TaskParams(adapters=['first', 'second']).Instantiate()
      values = self.Randomized(task)
      changed = next(v for v in task.vars.Flatten() if 'joint/b/' in v.op.name)
      self.Eval(graph_case.tf.assign_add(changed, np.ones(changed.shape)))
      self.Save('finetuned')
    inject = (
      'inject',
      self._Path('target.ckpt'),
      self._Path('finetuned'),
      '--any_encoder',
      f'--output={self._Path("out")}',
    )
    code, out, err = self._Main(*inject)
    self.assertEqual((code, out), (2, ''))
    self.assertRegex(
      err,
      r'^adapters: .*/finetuned/train/ckpt-10: its adapters first, '
      r'second would lose their decoder, which differs from that in '
      r'.*/target.ckpt; extract without --decoder, or use --replace_decoder .*\n$',
    )
    self.assertFalse(os.path.exists(self._Path('out.index')))
    code, out, err = self._Main(*inject, '--replace_decoder')
    self.assertEqual((code, err), (0, ''))
    self.assertIn('replaced decoder transducer', out)
    found = self._Read(self._Path('out'))
    self._AssertSame(
      {n: v for n, v in found.items() if '/transducer/' in n},
      {n: v for n, v in self.values.items() if '/transducer/' in n},
    )
    self._AssertSame(
      {n: v for n, v in found.items() if '/first/' in n}, {n: v for n, v in values.items() if '/first/' in n}
    )
    # The same decoder is no loss.
    code, _, err = self._Main(
      'inject', self._Path('target.ckpt'), self._Path('plain'), f'--output={self._Path("again")}'
    )
    self.assertEqual((code, err), (0, ''))

  def test_errors_are_one_line(self):
    self._Main('extract', self.run, '--adapter=target', f'--output={self._Path("target.ckpt")}')
    plain, _ = self.MakeRun('pretrained', head='best_rq')
    for argv, expected in (
      (('list', self.run[:-1]), r'no such run or checkpoint; did you mean .*/adapted\?'),
      (
        ('extract', self.run, '--adapter=targt', '--output=x'),
        r'no adapters targt, it has other, target; did you mean target\?',
      ),
      (('remove', plain, '--adapter=target', '--output=x'), 'no adapters target, it has none'),
      (('inject', plain, self.run, '--output=x'), 'no adapters in it; expected what extract writes'),
      (
        ('inject', self._Path('target.ckpt'), self.run, '--output=x'),
        'has adapters target already; remove them first, or choose another --name',
      ),
      (
        ('inject', self._Path('target.ckpt'), self.run, '--name=a/b', '--output=x'),
        '--name=a/b: not a name of adapters, expected lower-case letters',
      ),
      (
        ('inject', self.run, plain, '--name=new', '--output=x'),
        r'has several sets of adapters \(other, target\); extract one',
      ),
      (('extract', self.run, '--adapter=other', f'--output={self._Path("target.ckpt")}'), 'exists already; remove it'),
      (
        ('extract', self.run, '--adapter=other', f'--output={self._Path("target.ckpt.index")}/x'),
        r'--output=.*target.ckpt.index/x: cannot be written \(.*director',
      ),
      (
        ('extract', self.run, '--adapter=other', f'--output={self._Path("folder/")}'),
        r'--output=.*folder/: is a folder; expected the prefix of a checkpoint, such as .*folder/ckpt',
      ),
    ):
      with self.subTest(argv):
        code, out, err = self._Main(*argv)
        self.assertEqual((code, out), (2, ''))
        self.assertRegex(err, f'^adapters: .*{expected}.*\n$')
        self.assertFalse(os.path.exists('x.index'))

  def test_decoder_of_a_run_without_one(self):
    run, _ = self.MakeRun('headless', head='best_rq', **_ADAPTED)
    code, _, err = self._Main('extract', run, '--adapter=target', '--decoder', '--output=x')
    self.assertEqual(code, 2)
    self.assertRegex(err, "^adapters: .*/ckpt-10: no decoder; expected a head with a tokenizer's record\n$")


if __name__ == '__main__':
  absltest.main()
