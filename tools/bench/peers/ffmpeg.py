"""FFmpeg in a loop, timed: one process for each file, to WAV of 16 kHz with one channel, as a shell script would.

Sizes: `files`; `folder`, where the WAV is written, each over the one before.
"""

import os
import subprocess

import imageio_ffmpeg

_BYTES_A_SECOND = 2 * 16000


def SetUp(sizes):
  """See worker.py. The fact `audio_seconds` is what a call wrote."""
  program, output = imageio_ffmpeg.get_ffmpeg_exe(), os.path.join(sizes['folder'], 'decoded.wav')
  written = []

  def _Call():
    written.clear()
    for path in sizes['files']:
      subprocess.run(
        [program, '-v', 'error', '-nostdin', '-y', '-i', path, '-ac', '1', '-ar', '16000', output], check=True
      )
      written.append(os.path.getsize(output) / _BYTES_A_SECOND)

  return _Call, {'audio_seconds': lambda: sum(written)}
