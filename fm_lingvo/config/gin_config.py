"""Applies Gin bindings to Lingvo's Params.

  gin_config.Configure('asr.BestRqPretrain', ['my.gin'],
                       ['task.encoder.num_layers = 2'])
  model_registry.GetParams('asr.BestRqPretrain', 'Train')  # Bound.

A binding names one of

  BestRqPretrain.num_codebooks   a knob: a field of the experiment, set before Task() is called
  task.encoder.num_layers        a param of the Params that Task() returns
  input.batch_size               a param of every data set that has it
  Train/input.batch_size         the same for one data set; overrides the unscoped binding
  model.cluster.split_id         a param of Model() other than task and input
  schedule.train_executions_per_eval   a param of ProgramSchedule()
  BATCH                          a macro, used as %BATCH

or a suffix of a path that only one path has. Gin files that the knobs imply are applied first,
then --gin_file in order, then --gin_bindings; the last binding of a name wins. The bindings are
applied each time Lingvo requests the experiment's params, after the code that derives one value
from another. Everything is checked once, before any graph is built.
"""

from collections.abc import Sequence
from typing import Any

import gin

from fm_lingvo import errors
from fm_lingvo.config import bindings
from fm_lingvo.config import config_gin
from fm_lingvo.config import gin_reader
from fm_lingvo.config import idle
from fm_lingvo.config import knobs
from fm_lingvo.config import param_paths
from fm_lingvo.config import registry
from fm_lingvo.config import run_experiment
from fm_lingvo.utils import suggest

GinError = errors.GinError
RewriteGinArgs = gin_reader.RewriteGinArgs

_config: '_Config | None' = None  # The result of the last Configure.


def Configure(
  model_name: str,
  gin_files: Sequence[str] = (),
  gin_bindings: Sequence[str] = (),
  search_paths: Sequence[str] = (),
) -> None:
  """Binds and checks the configuration of an experiment.

  Afterwards lingvo.model_registry returns this experiment's params with the bindings applied, until the
  next Configure or Reset. No TensorFlow graph is built.

  Args:
    model_name: Name of an experiment, e.g. `asr.BestRqPretrain`.
    gin_files: Names of Gin files; later ones win.
    gin_bindings: Gin bindings as text; applied after the files.
    search_paths: Folders to look for Gin files in.

  Raises:
    GinError: The configuration is invalid; the message is one line. Nothing stays bound.
  """
  global _config
  Reset()
  try:
    _, bound = run_experiment.SplitFields(gin_reader.ReadAll(gin_files, gin_bindings, search_paths), model_name)
    _config = _Config(model_name)
    _config.Bind(bound, search_paths)
    _config.Resolve()
    registry.ReplaceClass(model_name, _config.BoundClass)
    _config.bound = _config.BoundTrees()
    _config.paths.CheckApplied(_config.bound)
    gin.finalize()
  except BaseException:
    Reset()
    raise


def Reset() -> None:
  """Removes all bindings; experiments have their default params again."""
  global _config
  if _config is not None:
    registry.ReplaceClass(_config.model_name)
  _config = None
  gin.clear_config()


def CheckIdle() -> None:
  """Raises GinError if a setting that the user changed has no effect; see idle.

  Configure itself does not, so that a finished run with such a setting can still be used.
  """
  if _config is not None:
    experiment = registry.ModelClass(_config.model_name)()
    idle.Check(experiment, _config.knobs.settings, _config.paths.settings, _config.bound)


def Overrides() -> list[tuple[str, Any, str]]:
  """Lists the settings that the user changed from their defaults.

  Returns:
    List of (path, value, source), knobs first; source is `file:line` or the flag.
  """
  if _config is None:
    return []
  settings = [*_config.knobs.settings.values(), *_config.paths.settings.values()]
  return [(s.name, s.value, s.binding.place) for s in settings if s.binding and s.binding.user and s.changed]


def KnobValues() -> dict[str, Any]:
  """Returns the value of each knob of the configured experiment, by its name; {} if none is configured."""
  return {} if _config is None else {name: setting.value for name, setting in _config.knobs.settings.items()}


