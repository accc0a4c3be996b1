"""Figure 3 of the paper, and the figures behind its claims."""

import math
from typing import Any

import numpy as np
import torch
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter
from scipy.integrate import cumulative_trapezoid

from ..experiments.fig3.statistics import (
    Measure,
    cancelled,
    distance,
    drawn,
    early,
    half_times,
    largest_h,
    largest_rates,
    limit_curve,
    predict,
    predicted,
    trained,
)
from ..mnist import SIDE, digits_at
from ..study.experiment import select
from ..study.statistics import geometric
from . import points, rounded, trend
from .palette import BLUE, MANY, ORANGE, PURPLE, RED, TEAL

COLORS = (RED, TEAL, BLUE, PURPLE)
CLASSES = ("black", *MANY)
PAPER_GAP = 0.0457 / 0.00108
"""λ_1/λ_2 in the paper (§6.3)."""
TWENTIETH = 20
"""The course of one network is shown until so small a part of its way is left."""
THUMBNAIL = 0.2
"""Side of a thumbnail in inches."""


def figures(dataset: xr.Dataset) -> dict[str, Figure]:
    """fig3: the paper's figure; fig3_statistics: trends with n, and λ_1/λ_2; fig3_speed: why ‖g‖ falls faster."""
    return {"fig3": _paper(dataset), "fig3_statistics": _statistics(dataset), "fig3_speed": _speed(dataset)}


def _paper(dataset: xr.Dataset) -> Figure:
    figure = Figure(figsize=(8.4, 5.4))
    grid = figure.add_gridspec(2, 2, width_ratios=(1.75, 1))
    _thumbnails(figure.add_subplot(grid[:, 0]), dataset)
    for axes, panel in ((figure.add_subplot(grid[0, 1]), "b"), (figure.add_subplot(grid[1, 1]), "c")):
        _curves(axes, dataset, panel)
    return figure


def interactive(dataset: xr.Dataset) -> dict[str, Any]:
    """A slider over the time: ‖h_t‖ and ‖g_t‖ of the drawn networks, and ‖g_t‖ of the limit."""
    curves: list[dict[str, Any]] = []
    values: list[tuple[int, np.ndarray, np.ndarray]] = []
    for color, width in zip(COLORS, dataset.attrs["widths"], strict=False):
        for network in range(drawn(dataset, width).sizes["network"]):
            one = drawn(dataset, width).isel(network=network)
            g, h = np.abs(one.g.values), one.h.values
            curves.append({"name": f"‖g‖, n = {width}", "color": color, "y": rounded(g, 3)})
            curves.append({"name": f"‖h‖, n = {width}", "color": color, "dash": "4 3", "y": rounded(h, 3)})
            if network == 0:
                values.append((width, g, h))
    limit = limit_curve(dataset)
    curves.append({"name": "‖g‖, limit", "color": "#000", "width": 2, "y": rounded(limit, 3)})
    steps = []
    for i in range(0, dataset.sizes["t"], 4):
        parts = [f"n = {width}: ‖g‖ = {g[i]:.3f}, ‖h‖ = {h[i]:.3f}" for width, g, h in values]
        t = float(dataset.t.values[i])
        text = " · ".join([*parts, f"limit: ‖g‖ = {limit[i]:.3f}"])
        steps.append({"name": f"t = {t:g}", "mark": t, "text": text})
    return {
        "label": "What is left of the way and the distance from the straight line, against time",
        "slider": "Time",
        "caption": "Figure 3 (b, c) in one plot: what is left of the way along the component, ‖g‖ (solid), and the "
        "distance from the straight line, ‖h‖ (dashed), with the limit in black. The slider reads them at a time.",
        "x": rounded(dataset.t.values, 6),
        "x_label": "t",
        "y_label": "norm on the data",
        "limits": [0.0, float(dataset.t.values[-1]), 0.0, float(dataset.attrs["training"]["goal"])],
        "curves": curves,
        "steps": steps,
    }


