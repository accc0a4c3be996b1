"""What an error costs by each solver, as ``scripts/benchmark.py precision`` says."""

from itertools import groupby
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .palette import BLUE, CYAN, RED, TEAL

STYLES = {
    "gradient flow, order 1": ("o-", BLUE),
    "gradient flow, order 2": ("s-", CYAN),
    "gradient descent": ("^-", RED),
    "DOP853": ("D-", TEAL),
}
REFERENCE = "reference"
ERRORS = {"error of f": "error of $f$", "error of Θ": r"relative error of $\Theta(x_0, x(\gamma))$"}
WORKS = {"s": "seconds", "products": r"products with an $n \times n$ matrix"}


def figures(content: dict[str, Any]) -> dict[str, Figure]:
    """work_precision: the errors of f and Θ at t = 200 against seconds and products, a column for each width.

    content: what ``python scripts/benchmark.py precision --json FILE`` writes.
    """
    rows = content["tables"]["precision"]["rows"]
    widths = list(dict.fromkeys(row["n"] for row in rows))
    kinds = [(error, work) for error in ERRORS for work in WORKS]
    figure = Figure(figsize=(2.6 * len(widths) + 1, 2.3 * len(kinds)))
    panels = figure.subplots(len(kinds), len(widths), squeeze=False, sharey="row")
    for (error, work), line in zip(kinds, panels, strict=True):
        for n, axes in zip(widths, line, strict=True):
            _curves(axes, [row for row in rows if row["n"] == n], error, work)
            axes.set_xlabel(WORKS[work])
        line[0].set_ylabel(ERRORS[error])
    for n, axes in zip(widths, panels[0], strict=True):
        axes.set_title(f"$n = {n}$")
    handles = {line.get_label(): line for axes in figure.axes for line in axes.get_lines()}
    figure.legend(list(handles.values()), list(map(str, handles)), loc="outside lower center", ncols=3)
    return {"work_precision": figure}


def _curves(axes: Axes, rows: list[dict[str, Any]], error: str, work: str) -> None:
    for solver, runs in groupby(rows, key=lambda row: row["solver"]):
        points = [(run[work], run[error]) for run in runs]
        if solver == REFERENCE:
            axes.axhline(points[0][1], color="gray", lw=0.8, ls=":", label="error of the reference")
        else:
            style, color = STYLES[solver]
            axes.loglog(*zip(*points, strict=True), style, color=color, ms=4, lw=0.9, label=solver)
    axes.set(xscale="log", yscale="log")
