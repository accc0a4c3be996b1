"""What ``scripts/benchmark.py`` measures: a module per subject, each with functions that give the rows of a table."""

import process  # noqa: F401 (this checkout's library comes first)
