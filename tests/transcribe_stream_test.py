"""tools.transcribe --stream: what it reads, shows and says.

Builds a graph: the tool loads a run, as its users do. One tiny run serves all tests.
"""

import contextlib
import io
import json
import os
import shutil
import signal
import struct
import sys
import tempfile
import threading
import time
import wave
from unittest import mock

import numpy as np
from absl.testing import absltest

import fm_lingvo
from fm_lingvo import errors
from fm_lingvo.inference import graph_mode
from tests import run_case
from tests import tiny_data
from tools import transcribe
from tools.transcription import live_input

_ENDPOINT = '--endpoint_seconds=0.1'


def setUpModule():
  global _folder, _run, _sound, _events, _models
  _folder = tempfile.mkdtemp()
  _run = f'{_folder}/run'
  with graph_mode.GraphMode():
    limit = 'transducer.max_labels_per_frame = 2.0'
    run_case.MakeRun(_run, 'asr.StreamingSupervised', 'nowhere', limit, blank_bias=9.0)
    run_case.MakeRun(f'{_folder}/full', 'asr.Supervised', 'nowhere')
  _sound = tiny_data.Waveform(2.2, 3)
  _models = {path: fm_lingvo.load(path) for path in (_run, f'{_folder}/full')}
  _events = list(_models[_run].transcribe_stream([_sound], 16000, endpoint_seconds=0.1))


def tearDownModule():
  for model in _models.values():
    model.close()
  shutil.rmtree(_folder)


def _Finals():
  return [e.text for e in _events if e.kind == 'final']


def _Header(size, channels=1, rate=16000, tag=1, bits=16, extra=b''):
  """A WAV header, with another chunk before the samples."""
  form = struct.pack('<HHIIHH', tag, channels, rate, rate * channels * 2, channels * 2, bits) + extra
  chunks = b'fmt ' + struct.pack('<I', len(form)) + form + b'LIST\x03\0\0\0abc\0' + b'data' + struct.pack('<I', size)
  return b'RIFF' + struct.pack('<I', size) + b'WAVE' + chunks


class _Out(io.StringIO):
  def __init__(self, terminal=False):
    super().__init__()
    self._terminal = terminal

  def isatty(self):
    return self._terminal


