"""Where XLA writes down what this process compiles; conftest.py imports it before any test can compile."""

import atexit
import shutil

from fm_lingvo import xla_dump

FOLDER = xla_dump.Start()
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