def ConfigText(model_name: str, reference: bool = True) -> str:
  """The text of config.gin, which replays the run.

  With the same version of the code, `trainer --model=NAME --gin_file=config.gin` gives the same
  params. See config_gin.

  Args:
    model_name: The model that Configure configured.
    reference: Whether to list all params that were not bound as comments.

  Raises:
    GinError: Configure has not been called for this model.
  """
  if _config is None or _config.model_name != model_name:
    raise GinError(f'--model={model_name}: not configured; call Configure first')
  return config_gin.ConfigText(
    model_name, _config.knobs, _config.paths, _config.macros, _config.bound if reference else {}
  )


class _Config:
  """The configuration of one experiment: knobs, params, macros and their bindings."""

  def __init__(self, model_name: str) -> None:
    self.model_name = model_name
    self.knobs = knobs.Knobs(model_name)
    self.paths: Any = None  # param_paths.Paths, set by Resolve.
    self.macros: Any = None  # bindings.Macros, set by Bind.
    self.bound: Any = None  # The result of BoundTrees, set by Configure; not to be changed.
    self._datasets = registry.DatasetNames(model_name)
    self._bindings: list[bindings.Binding] = []

  def Bind(self, bound: list[bindings.Binding], search_paths: Sequence[str]) -> None:
    """Binds the knobs to the user's values and reads the Gin files that the knobs imply."""
    files = self.knobs.Bind(bound, bindings.Macros(bound))
    implied = gin_reader.Reader(search_paths, user=False)
    for name in files:
      if implied.Find(name) is None:
        raise self.knobs.MissingFile(name)
      implied.ReadFile(name)
    self._bindings = implied.bindings + bound
    self.macros = bindings.Macros(self._bindings)
    again = self.knobs.Bind(self._bindings, self.macros)
    if again != files:
      raise GinError(
        f'{", ".join(map(gin_reader.Shown, files))}: binds the knob that '
        'selected it, which would now select '
        f'{", ".join(map(gin_reader.Shown, again))}'
      )

  def Resolve(self) -> None:
    """Builds the default params and looks up every bound path in them."""
    trees = param_paths.Trees(self.model_name, registry.Registered(self.model_name), self._datasets)
    self.paths = param_paths.Paths(self.model_name, trees, self._datasets, self.macros)
    for binding in self._bindings:
      if binding.arg and not self.knobs.Claims(binding):
        # Params have lower-case names, experiments do not.
        if binding.selector.rpartition('.')[2][0].isupper():
          raise self.knobs.NoSuchExperiment(binding)
        self.paths.Bind(binding)
    for orphan in self.macros.Orphans():
      raise self._OrphanError(orphan)
    self.paths.CheckRequired()
    self.paths.CheckShadowed(self._bindings)

  def BoundTrees(self) -> dict[str, Any]:
    """Returns param_paths.Trees with every binding applied."""
    return param_paths.Trees(self.model_name, registry.ModelClass(self.model_name), self._datasets)

  def BoundClass(self, registered: Any) -> type:
    """Returns a subclass of Lingvo's registered class that applies the bindings to its params.

    Args:
      registered: The class that Lingvo's registry has for the experiment.
    """
    config = self

    class Bound(registered):
      """An experiment with the bindings applied."""

      def Task(self) -> Any:
        return config.paths.Apply(super().Task(), 'task')

      def Model(self) -> Any:
        return config.paths.Apply(super().Model(), 'model')

      def ProgramSchedule(self) -> Any:
        return config.paths.Apply(super().ProgramSchedule(), 'schedule')

      # Bindings are applied here and not in each data set's method, because one method may
      # call another, whose bindings must not apply to the caller.
      def GetDatasetParams(self, dataset: str) -> Any:
        params = super().GetDatasetParams(dataset)
        if dataset in config._datasets:
          return config.paths.Apply(params, 'input', dataset)
        return params

    Bound.__name__ = registered.__name__
    Bound.__qualname__ = registered.__qualname__
    return Bound

  def _OrphanError(self, orphan: Any) -> errors.GinError:
    """Returns the GinError for an unused macro, which is often a path without its first part."""
    message = 'a macro that nothing uses'
    others = [name for name in self.macros if name != orphan.name]
    near = suggest.Nearest(orphan.path, others, 0.75)
    if near:
      return orphan.Error(message + suggest.DidYouMean(near))
    hints = [self.knobs.Nearest(orphan.path, 0.7), *self.paths.Hints(orphan.path)]
    hints = [h for h in hints if h][:3]
    return orphan.Error(
      message + (suggest.DidYouMean(' or '.join(hints)) or '; a param has a dot in its name, e.g. task.name')
    )