def plane(dataset: xr.Dataset) -> np.ndarray:
    """f⁽²⁾ and f⁽³⁾ of each digit, (digits, 2), with the longer tail of each to the left, as in the paper."""
    points: np.ndarray = dataset.functions.values[1:3].T.astype(float)
    flipped: np.ndarray = points * np.where(points.max(axis=0) > -points.min(axis=0), -1.0, 1.0)
    return flipped


def _thumbnails(axes: Axes, dataset: xr.Dataset) -> None:
    """Digits as small images; a digit that would overlap another one is a dot."""
    points, labels = plane(dataset), dataset.labels.values
    data = dataset.attrs["data"]
    images = digits_at(
        torch.from_numpy(dataset.indices.values.astype(np.int64)), path=data["path"], name=data.get("name", "mnist")
    ).images.numpy()
    low, high = points.min(axis=0) - 0.2, points.max(axis=0) + 0.2
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    side = (high - low) * THUMBNAIL / np.array([4.9, 4.9])  # the size of the axes, in inches
    shown: list[int] = []
    for i, point in enumerate(points):
        if all((np.abs(point - points[j]) > 0.8 * side).any() for j in shown):
            shown.append(i)
    hidden = np.setdiff1d(np.arange(len(points)), shown)
    colors = [CLASSES[label] for label in labels]
    axes.scatter(points[hidden, 0], points[hidden, 1], s=4, c=[colors[i] for i in hidden], alpha=0.35, lw=0)
    for i in shown:
        rgba = np.ones((SIDE, SIDE, 4))
        rgba[..., :3] = to_rgb(colors[i])
        rgba[..., 3] = images[i].reshape(SIDE, SIDE)
        (x, y), (w, h) = points[i], side / 2
        axes.imshow(rgba, extent=(x - w, x + w, y - h, y + h), aspect="auto", interpolation="antialiased", zorder=2)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel=r"$f^{(2)}(x)$", ylabel=r"$f^{(3)}(x)$")
    present = sorted(set(labels.tolist()))
    handles = [Line2D([], [], ls="", marker="s", ms=6, color=CLASSES[label], label=str(label)) for label in present]
    axes.legend(handles=handles, ncols=2, loc="lower left", handletextpad=0.1, columnspacing=1.0)
    axes.set_title("(a)", loc="left")


def _curves(axes: Axes, dataset: xr.Dataset, panel: str) -> None:
    for color, width in zip(COLORS, dataset.attrs["widths"], strict=False):
        networks = drawn(dataset, width)
        curves = networks.h.values if panel == "b" else np.abs(networks.g.values)
        for i, curve in enumerate(curves):
            axes.plot(dataset.t, curve, color=color, lw=0.9, label=None if i else f"$n = {width}$")
    if panel == "b":
        axes.set(ylim=(0, 0.14), ylabel=r"$\|h_t\|_{p^{in}}$")
    else:
        axes.plot(dataset.t, limit_curve(dataset), "k--", lw=0.9, label=r"$n = \infty$")
        axes.set(ylim=(0, dataset.attrs["training"]["goal"]), ylabel=r"$\|g_t\|_{p^{in}}$")
    axes.set(xlim=(0, dataset.t.values[-1]), xlabel="$t$")
    axes.set_title(f"({panel})", loc="left")
    axes.legend(loc="upper right")


def _statistics(dataset: xr.Dataset) -> Figure:
    figure = Figure(figsize=(8.4, 5.4))
    (straight, limit, half), (values, components, rates) = figure.subplots(2, 3)
    _against_width(straight, dataset, largest_h, -0.5, "fig3.straight:exponent of max‖h‖")
    straight.set(ylabel=r"max$_t\|h_t\|$", title="distance from the straight line")
    claimed = "fig3.limit:exponent of sup|‖g‖ − limit|"
    _against_width(limit, dataset, lambda networks: distance(dataset, networks), -1.0, claimed)
    limit.set(ylabel=r"sup$_t\,|\|g_t\| - $limit$|$", title="distance from the limit curve")
    _against_width(half, dataset, half_times, None, "")
    half.axhline(math.log(2) / float(dataset.eigenvalues_inf[1]), color="gray", lw=0.8, ls="--", label="limit")
    half.set(ylabel=r"time to $\|g_0\|/2$", title="speed along $f^{(2)}$")
    half.legend()
    _gaps(values, dataset)
    for i, color in enumerate(("black", BLUE, ORANGE)):
        missing = 1 - np.square(dataset.overlap.values[:, i].astype(float))
        components.loglog(dataset.width, missing, ".", color=color, ms=3, alpha=0.6, label=f"$i = {i + 1}$")
    components.set(ylabel=r"$1 - \langle f^{(i)}, f_\infty^{(i)}\rangle^2$", title="principal components")
    components.legend()
    _rates(rates, dataset)
    for axes in (straight, limit, half, components, rates):
        axes.set_xlabel("width $n$")
        axes.set_xticks([100, 1000, 10000], labels=["100", "1000", "10000"])
        axes.xaxis.set_minor_formatter(NullFormatter())
    return figure


