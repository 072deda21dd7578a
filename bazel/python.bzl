"""Repository rule that makes a toolchain of the active Python: an activated environment, or .venv of `make env`."""

_CHECK = "import importlib.util as u, sys; print(sys.executable); sys.exit(not (u.find_spec('lingvo') and u.find_spec('tensorflow')))"

_BUILD = """
load("@bazel_tools//tools/python:toolchain.bzl", "py_runtime_pair")

py_runtime(
    name = "runtime",
    interpreter_path = "{python}",
    python_version = "PY3",
)

py_runtime_pair(
    name = "pair",
    py3_runtime = ":runtime",
)

toolchain(
    name = "toolchain",
    toolchain = ":pair",
    toolchain_type = "@bazel_tools//tools/python:toolchain_type",
)
"""

def _active_python_impl(ctx):
    workspace = str(ctx.path(Label("//:WORKSPACE")).dirname)
    active = ctx.which("python3")
    tried = []
    for path in [active, workspace + "/.venv/bin/python"]:
        if not path:
            continue
        run = ctx.execute([path, "-c", _CHECK], timeout = 60)
        if run.return_code == 0:
            ctx.file("BUILD", _BUILD.format(python = run.stdout.strip()))
            return
        tried.append(str(path))
    fail("no Python with lingvo and tensorflow: run `make env`, or activate an environment with requirements.txt; tried " +
         (", ".join(tried) or "nothing"))

active_python = repository_rule(
    implementation = _active_python_impl,
    # `configure`: found again after `bazel sync --configure`; these variables: whenever they change.
    configure = True,
    environ = ["PATH", "VIRTUAL_ENV"],
    local = True,
)
