"""Where the wheel's packages come from: params/ and tools/ are installed as fm_lingvo.params and fm_lingvo.tools.

All other settings are in pyproject.toml. fm_lingvo/__init__.py gives the two the same names in a checkout.
"""

from setuptools import find_packages
from setuptools import setup

_INSIDE = ('params', 'tools')

setup(
  packages=[
    *find_packages(include=['fm_lingvo', 'fm_lingvo.*']),
    *(f'fm_lingvo.{p}' for name in _INSIDE for p in find_packages(include=[name, f'{name}.*'])),
  ],
  package_dir={f'fm_lingvo.{name}': name for name in _INSIDE},
)
