"""The project's pages, README.md and docs/*.md, in the order in which readme_test.py runs their commands."""

import os

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGES = ('README.md',) + tuple(
  f'docs/{name}.md'
  for name in (
    'pages',
    'quick_start',
    'experiments',
    'recognition',
    'tutorial',
    'params',
    'python',
    'export',
    'serving',
    'streaming',
    'decoding',
    'data',
    'data_formats',
    'transcripts',
    'data_problems',
    'augmentation',
    'running',
    'dashboard',
    'sweeps',
    'scoring',
    'faults',
    'scale',
    'pretraining',
    'recipe',
    'recipe_prompts',
    'speed',
    'measured',
    'method',
    'architecture',
    'developing',
    'paper_run',
  )
)


def Read(name):
  """Text of a file of the checkout."""
  with open(os.path.join(ROOT, name), encoding='utf-8') as f:
    return f.read()


def Text():
  """All pages, one after the other."""
  return ''.join(Read(page) for page in PAGES)
