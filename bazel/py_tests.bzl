"""One py_test for every *_test.py of a package, so that a new test file is a Bazel target at once."""

def py_tests(deps = [], data = [], size = "large"):
    """Declares a py_test named as its file without .py, for every *_test.py of the calling package.

    Args:
      deps: py_library labels that every test gets.
      data: labels of files that every test gets.
      size: Bazel's test size, which sets the time limit ("large": 15 minutes).
    """
    for src in native.glob(["*_test.py"]):
        native.py_test(
            name = src[:-len(".py")],
            srcs = [src],
            data = data,
            python_version = "PY3",
            size = size,
            deps = deps,
        )
