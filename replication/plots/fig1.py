"""Figure 1 of the paper, and the figures behind its claims."""

import math
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from ..experiments.fig1.claims import ALIKE
from ..experiments.fig1.statistics import change, initial_kernels, roughness, spread
from ..study.experiment import select
from . import rounded, trend
from .palette import BLUE, ORANGE, PURPLE, RED, TEAL

COLORS = (RED, BLUE, TEAL, PURPLE)


def figures(dataset: xr.Dataset) -> dict[str, Figure]:
    """fig1: the paper's figure; fig1_widths: spread, smoothness, change against n; fig1_choices: open choices."""
    return {"fig1": _kernels(dataset), "fig1_widths": _widths(dataset), "fig1_choices": _choices(dataset)}


def interactive(dataset: xr.Dataset) -> dict[str, Any]:
    """A slider over the widths: up to ten kernels at t = 0 and at the end of training, and the limit."""
    limit = rounded(dataset.theta_inf.values[0])
    end = f"t = {dataset.time.values[-1]:g}"
    steps: list[dict[str, Any]] = []
    widths = sorted({*dataset.attrs["widths"], *dataset.attrs["trend"], *dataset.attrs["initial"]})
    for width in widths:
        networks = dataset.isel(network=dataset.width.values == width)
        curves: list[dict[str, Any]] = []
        for i, name, look in ((0, "t = 0", {"color": BLUE}), (-1, end, {"color": RED, "dash": "4 3"})):
            wanted = ("initial", "main") if i == 0 else ("trend", "main")
            kernels = networks.theta.values[np.isin(networks.variant.values, wanted), i]
            curves += [{"name": name, "y": rounded(kernel), **look} for kernel in kernels[:10]]
        curves.append({"name": "limit", "color": "#000", "width": 2, "y": limit})
        steps.append({"name": f"n = {width}", "curves": curves})
    return {
        "label": "The NTK on the circle for the chosen width",
        "slider": "Width",
        "caption": "Figure 1 for any width: up to ten networks at t = 0 (blue) and after training (red, dashed), "
        "and the limit (black). Move the slider; point at the plot for values.",
        "x": rounded(dataset.angle.values),
        "x_label": "γ",
        "y_label": "Θ(x₀, x(γ))",
        "limits": [-math.pi, math.pi, 0.0, 0.5],
        "start": widths.index(dataset.attrs["widths"][0]),
        "steps": steps,
    }


def _kernels(dataset: xr.Dataset) -> Figure:
    figure = Figure(figsize=(5.6, 3.9))
    axes = figure.subplots()
    times = dataset.time.values
    handles = []
    # The widest network is drawn last, so that its narrow bundle stays visible.
    for color, width in zip(COLORS, dataset.attrs["widths"], strict=False):
        drawn = select(dataset, variant="main", width=width)
        drawn = drawn.isel(network=np.isin(drawn.seed.values, dataset.attrs["seeds"]))
        for i, line in ((0, "-"), (1, ":")):
            for curve in drawn.theta.values[:, i]:
                axes.plot(dataset.angle, curve, line, color=color, lw=0.8, alpha=0.7)
            handles.append(Line2D([], [], color=color, ls=line, label=f"$n = {width}$, $t = {times[i]:g}$"))
    (limit,) = axes.plot(dataset.angle, dataset.theta_inf[0], color="black", lw=0.8)
    limit.set_label(rf"limit $\Theta_\infty^{{({dataset.depth.values[0]})}}$")
    axes.set(xlabel=r"$\gamma$", ylabel=rf"$\Theta^{{({dataset.depth.values[0]})}}(x_0, x(\gamma))$")
    axes.set(xlim=(-math.pi, math.pi), ylim=(0.05, 0.40))
    axes.set_xticks([-3, -2, -1, 0, 1, 2, 3])
    axes.legend(handles=[*handles, limit], loc="upper left")
    return figure