class TranscribeStreamTest(absltest.TestCase):
  """The tool gets the models that are loaded already; test_a_file_is_as_standard_input lets it load its own."""

  def setUp(self):
    super().setUp()
    self.loading = mock.patch.object(
      transcribe.api, 'load', side_effect=lambda path, **options: contextlib.nullcontext(_models[path])
    )
    self.loading.start()
    self.addCleanup(mock.patch.stopall)

  def _Main(self, *argv, stdin=b'', end=True, terminal=False, after=lambda: None):
    """(exit code, standard output, standard error) with bytes on standard input.

    Args:
      *argv: Arguments after the run.
      stdin: Written piece by piece, as a recorder does.
      end: Whether standard input is closed then.
      terminal: Whether standard output is a terminal.
      after: Called when all is written.
    """
    read, write = os.pipe()

    def _Write():
      for start in range(0, len(stdin), 9999):
        os.write(write, stdin[start : start + 9999])
      if end:
        os.close(write)
      after()

    out, err, writer = _Out(terminal), io.StringIO(), threading.Thread(target=_Write)
    with os.fdopen(read) as f, mock.patch.object(sys, 'stdin', f):
      writer.start()
      with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = transcribe.Main(['transcribe', *argv])
      writer.join()
    if not end:
      os.close(write)
    return code, out.getvalue(), err.getvalue()

  def test_a_recorder_s_sound_is_read_to_its_end_and_the_speed_is_told(self):
    pcm = _sound.astype('<i2').tobytes()
    for stdin, options in (
      (_Header(0xFFFFFFFF) + pcm, ()),
      (_Header(0) + pcm + b'\0', ()),  # Half a sample at the end.
      (_Header(len(pcm), tag=0xFFFE, extra=bytes([22, 0, 16, 0, 4, 0, 0, 0, 1]) + bytes(15)) + pcm + b'LIST', ()),
      (pcm, ('--rate=16000',)),
    ):
      code, out, err = self._Main(_run, '--stream', '-', _ENDPOINT, *options, stdin=stdin)
      self.assertEqual((code, out.splitlines()), (0, _Finals()), err)
      self.assertRegex(
        err,
        r'^transcribe: 2\.2 s heard, real-time factor 0\.\d+; 160 ms of speech take [\d.]+ ms \(median\), '
        r'[\d.]+ ms \(90 %\)'
        r'; first text after [\d.]+ s of speech, [\d.]+ s after it began to come\n$',
      )

  def test_json_has_every_event(self):
    stdin = _Header(0xFFFFFFFF, channels=2) + np.stack([_sound, _sound], axis=1).astype('<i2').tobytes()
    code, out, err = self._Main(_run, '--stream', '-', _ENDPOINT, '--format=json', stdin=stdin)
    self.assertEqual(code, 0, err)
    self.assertEqual([json.loads(line) for line in out.splitlines()], [e.to_dict() for e in _events])

  def test_a_file_is_as_standard_input(self):
    self.loading.stop()
    path = f'{_folder}/a.wav'
    with wave.open(path, 'wb') as f:
      f.setparams((1, 2, 16000, 0, 'NONE', ''))
      f.writeframes(_sound.astype('<i2').tobytes())
    code, out, err = self._Main(_run, '--stream', path, _ENDPOINT)
    self.assertEqual((code, out.splitlines()), (0, _Finals()), err)

  def test_a_terminal_shows_the_partial_text_in_place(self):
    code, out, err = self._Main(
      _run, '--stream', '-', _ENDPOINT, '--rate=16000', stdin=_sound.astype('<i2').tobytes(), terminal=True
    )
    self.assertEqual(code, 0, err)
    shown = [part.partition('\n') for part in out.split('\r\x1b[K')[1:]]
    self.assertEqual([text for text, newline, _ in shown if newline], _Finals())
    partials = [text for text, newline, _ in shown[:-1] if not newline]
    self.assertEqual(
      partials, [e.text if len(e.text) < 80 else '...' + e.text[-76:] for e in _events if e.kind != 'final']
    )

  def test_ctrl_c_ends_with_the_last_text(self):
    def _Interrupt():
      time.sleep(0.5)  # The tool waits for more.
      os.kill(os.getpid(), signal.SIGINT)

    # Loading takes longer than writing: the interrupt must come while the tool hears.
    with (
      mock.patch.object(live_input, '_POLL_SECONDS', 0.02),
      mock.patch.object(transcribe.live_transcripts.live_input, 'Pieces', wraps=live_input.Pieces) as pieces,
    ):

      def _WhenHearing():
        while not pieces.called:
          time.sleep(0.02)
        _Interrupt()

      stdin = _sound.astype('<i2').tobytes()[:50_000]
      code, out, err = self._Main(
        _run, '--stream', '-', _ENDPOINT, '--rate=16000', stdin=stdin, end=False, after=_WhenHearing
      )
    events = _models[_run].transcribe_stream([stdin], 16000, endpoint_seconds=0.1)
    expected = [e.text for e in events if e.kind == 'final']
    self.assertEqual((code, out.splitlines()), (0, expected), err)
    self.assertIn('1.6 s heard', err)

  def test_what_cannot_be_streamed_is_said_in_a_line(self):
    self.assertEqual([model.can_stream for model in _models.values()], [True, False])
    wav = _Header(10) + bytes(10)
    for argv, stdin, expected in (
      ((f'{_folder}/full', '--stream', '-'), wav, r'full: encoder\.causal = False: expected True for streaming; train'),
      ((_run, '--stream', '-'), b'ID3' + bytes(20), r'standard input: no WAV; expected WAV with 16 bits, or raw'),
      ((_run, '--stream', '-'), b'', r'standard input: no WAV'),
      ((_run, '--stream', '-'), _Header(9)[:40], r'standard input: WAV without samples'),
      ((_run, '--stream', '-'), _Header(8, tag=3, bits=32), r'standard input: WAV of format 3 with 32 bits; expected'),
      ((_run, '--stream', '-', '--rate=10'), b'', r'standard input: 10 Hz: expected 1000 to 768000'),
      ((_run, '--stream', 'a.wav', 'b.wav'), b'', r'--stream: expected one recording, - or a file, not a.wav b.wav'),
      ((_run, '--stream', 'a.wav', '--rate=8000'), b'', r'--rate=8000: expected with - only; a file says its own'),
      ((_run, '--stream', '-', '--format=srt'), b'', r'--format=srt: --stream writes text or json'),
      ((_run, '--stream', '-', '--n_best=2'), b'', r'--n_best=2: expected without --stream'),
      ((_run, '--stream', '-', '--output=x'), b'', r'--output=x: expected without --stream'),
      ((_run, '-', '--endpoint_seconds=1'), b'', r'--endpoint_seconds=1: expected with --stream only'),
      ((_run, '-', '--rate=16000'), b'', r'--rate=16000: expected with --stream only'),
      ((_run, '--stream', '-', '--step_seconds=0'), wav, r'step_seconds = 0: expected > 0'),
    ):
      with self.subTest(expected):
        code, out, err = self._Main(*argv, stdin=stdin)
        self.assertEqual((code, out), (2, ''), err)
        self.assertRegex(err, f'^transcribe: (\\S*/)?{expected}')
        self.assertEqual(err.count('\n'), 1, err)

  def test_a_file_that_cannot_be_read_is_said_in_a_line(self):
    path = f'{_folder}/text.wav'
    with open(path, 'w', encoding='utf-8') as f:
      f.write('no sound')
    code, out, err = self._Main(_run, '--stream', path)
    self.assertEqual((code, out), (1, ''), err)
    self.assertRegex(err, r'^transcribe: \S*text\.wav: not_audio: [^\n]*\n$')


class PipeTest(absltest.TestCase):
  def test_it_gives_what_is_there_and_ends_when_stopped(self):
    read, write = os.pipe()
    pipe = live_input.Pipe(read)
    os.write(write, b'abc')
    self.assertEqual((pipe.Read(2), pipe.Read()), (b'ab', b'c'))
    threading.Timer(0.05, pipe.Stop).start()
    self.assertEqual(pipe.Read(), b'')
    os.close(write)
    os.close(read)

  def test_rates_and_channels_are_checked(self):
    for header, expected in (
      (_Header(4, channels=0), '0 channels: expected 1 to 64'),
      (_Header(4, channels=65), '65 channels'),
      (_Header(4, rate=7), '7 Hz: expected 1000'),
    ):
      read, write = os.pipe()
      os.write(write, header)
      os.close(write)
      with self.assertRaisesRegex(errors.ConfigError, expected), os.fdopen(read):
        live_input.Pieces(live_input.Pipe(read), None)


if __name__ == '__main__':
  absltest.main()
