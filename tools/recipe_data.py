"""`python -m tools.recipe_data` prepares the recipe's data sets; see tools/recipe/data.py."""

import sys

from .recipe import data

if __name__ == '__main__':
  sys.exit(data.Main(sys.argv))
