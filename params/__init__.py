"""The registered experiments; `params/asr.py` holds every `asr.*` model."""
