"""What ``scripts/benchmark.py`` measures: a module per subject, each with functions that give the rows of a table."""
