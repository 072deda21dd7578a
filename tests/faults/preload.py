"""What a trainer imports, once for all forks of one process."""

from lingvo import trainer as lingvo_trainer  # noqa: F401

from fm_lingvo import trainer  # noqa: F401
from fm_lingvo.training import launch  # noqa: F401
from params import asr  # noqa: F401
