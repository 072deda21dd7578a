"""fm_lingvo: declarative experiments for adapting speech foundation models."""

import time

# When this process began to load the package, seconds since the epoch: what "first
# step after N s" counts from.
START_TIME = time.time()
