"""The bridge between Gin and Lingvo's Params.

  gin_config.Configure('asr.BestRqPretrain', ['my.gin'],
                       ['task.encoder.num_layers = 2'])
  model_registry.GetParams('asr.BestRqPretrain', 'Train')  # Bound.

A binding names one of

  BestRqPretrain.num_codebooks   a knob: a field of the experiment, known before Task()
  task.encoder.num_layers        a param of what Task() returns
  input.batch_size               a param of every data set that has it
  Train/input.batch_size         the same of one data set; wins over the unscoped one
  model.cluster.split_id         a param of Model() beside task and input
  schedule.train_executions_per_eval   a param of ProgramSchedule()
  BATCH                          a macro, used as %BATCH

or the end of a path, if only one path ends so. Files that the knobs imply come first,
then --gin_file in order, then --gin_bindings; the last binding of a name wins. Params
are set as often as Lingvo asks the experiment for them, after the code that derives
one value from another; everything is checked once, before any graph.
"""

from collections.abc import Sequence
from typing import Any

import gin

from fm_lingvo import errors
from fm_lingvo.config import bindings
from fm_lingvo.config import config_gin
from fm_lingvo.config import gin_reader
from fm_lingvo.config import knobs
from fm_lingvo.config import param_paths
from fm_lingvo.config import registry
from fm_lingvo.utils import suggest

GinError = errors.GinError
RewriteGinArgs = gin_reader.RewriteGinArgs

_config: '_Config | None' = None  # What Configure made last.


def Configure(
  model_name: str,
  gin_files: Sequence[str] = (),
  gin_bindings: Sequence[str] = (),
  search_paths: Sequence[str] = (),
) -> None:
  """Binds and checks the configuration of an experiment.

  After it, lingvo.model_registry gives this experiment's params as bound, until the
  next Configure or Reset. No TensorFlow graph is made.

  Args:
    model_name: Name of an experiment, e.g. `asr.BestRqPretrain`.
    gin_files: Names of Gin files; later ones win.
    gin_bindings: Texts of Gin bindings; applied after the files.
    search_paths: Folders to look for Gin files in.

  Raises:
    GinError: Anything wrong; the message is one line. Nothing stays bound then.
  """
  global _config
  Reset()
  try:
    _config = _Config(model_name)
    _config.Read(gin_files, gin_bindings, search_paths)
    _config.Resolve()
    registry.ReplaceClass(model_name, _config.BoundClass)
    _config.paths.CheckApplied(_config.BoundTrees())
    gin.finalize()
  except BaseException:
    Reset()
    raise


def Reset() -> None:
  """Takes every binding back; experiments have their defaults again."""
  global _config
  if _config is not None:
    registry.ReplaceClass(_config.model_name)
  _config = None
  gin.clear_config()


def Overrides() -> list[tuple[str, Any, str]]:
  """What the user set to another value than it would have had.

  Returns:
    List of (path, value, source), knobs first; source is `file:line` or the flag.
  """
  if _config is None:
    return []
  settings = [*_config.knobs.settings.values(), *_config.paths.settings.values()]
  return [(s.name, s.value, s.binding.place) for s in settings if s.binding and s.binding.user and s.changed]


def ConfigText(model_name: str, reference: bool = True) -> str:
  """The text of config.gin, which replays the run.

  `trainer --model=NAME --gin_file=config.gin` with this text gives the same params,
  by the same code. See config_gin.

  Args:
    model_name: The model that Configure configured.
    reference: Whether to list, as comments, every param that was not bound.

  Raises:
    GinError: Configure has not been called for this model.
  """
  if _config is None or _config.model_name != model_name:
    raise GinError(f'--model={model_name}: not configured; call Configure first')
  return config_gin.ConfigText(
    model_name, _config.knobs, _config.paths, _config.macros, _config.BoundTrees() if reference else {}
  )


class _Config:
  """One experiment and everything that binds it."""

  def __init__(self, model_name: str) -> None:
    self.model_name = model_name
    self.knobs = knobs.Knobs(model_name)
    self.paths: Any = None  # param_paths.Paths, once Resolve found them.
    self.macros: Any = None  # bindings.Macros, once Read.
    self._datasets = registry.DatasetNames(model_name)
    self._bindings: list[bindings.Binding] = []

  def Read(self, gin_files: Sequence[str], gin_bindings: Sequence[str], search_paths: Sequence[str]) -> None:
    """Reads the user's text, binds the knobs, reads the files that they imply."""
    reader = gin_reader.Reader(search_paths)
    for name in gin_files:
      reader.ReadFile(name)
    for text in gin_bindings:
      reader.ReadText(text)
    files = self.knobs.Bind(reader.bindings, bindings.Macros(reader.bindings))
    implied = gin_reader.Reader(search_paths, user=False)
    for name in files:
      if implied.Find(name) is None:
        raise self.knobs.MissingFile(name)
      implied.ReadFile(name)
    self._bindings = implied.bindings + reader.bindings
    self.macros = bindings.Macros(self._bindings)
    again = self.knobs.Bind(self._bindings, self.macros)
    if again != files:
      raise GinError(
        f'{", ".join(map(gin_reader.Shown, files))}: binds the knob that '
        'chose it, which would now choose '
        f'{", ".join(map(gin_reader.Shown, again))}'
      )

  def Resolve(self) -> None:
    """Builds the params without bindings and finds each bound path in them."""
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
    """param_paths.Trees with every binding set."""
    return param_paths.Trees(self.model_name, registry.ModelClass(self.model_name), self._datasets)

  def BoundClass(self, registered: Any) -> type:
    """Subclass of Lingvo's registered class that gives bound params.

    Args:
      registered: The class that Lingvo's registry has for the experiment.
    """
    config = self

    class Bound(registered):
      """An experiment with its configuration."""

      def Task(self) -> Any:
        return config.paths.Apply(super().Task(), 'task')

      def Model(self) -> Any:
        return config.paths.Apply(super().Model(), 'model')

      def ProgramSchedule(self) -> Any:
        return config.paths.Apply(super().ProgramSchedule(), 'schedule')

      # Not each data set's method: one may call another, whose own bindings are not
      # its caller's.
      def GetDatasetParams(self, dataset: str) -> Any:
        params = super().GetDatasetParams(dataset)
        if dataset in config._datasets:
          return config.paths.Apply(params, 'input', dataset)
        return params

    Bound.__name__ = registered.__name__
    Bound.__qualname__ = registered.__qualname__
    return Bound

  def _OrphanError(self, orphan: Any) -> errors.GinError:
    """GinError of a macro that nothing uses, often a path without its beginning."""
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
