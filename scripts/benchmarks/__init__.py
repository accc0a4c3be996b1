"""The benchmarks of ``scripts/benchmark.py``: one module for each subject, whose functions yield rows of a table."""

import process  # noqa: F401 (this checkout's library comes first)
