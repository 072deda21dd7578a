"""The documentation site: the reference, made from the code, and the hooks of MkDocs; `make docs` serves it."""
