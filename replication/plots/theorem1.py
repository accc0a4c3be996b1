"""Theorem 1: the distance of the NTK at initialization from its limit, against width, depth and unequal widths."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from ..experiments.theorem1.claims import (
    arrangements,
    bias,
    log_second_moment,
    on_diagonal,
    relative,
    second_moment,
    variance,
)
from ..experiments.theorem1.settings import GROUP
from ..study.experiment import select
from ..study.statistics import interval, rms
from . import points, power_law, trend
from .palette import BLUE, ORANGE, PURPLE, RED, TEAL

COLORS = (BLUE, RED, TEAL, PURPLE, ORANGE)
DISTANCE = "theorem1.convergence:exponent of ‖Θ − Θ_∞‖"


def figures(dataset: xr.Dataset) -> dict[str, Figure]:
    """theorem1: ‖Θ − Θ_∞‖ against n, for several σ, n_L = 3; theorem1_structure: bias, depth, unequal n_l."""
    return {"theorem1": _widths(dataset), "theorem1_structure": _structure(dataset)}


def _widths(dataset: xr.Dataset) -> Figure:
    figure = Figure(figsize=(9.2, 3.3))
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.5, 1, 1))
    widths = dataset.attrs["widths"]
    main = [select(dataset, variant="main", width=width) for width in widths]
    for width, networks in zip(widths, main, strict=True):
        values = np.sqrt(np.square(relative(networks)).mean(axis=1))[:40]
        left.loglog(np.full(len(values), width), values, "_", color=BLUE, ms=6, alpha=0.4)
    trend(left, widths, [relative(networks) for networks in main], rms, -0.5, f"{DISTANCE},")
    standard = [rms(networks.standard.values / networks.scale.values) / dataset.attrs["n_samples"] for networks in main]
    left.loglog(widths, standard, "x", color=ORANGE, ms=5, label="standard parametrization")
    left.set(xlabel="width $n$", ylabel=r"$\|\Theta - \Theta_\infty\| \div \|\Theta_\infty\|$", ylim=(2e-4, 1e3))
    left.set_title(f"$L = {dataset.attrs['network']['depth']}$, {dataset.attrs['network']['nonlinearity']}")
    left.legend(loc="upper right", fontsize=7)
    others = dataset.attrs["others"]
    for color, name in zip(COLORS, dataset.attrs["nonlinearities"], strict=False):
        kernels = [relative(select(dataset, variant=name, width=width)) for width in others]
        _fitted(middle, others, kernels, color, name, f"theorem1.nonlinearities:exponent of ‖Θ − Θ_∞‖ ({name})")
    middle.set(xlabel="width $n$", title="other nonlinearities")
    groups = [select(dataset, variant="outputs", width=width) for width in others]
    for color, label, samples, claimed in (
        (BLUE, "one output, less $\\Theta_\\infty$", [relative(group) for group in groups], "one output"),
        (RED, "two outputs", [group.off_diagonal.values / group.scale.values for group in groups], "two outputs"),
    ):
        _fitted(right, others, samples, color, label, f"theorem1.outputs:exponent of blocks of {claimed}")
    right.set(xlabel="width $n$", title="$n_L = 3$: the blocks of $\\Theta$ of")
    for axes in (middle, right):
        low, high = axes.get_ylim()
        line = 1.5 * low * (np.asarray(others) / others[-1]) ** -0.5
        axes.loglog(others, line, "--", color="gray", lw=0.8, label="$n^{-0.5}$")
        axes.set_ylim(low, high * (high / low) ** 0.35)
        axes.legend(fontsize=7, loc="upper right")
    return figure


def _fitted(axes: Axes, widths: list[int], groups: list[np.ndarray], color: str, label: str, claimed: str) -> None:
    label = f"{label}: {power_law(widths, groups, rms, claimed)}"
    points(axes, widths, groups, rms, color=color, label=label, style="o-")


def _structure(dataset: xr.Dataset) -> Figure:
    figure = Figure(figsize=(9.2, 3.1))
    left, middle, right = figure.subplots(1, 3)
    narrow = dataset.attrs["narrow"]
    groups = [relative(select(dataset, variant="narrow", width=width)) for width in narrow]
    trend(left, narrow, groups, bias, -1.0, "theorem1.bias:exponent of bias of Θ")
    left.loglog(narrow, [(GROUP * variance(group)) ** 0.5 for group in groups], "x", color=BLUE, ms=5, label="sd")
    left.set(xlabel="width $n$", title=r"bias of $\Theta$, narrow networks")
    left.set_xticks(narrow, labels=[str(width) for width in narrow])
    left.xaxis.minorticks_off()
    left.legend(fontsize=7)
    beta = dataset.attrs["network"]["beta"]
    for variant, color, name in (("deep", "black", "0"), ("biased", BLUE, f"{beta:g}")):
        networks, label = select(dataset, variant=variant), rf"$\beta = {name}$"
        for depth in dataset.attrs["depths"]:
            chosen = select(networks, depth=depth)
            estimate = interval([on_diagonal(chosen)], lambda sample: log_second_moment(sample[0]))
            value, low, high = np.array(estimate) / float(chosen.inverse_widths[0])
            bars = [[value - low], [high - value]] if np.isfinite([low, high]).all() else None
            middle.errorbar(depth, value, bars, fmt="o", color=color, ms=4, label=label)
            label = "_"  # only the first one appears in the legend
    depths = np.arange(2, max(dataset.attrs["depths"]) + 1)
    width = dataset.attrs["deep"]
    exact = [second_moment(depth, width) * width / (depth - 1) for depth in depths]
    middle.plot(depths, exact, color="gray", lw=0.8, label=rf"$\beta = 0$, exact for $n = {width}$")
    middle.axhline(11 / 3, color="gray", lw=0.8, ls="--", label="11/3: $n$, then $L$, to infinity")
    middle.set(xlabel="depth $L$", ylim=(0, 4.2), title=r"$\ln(E[\Theta^2]/E[\Theta]^2) \div \sum_l 1/n_l$")
    middle.legend(fontsize=7, loc="lower left")
    sums, groups = arrangements(dataset)
    values = [variance(group) for group in groups]
    line = np.array([min(sums), max(sums)])
    right.loglog(sums, values, "o", color="black", ms=4)
    right.loglog(
        line, np.mean(np.array(values) / sums) * line, "--", color="gray", lw=0.8, label=r"$\propto \sum_l 1/n_l$"
    )
    right.set_xticks([0.01, 0.03], labels=["0.01", "0.03"])
    right.xaxis.set_minor_formatter(NullFormatter())
    right.set(xlabel=r"$\sum_l 1/n_l$", title=r"Var $\Theta$, unequal widths")
    right.legend(fontsize=7)
    return figure
