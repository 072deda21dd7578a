"""What a stage of the recipe is, and the settings of the whole recipe."""

import dataclasses
from typing import Any

PSEUDO = 'pseudo'  # Folder in a run, with the data set that the stage's teacher has transcribed.


@dataclasses.dataclass(frozen=True)
class Settings:
  """What differs between the recipe and its smoke run."""

  output: str = 'runs/recipe'  # Folder of the runs.
  data_dir: str = 'data/recipe'
  quick: bool = False
  corpora: str = ''  # Folder of human corpora for the data sets.


@dataclasses.dataclass(frozen=True)
class Stage:
  """One training: a row of the plan or, completed by Plan(), what the trainer is called with for one seed."""

  name: str  # Of its row in the results and, with the seed, of its run's folder.
  group: str  # Key of plan.GROUPS.
  experiment: str  # Class of params/asr.py.
  steps: int
  title: str  # What a table calls it; {share} is the share of the labels in %.
  start: str = ''  # Stage that it starts from, '' for random weights; of a completed stage that stage's run.
  share: float = 0.0  # Of the target's usable labels that it is given, at most.
  seeds: tuple[int, ...] = (1,)  # That are planned.
  bindings: dict[str, Any] = dataclasses.field(default_factory=dict)  # Of Gin; without a dot: the experiment's knobs.
  measured: bool = True  # Whether it is evaluated on the test sets and has a row in the results.
  # Stage whose model transcribes the target's training speech; what it is sure of is a branch of this training.
  teacher: str = ''
  seed: int = 1  # Of a completed stage.

  @property
  def run(self) -> str:
    """Name of the run's folder."""
    return RunName(self.name, self.seed)

  @property
  def needs(self) -> tuple[str, ...]:
    """Stages, or the runs of a completed stage, that must be trained before."""
    return tuple(filter(None, (self.start, self.teacher)))

  @property
  def target(self) -> str:
    """Name of the target's data set."""
    return self.bindings.get('target', 'target')

  @property
  def model(self) -> str:
    """Name of the experiment in the registry."""
    return f'asr.{self.experiment}'

  def GinBindings(self, **changed: Any) -> dict[str, Any]:
    """The bindings, some of them changed, by the names that Gin has for them."""
    return {
      name if '.' in name else f'{self.experiment}.{name}': value
      for name, value in {**self.bindings, **changed}.items()
    }


def RunName(name: str, seed: int) -> str:
  """Name of the run of a stage with a seed."""
  return name if seed == 1 else f'{name}_seed{seed}'
