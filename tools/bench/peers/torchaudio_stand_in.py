"""An empty torchaudio: SpeechBrain imports it to read audio, which the benchmark does not do.

The published wheel of torchaudio needs CUDA's libraries, which PyTorch's CPU build does not have.
"""

import importlib.machinery
import sys
import types


def Install():
  """Replaces a torchaudio that cannot be imported."""
  try:
    import torchaudio  # noqa: F401
  except (ImportError, OSError):
    for name in [n for n in sys.modules if n.partition('.')[0] == 'torchaudio']:
      del sys.modules[name]
    module = types.ModuleType('torchaudio')
    module.__spec__ = importlib.machinery.ModuleSpec('torchaudio', None)
    module.__version__ = '2.11.0'
    module.list_audio_backends = lambda: []
    sys.modules['torchaudio'] = module
