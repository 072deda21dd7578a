"""Recognition of speech-like noise with a loaded model, timed: samples in, transcripts out.

Sizes: `folder` of a run that random_run.py writes, `bindings` and `blank_bias` of it; `utterances` of `seconds` each;
`together`: how many a call of the model is given; `beam_size`, with a language model if it is more than 1.
"""

import fm_lingvo
from fm_lingvo.inference import starting
from fm_lingvo.utils import audio

from .. import inputs


def SetUp(sizes):
  """See worker.py. Facts: `labels`, the words' letters in all, and `audio_seconds`."""
  starting.ImportLingvo()
  from fm_lingvo.inference import graph_mode

  from . import random_run

  with graph_mode.GraphMode():
    random_run.Write(sizes['folder'], sizes['bindings'], sizes['blank_bias'])
  beam = sizes['beam_size']
  search = fm_lingvo.Search(beam_size=beam, lm=f'{sizes["folder"]}/lm.npz') if beam > 1 else None
  model = fm_lingvo.load(sizes['folder'], search=search)
  recordings = [(inputs.Syllables(sizes['seconds'], seed), audio.SAMPLE_RATE) for seed in range(sizes['utterances'])]
  found = []

  def _Call():
    del found[:]
    for first in range(0, len(recordings), sizes['together']):
      found.extend(model.transcribe(recordings[first : first + sizes['together']]))

  letters = lambda: sum(len(one.text) for one in found)  # noqa: E731
  return _Call, {'labels': letters, 'audio_seconds': sizes['seconds'] * sizes['utterances']}
