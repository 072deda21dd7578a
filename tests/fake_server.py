"""`python -m tests.fake_server`: the server as a process, with the models of serving_case in place of trained ones.

Starts in a second, as it needs no TensorFlow. Models: `live`, which streams, and `files`, which does not. Environment:
BATCH_SECONDS is the time that a batch takes; LIMITS a JSON object of limits; TOKEN the token, if there is one.
"""

import json
import os
import sys

from tests import serving_case
from tools.common import exit_codes
from tools.common import interrupts
from tools.serving import access
from tools.serving import app
from tools.serving import limits as limits_lib
from tools.serving import process


def _Run():
  recognizer = serving_case.Recognizer(float(os.environ.get('BATCH_SECONDS', '0')))
  models = {
    'live': serving_case.Model(recognizer, 'live', kind=serving_case.StreamingModel, language='en'),
    'files': serving_case.Model(recognizer, 'files', language='en'),
  }
  limits = limits_lib.Limits(**json.loads(os.environ.get('LIMITS', '{}')))
  tokens = [os.environ['TOKEN']] if 'TOKEN' in os.environ else []
  server = app.Server(models, limits, access.Access(tokens))
  process.Serve(server, process.Bind('127.0.0.1', 0), limits, access_log=False)


if __name__ == '__main__':
  interrupts.Raise()
  sys.exit(exit_codes.Report('fake_server', _Run, interrupted=None))
