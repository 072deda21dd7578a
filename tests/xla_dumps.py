"""Where XLA writes down what this process compiles; conftest.py imports it before any test can compile.

Its machine code is not optimised: tests compile each program to run it once, on little. XLA's own passes, which a TPU
shares, are.
"""

import atexit
import os
import shutil

from fm_lingvo.training import xla_dump

os.environ['XLA_FLAGS'] = ' '.join(['--xla_backend_optimization_level=0', os.environ.get('XLA_FLAGS', '')])
FOLDER = xla_dump.Start()
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
