"""Parts of tools.score: files of references and hypotheses, and the report."""
