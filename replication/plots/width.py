"""Time and memory of an NTK against the width, with revealed and with dense weights, from ``scripts/benchmark.py``."""

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .palette import BLUE, RED

STYLES = {"revealed": ("o-", BLUE), "dense": ("s-", RED)}
HIDDEN = 2
"""Number of n × n matrices in the benchmark's network. An entry has 4 bytes."""


def figures(content: dict[str, Any]) -> dict[str, Figure]:
    """width: seconds and peak memory of drawing [2, n, n, n, 1] and computing its NTK at initialization.

    content: the file of ``python scripts/benchmark.py revealed --json FILE``.
    """
    figure = Figure(figsize=(8.4, 3.3))
    rows, machine = content["tables"]["revealed"]["rows"], content["machine"]
    largest = math.sqrt(machine["GiB"] * 2**30 / (4 * HIDDEN))
    for axes, unit in zip(figure.subplots(1, 2), ("s", "MiB"), strict=True):
        for name, (style, color) in STYLES.items():
            points = [(row["n"], row[f"{name} {unit}"]) for row in rows if row[f"{name} {unit}"] != "–"]
            axes.loglog(*zip(*points, strict=True), style, color=color, ms=4, lw=0.9, label=f"{name} weights")
        _through(axes, rows[-1]["n"], rows[-1][f"revealed {unit}"], 1, 100)
        dense = [row for row in rows if row[f"dense {unit}"] != "–"]
        _through(axes, dense[-1]["n"], dense[-1][f"dense {unit}"], 2, 10)
        axes.axvline(largest, color=RED, lw=0.9, ls=":", label=f"dense weights fill {machine['GiB']:.0f} GiB")
        axes.set(xlabel="width $n$")
        axes.legend(fontsize=7, loc="upper left")
    fitted = {unit: rows[-1][f"exponent({unit})"] for unit in ("s", "MiB")}
    names = {"s": "seconds", "MiB": "peak memory (MiB)"}
    for axes, unit in zip(figure.axes, fitted, strict=True):
        label = f", revealed: $n^{{{fitted[unit]:.2f}}}$" if fitted[unit] != "–" else ""
        axes.set(title=names[unit] + label)
        low, high = axes.get_ylim()
        axes.set_ylim(low, 30 * high)
    return {"width": figure}


def _through(axes: Axes, n: float, value: float, power: int, span: float) -> None:
    """The line ∝ n^power that ends at a point."""
    axes.loglog([n / span, n], [value / span**power, value], "--", color="gray", lw=0.8, label=f"$n^{power}$")
