"""What a trainer imports, once for all forks of one process."""

from fm_lingvo.runtime import lazy_imports

lazy_imports.Install()  # As fm_lingvo/trainer.py.

from lingvo import trainer as lingvo_trainer  # noqa: E402, F401

from fm_lingvo import trainer  # noqa: E402, F401
from fm_lingvo.training import launch  # noqa: E402, F401
from params import asr  # noqa: E402, F401
