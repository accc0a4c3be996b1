"""The benchmarks of ``scripts/benchmark.py``: one module for each subject, whose functions yield rows of a table."""
