"""One module for each experiment. ``figures(dataset)`` returns its figures by name, drawn from stored data alone.

A short experiment draws its figures in its own file instead (``Experiment.figures``).
"""

import importlib
import io
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from ..experiments import available, load
from ..study.guide import Numbers, statistic
from ..study.statistics import exponent, silent
from ..study.store import write_file

_STYLE = Path(__file__).with_name("paper.mplstyle")
_COLORS = 128
"""Colours of a PNG: a third of the bytes. Maximum coverage keeps the colours of thin lines, which median cut mixes."""
_PDF = {"Creator": None, "Producer": None, "CreationDate": None}
_decided: ContextVar[Numbers] = ContextVar("decided", default={})  # noqa: B039, never changed


@contextmanager
def style() -> Iterator[None]:
    """The look of every figure."""
    with mpl.style.context(["default", _STYLE]):
        yield


def draw(experiment: str, dataset: Any, folder: Path, decided: Numbers | None = None) -> dict[str, Path]:
    """Draw an experiment's figures from its assembled data, or a benchmark's, as PNG and PDF; figure name → PNG.

    decided: what its claims found, which the figures say too. The same data give the same bytes (with the same
    matplotlib): no date, no version in the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Otherwise fontTools warns, once for each figure, that matplotlib's fonts have an old date.
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    paths = {}
    token = _decided.set(decided or {})
    try:
        with style(), silent():
            own = load(experiment) if experiment in available() else importlib.import_module(f"{__name__}.{experiment}")
            figures: dict[str, Figure] = own.figures(dataset)
            for name, figure in figures.items():
                paths[name] = folder / f"{name}.png"
                write_file(paths[name], _png(figure))
                figure.set_layout_engine("none")  # the axes stay where the first drawing put them
                content = io.BytesIO()
                figure.savefig(content, format="pdf", metadata=_PDF)
                write_file(paths[name].with_suffix(".pdf"), content.getvalue())
    finally:
        _decided.reset(token)
    return paths


def _png(figure: Figure) -> bytes:
    """The figure as a PNG with a palette."""
    drawn, content = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", pil_kwargs={"compress_level": 1})
    image = Image.open(drawn).convert("RGB")
    reduced = image.quantize(_COLORS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    reduced.save(content, "PNG", optimize=True)
    return content.getvalue()


def interactive(preset: str, dataset: Any) -> dict[str, Any] | None:
    """The data of a preset's plot with a slider (see report.js); None if it has none."""
    if preset not in ("fig1", "fig3"):
        return None
    plot: dict[str, Any] = importlib.import_module(f"{__name__}.{preset}").interactive(dataset)
    return plot


def rounded(values: np.ndarray, digits: int = 4) -> list[float | None]:
    """Numbers of a curve for JSON, to this many significant digits; None for a number that is not finite."""
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in values]


Measure = Callable[[np.ndarray], float]
"""A positive number of a group of networks, (seeds, …)."""


def trend(
    axes: Axes, widths: Sequence[int], groups: Sequence[np.ndarray], measure: Measure, theory: float, claimed: str = ""
) -> None:
    """Log–log plot of a measure of the networks of each width: its exponent, and a line with the theory's exponent."""
    label = power_law(widths, groups, measure, claimed)
    values = points(axes, widths, groups, measure, color="black", label=f"fit {label}" if label else None)
    middle = len(widths) // 2
    line = values[middle] * (np.asarray(widths) / widths[middle]) ** theory
    axes.loglog(widths, line, "--", color="gray", lw=0.8, label=f"$n^{{{theory:g}}}$")


def points(
    axes: Axes,
    widths: Sequence[int],
    groups: Sequence[np.ndarray],
    measure: Measure,
    *,
    color: str,
    label: str | None,
    style: str = "o",
) -> list[float]:
    """A measure of the networks of each width, on logarithmic axes; returns the values."""
    values = [measure(group) for group in groups]
    axes.loglog(widths, values, style, color=color, ms=4, lw=0.8, label=label)
    return values


def power_law(widths: Sequence[int], groups: Sequence[np.ndarray], measure: Measure, claimed: str = "") -> str:
    """An exponent in the width: with half its interval, what a claim found; else that of the values that are shown.

    claimed: ``claim:words`` names the statistic of a claim whose title begins with these words. "" for one width.
    """
    found = statistic(_decided.get(), claimed) if claimed else None
    if found is None:
        value = exponent(widths, [measure(group) for group in groups], [len(group) for group in groups])
        return f"$n^{{{value:.2f}}}$" if math.isfinite(value) else ""
    estimate, low, high = found
    if estimate is None:
        return ""
    error = rf" \pm {(high - low) / 2:.2f}" if low is not None and high is not None else ""
    return f"$n^{{{estimate:.2f}{error}}}$"