def _against_width(axes: Axes, dataset: xr.Dataset, measure: Measure, theory: float | None, claimed: str) -> None:
    """Networks as dots, geometric means with their fitted exponent, and the prediction for wider networks."""
    widths = [width for width in dataset.attrs["trend"] if trained(dataset, width).sizes["network"]]
    beyond = predicted(dataset)
    for width in [*widths, *beyond]:
        values = measure(drawn(dataset, width) if width in beyond else trained(dataset, width))
        axes.loglog([width] * len(values), values, ".", color=BLUE, ms=3, alpha=0.5)
    groups = [measure(trained(dataset, width)) for width in widths]
    if theory is not None and widths:
        trend(axes, widths, groups, geometric, theory, claimed)
        axes.legend(loc="lower left")
    elif widths:
        points(axes, widths, groups, geometric, color="black", label=None)
    for width in beyond if theory is not None else ():
        prediction = predict(dataset, measure, width)
        if math.isfinite(prediction.log):
            ends = [math.exp(prediction.log + sign * prediction.half_width) for sign in (-1, 1)]
            axes.plot([width, width], ends, "-", color=ORANGE, lw=5, alpha=0.4, zorder=0)
    axes.set_xlim(60, 18000)


def _gaps(axes: Axes, dataset: xr.Dataset) -> None:
    """λ_1/λ_2 of the limit kernels of batches: as in the paper, centred, and with the β of footnote 3."""
    own, other = dataset.attrs["network"]["beta"], dataset.attrs["beta"]
    kernels = {
        rf"$\beta = {own:g}$": dataset.limit_eigenvalues.values,
        "centred": dataset.limit_eigenvalues_centred.values,
        rf"$\beta = {other:g}$": dataset.limit_eigenvalues_beta.values,
    }
    for i, values in enumerate(kernels.values()):
        axes.semilogy([i] * len(values), values[:, 0] / values[:, 1], "_", color=BLUE, ms=8)
    axes.axhline(PAPER_GAP, color="black", lw=0.8, label="paper")
    axes.set_xticks(range(len(kernels)), labels=list(kernels))
    axes.set(
        ylabel=r"$\lambda_1/\lambda_2$",
        title=r"$\lambda_1/\lambda_2$ of limit kernels",
        xlim=(-0.5, len(kernels) - 0.5),
    )
    axes.legend(loc="upper left")


def _rates(axes: Axes, dataset: xr.Dataset) -> None:
    for width in dataset.attrs["rates"]:
        chosen = select(dataset, kind="rates", rates_width=width)
        for factor, values, marker, color, label in (
            (0.95, chosen.rates_bound_0, "x", "gray", r"$2/\lambda_1(0)$"),
            (1.0, chosen.rates_bound, "_", "black", r"$2/\max_t\lambda_1(t)$"),
            (1.05, largest_rates(dataset, width), ".", BLUE, "largest rate"),
        ):
            first = width == dataset.attrs["rates"][0]
            axes.loglog([factor * width] * len(values), values, marker, color=color, label=label if first else None)
    axes.set(ylabel="learning rate", title="monotone descent", xlim=(60, 18000))
    axes.set_yticks([10, 20, 50], labels=["10", "20", "50"])
    axes.yaxis.set_minor_formatter(NullFormatter())
    if dataset.attrs["rates"]:
        axes.legend(loc="lower right")


