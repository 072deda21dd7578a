"""What commands of pages and notebooks import, once for all forks of one process; their graphs run once or twice.

The first use of each program is a new interpreter (tests/readme_test.py), whose sessions optimise their graphs.
"""

from tests.faults import preload  # noqa: F401 Before all that imports Lingvo.

# isort: split
from tests import unoptimised_graphs

unoptimised_graphs.Install()
