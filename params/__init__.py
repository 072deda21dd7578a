"""The registered experiments: `params/asr.py` holds every `asr.*` model."""

import sys

if __name__ == 'params':  # In a checkout, `from params import asr` must give the modules of fm_lingvo.params.
  import fm_lingvo.params

  sys.modules[__name__] = fm_lingvo.params