def _speed(dataset: xr.Dataset) -> Figure:
    figure = Figure(figsize=(8.4, 3.0))
    bars, course, undone = figure.subplots(1, 3)
    widths = [n for n in sorted({*dataset.attrs["widths"], *dataset.attrs["trend"]}) if _finite(dataset, n)]
    terms = {width: early(dataset, width) for width in widths}
    names = {"spread": "initial spread", "inflation": "inflation", "cross": "cross term", "error": "solver"}
    for k, (name, label) in enumerate(names.items()):
        for row, width in enumerate(widths):
            values = getattr(terms[width], name) / math.log(2)
            place = row + 0.2 * (k - 1.5)
            color = ("gray", RED, BLUE, "lightgray")[k]
            bars.bar(place, np.nanmean(values), 0.2, color=color, label=None if row else label)
            bars.plot([place] * len(values), values, "_", color="black", ms=3, lw=0.5, alpha=0.5)
    bars.axhline(0, color="black", lw=0.6)
    bars.set_xticks(range(len(widths)), labels=[str(width) for width in widths])
    bars.set(xlabel="width $n$", ylabel="integral to half-time ÷ ln 2", title="speed-up to half-time (bar: mean)")
    if widths:
        bars.legend()

    narrow = drawn(dataset, dataset.attrs["widths"][0]).isel(network=0)
    t, limit, left = dataset.t.values, float(dataset.eigenvalues_inf[1]), np.abs(narrow.g.values)
    # Integrals: the rates themselves have kinks at the solver's steps, where they are extrapolated anew.
    inflation = cumulative_trapezoid(narrow.rate.values - limit, t, initial=0.0)
    cross = cumulative_trapezoid(narrow.cross.values / narrow.g.values, t, initial=0.0)
    last = int(np.argmax(left < left[0] / TWENTIETH)) or len(t) - 1
    course.plot(t, inflation, color=RED, label=r"inflation, $\int \lambda_2(s) - \lambda_2^\infty\, ds$")
    course.plot(t, cross, color=BLUE, label="cross term")
    course.plot(t, inflation + cross, color="black", label=r"their sum, $\ln(\|g\|$ of the limit ÷ $\|g_t\|)$")
    course.set(xlim=(0, t[last]), xlabel="$t$", ylabel="gained on the limit by the time $t$")
    course.set_title(f"one network, $n = {dataset.attrs['widths'][0]}$")
    low, high = (
        np.nanmin([cross[: last + 1], inflation[: last + 1]]),
        np.nanmax([cross[: last + 1], inflation[: last + 1]]),
    )
    if math.isfinite(high - low) and high > low:
        course.set_ylim(low - 0.05 * (high - low), high + 0.5 * (high - low))
    course.legend(loc="upper left", fontsize=7)

    for window, color, label in (
        ((1.0, 0.5), TEAL, "to half-time"),
        ((0.1, 0.0), PURPLE, r"below a tenth"),
    ):
        for k, width in enumerate(widths):
            values = cancelled(trained(dataset, width), *window)
            undone.semilogx(
                [width] * len(values), values, ".", color=color, ms=3, alpha=0.6, label=None if k else label
            )
    undone.axhline(1, color="gray", lw=0.8, ls=":")
    undone.axhline(0, color="gray", lw=0.8, ls=":")
    undone.set(xlabel="width $n$", ylabel="part undone", ylim=(-0.2, 1.65))
    undone.set_title("inflation undone by the cross term")
    undone.set_xticks([100, 1000, 10000], labels=["100", "1000", "10000"])
    undone.xaxis.set_minor_formatter(NullFormatter())
    if widths:
        undone.legend(loc="upper right")
    return figure


def _finite(dataset: xr.Dataset, width: int) -> bool:
    """Whether all networks of a width reach half of ‖g_0‖."""
    networks = trained(dataset, width)
    return bool(networks.sizes["network"]) and bool(np.isfinite(half_times(networks)).any())
