"""The figures of the benchmark, of the tables that it has."""

from typing import Any

from matplotlib.figure import Figure

from . import width, work_precision

TABLES = {"revealed": width.figures, "precision": work_precision.figures}
"""Table → what draws it."""


def figures(content: dict[str, Any]) -> dict[str, Figure]:
    """width and work_precision; content: what ``python scripts/benchmark.py --json FILE`` writes."""
    return {
        name: figure
        for table, draw in TABLES.items()
        if table in content["tables"]
        for name, figure in draw(content).items()
    }
