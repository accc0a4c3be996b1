"""One module per experiment: ``figures(dataset)`` gives its figures by name; they are drawn from stored data alone."""

import importlib
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import matplotlib.style
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..claims import exponent

_STYLE = Path(__file__).with_name("paper.mplstyle")


@contextmanager
def style() -> Iterator[None]:
    """The look of every figure."""
    with mpl.style.context(["default", _STYLE]):
        yield


def draw(experiment: str, dataset: xr.Dataset, folder: Path) -> dict[str, Path]:
    """Draw an experiment's figures from its assembled data as PNG and PDF; returns figure name → PNG.

    The same data give the same bytes (with the same matplotlib): no date, no version in the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # It warns that the fonts of matplotlib carry an old date, once for each figure.
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    paths = {}
    with style():
        figures: dict[str, Figure] = importlib.import_module(f"{__name__}.{experiment}").figures(dataset)
        for name, figure in figures.items():
            paths[name] = folder / f"{name}.png"
            figure.savefig(paths[name], metadata={"Software": None})
            figure.savefig(folder / f"{name}.pdf", metadata={"Creator": None, "Producer": None, "CreationDate": None})
    return paths


def trend(axes: Axes, widths: Sequence[int], values: Sequence[float], theory: float) -> None:
    """Values against n on logarithmic axes, their fitted exponent, and the theory's line through the middle one."""
    fitted = exponent(widths, values, [1] * len(widths))
    label = f"fit $n^{{{fitted:.2f}}}$" if math.isfinite(fitted) else None
    axes.loglog(widths, values, "o", color="black", ms=4, label=label)
    middle = len(widths) // 2
    line = values[middle] * (np.asarray(widths) / widths[middle]) ** theory
    axes.loglog(widths, line, "--", color="gray", lw=0.8, label=f"$n^{{{theory:g}}}$")
