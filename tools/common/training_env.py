"""The environment of the trainers that tools start."""

import os

# By default TensorFlow's oneDNN kernels are off on processors without AVX-512 VNNI. With AVX2 a step in float32 takes a
# sixth less processor time with them (docs/speed.md); bfloat16 fails there, which no tool trains in.
_FLOAT32 = {'TF_ENABLE_ONEDNN_OPTS': '1'}


def Float32(**more: str) -> dict[str, str]:
  """Returns this process's environment for a trainer in float32, with more variables; those of the user go first."""
  return {**_FLOAT32, **os.environ, **more}