def _widths(dataset: xr.Dataset) -> Figure:
    figure = Figure(figsize=(8.4, 3.0))
    left, middle, right = figure.subplots(1, 3)
    limit, angles = dataset.theta_inf.values[0], dataset.angle.values
    widths = sorted({*dataset.attrs["widths"], *dataset.attrs["initial"]})
    trained = sorted({*dataset.attrs["widths"], *dataset.attrs["trend"]})
    kernels = {width: initial_kernels(dataset, width) for width in widths}

    trend(left, widths, [kernels[width] for width in widths], spread, -0.5, "fig1.variance:exponent of sd")
    left.set(title="variance at $t = 0$", ylabel=r"sd of $\Theta$ over networks (rms over $\gamma$)")

    rough = roughness(limit, angles)
    ratios = [rough(kernels[width]) / spread(kernels[width]) for width in widths]
    middle.loglog(widths, ratios, "o", color="black", ms=4)
    middle.set(title="smoothness at $t = 0$", ylabel=r"rms slope of $\Theta - \Theta_\infty$ ÷ sd")
    middle.set_yticks([0.5, 1, 2, 4], labels=["0.5", "1", "2", "4"])
    middle.set_ylim(0.4, 5)
    middle.yaxis.set_minor_formatter(NullFormatter())

    changes, claimed = [change(dataset, width) for width in trained], "fig1.inflation_width:exponent of change"
    trend(right, trained, changes, lambda values: float(values.mean()), -1.0, claimed)
    control = select(dataset, variant="mean_field")
    sizes = sorted({int(width) for width in control.width})
    moved = [float(change(dataset, width, "mean_field").mean()) for width in sizes]
    right.loglog(sizes, moved, "x", color=ORANGE, ms=5, label="mean-field scaling")
    right.set(title=f"change to $t = {dataset.time.values[-1]:g}$")
    right.set_ylabel(r"sup$_\gamma|\Theta_t - \Theta_0|$ ÷ sup$_\gamma|\Theta_0|$")
    for axes in (left, middle, right):
        axes.set_xlabel("width $n$")
        axes.set_xticks([100, 1000, 10000], labels=["100", "1000", "10000"])
        axes.set_xlim(min(widths) / 1.4, max(widths) * 1.4)
        axes.xaxis.set_minor_formatter(NullFormatter())
    left.legend()
    right.legend(loc="lower left")
    return figure


def _choices(dataset: xr.Dataset) -> Figure:
    narrow, wide = dataset.attrs["widths"][0], dataset.attrs["widths"][-1]
    groups = {f"as in Figure 1 ($n = {narrow}$)": select(dataset, variant="main", width=narrow)}
    groups |= {name.replace("_", " "): select(dataset, variant=name) for name in dataset.attrs["alternatives"]}
    groups[f"$n = {wide}$"] = select(dataset, variant="main", width=wide)
    figure = Figure(figsize=(5.6, 0.7 + 0.36 * len(groups)))
    axes = figure.subplots()
    for row, group in enumerate(groups.values()):
        at_x_0 = group.theta.sel(angle=0).values
        inflation = at_x_0[:, -1] / at_x_0[:, 0]
        axes.plot(inflation, np.full(len(inflation), row), "|", color=BLUE, ms=9, alpha=0.6)
        axes.plot(inflation.mean(), row, "o", color="black", ms=5, zorder=3)
    axes.axvline(1, color="gray", lw=0.8)
    main = next(iter(groups.values())).theta.sel(angle=0).values
    growth = (main[:, -1] / main[:, 0]).mean() - 1
    label = f"criterion: {ALIKE[0]:g} to {ALIKE[1]:g} times the growth of Figure 1"
    axes.axvspan(*(1 + factor * growth for factor in ALIKE), color="gray", alpha=0.15, lw=0, label=label)
    axes.set_yticks(range(len(groups)), labels=list(groups))
    axes.invert_yaxis()
    axes.set_xlabel(rf"$\Theta_t(x_0, x_0) / \Theta_0(x_0, x_0)$ at $t = {dataset.time.values[-1]:g}$ (dot: mean)")
    axes.legend(loc="lower right")
    return figure
