"""Figure 2 of the paper, and the law of the trained function in numbers."""

import math

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..experiments.fig2.statistics import (
    TENTH,
    conditional_kurtosis,
    excess_kurtosis,
    kurtosis_groups,
    law,
    mean_bias,
    samples,
)
from ..study.experiment import select
from . import trend
from .palette import BLUE, PURPLE, RED, TEAL

COLORS = (RED, BLUE, TEAL, PURPLE)


def figures(dataset: xr.Dataset) -> dict[str, Figure]:
    """fig2: the paper's figure; fig2_statistics: mean and spread along the circle, kurtosis against n."""
    return {"fig2": _functions(dataset), "fig2_statistics": _statistics(dataset)}


def _functions(dataset: xr.Dataset) -> Figure:
    figure = Figure(figsize=(5.6, 3.9))
    axes = figure.subplots()
    for color, width in zip(COLORS, dataset.attrs["widths"], strict=False):
        for i, curve in enumerate(dataset.curve.values[dataset.curve_width.values == width]):
            label = f"$n = {width}$" if i == 0 else None
            axes.plot(dataset.curve_angle, curve, color=color, lw=0.7, alpha=0.7, label=label)
    limit = law(dataset)
    lines = [(limit.mean, limit.sd, "-", "black", r"$n = \infty$")]
    width = dataset.attrs["estimate"]
    if width:
        chosen = np.flatnonzero(dataset.estimate_width == width)[0]
        estimate = dataset.isel(estimate=chosen)
        label = f"estimated by one network, $n = {width}$"
        lines.append((estimate.estimate_mean.values, estimate.estimate_sd.values, ":", TEAL, label))
    for mean, sd, line, color, label in lines:
        analytic = line == "-"
        median, tails = (f"{label}, $P_{{50}}$", rf"{label}, $P_{{10}}$ and $P_{{90}}$") if analytic else (label, None)
        axes.plot(dataset.angle, mean, line, color=color, lw=1.6, label=median)
        for sign in (-1, 1):
            style = "--" if analytic else line
            label = tails if sign > 0 else None
            axes.plot(dataset.angle, mean + sign * TENTH * sd, style, color=color, lw=1.1, label=label)
    axes.plot(dataset.datum, dataset.target, "o", color="black", ms=5, zorder=4, label="data")
    axes.set(xlabel=r"$\gamma$", ylabel=r"$f_\theta(\cos\gamma, \sin\gamma)$", xlim=(-math.pi, math.pi))
    axes.set_ylim(-0.55, 0.65)
    axes.set_xticks([-3, -2, -1, 0, 1, 2, 3])
    axes.legend(loc="upper left", fontsize=7)
    return figure


def _statistics(dataset: xr.Dataset) -> Figure:
    figure = Figure(figsize=(9.2, 3.1))
    left, middle, right = figure.subplots(1, 3)
    limit = law(dataset)
    for color, width in zip(COLORS, dataset.attrs["widths"], strict=False):
        f, linear, variance = np.moveaxis(samples(select(dataset, variant="main", width=width)), 1, 0)
        bias, half_width = mean_bias(dataset, width)
        left.plot(dataset.angle, bias, color=color, lw=1.1, label=f"$n = {width}$")
        left.fill_between(dataset.angle, bias - half_width, bias + half_width, color=color, alpha=0.2, lw=0)
        if len(f) > 1:
            # As in the claim on the spread. At the data both factors are 0.
            paired = f.std(axis=0, ddof=1) / np.maximum(linear.std(axis=0, ddof=1), 1e-9)
            middle.plot(
                dataset.angle, paired * np.sqrt(variance.mean(axis=0)), color=color, lw=1.1, label=f"$n = {width}$"
            )
    middle.plot(dataset.angle, limit.sd, color="black", lw=1.2, label=r"$n = \infty$")
    middle.plot(dataset.angle, law(dataset, "posterior").sd, "--", color="gray", lw=1, label="Bayesian posterior")
    left.set(title="mean − limit, with 99.9 % bands")
    middle.set(title="standard deviation", ylim=(0, 1.7 * limit.sd.max()))
    for axes in (left, middle):
        _mark_data(axes, dataset)
        axes.set(xlabel=r"$\gamma$", xlim=(-math.pi, math.pi))
    left.legend(loc="lower center", fontsize=7)
    middle.legend(loc="upper left", fontsize=7, ncols=2)

    widths, groups = kurtosis_groups(dataset)
    trend(right, widths, groups, conditional_kurtosis, -1.0, "fig2.gaussian:exponent of excess kurtosis")
    loose = law(dataset).loose
    trained = [
        excess_kurtosis(samples(select(dataset, variant="main", width=width))[:, :, loose])
        for width in dataset.attrs["widths"]
    ]
    right.plot(dataset.attrs["widths"], trained, "x", color=RED, ms=6, label="after training")
    right.set(title="excess kurtosis", xlabel="width $n$")
    right.set_xticks(widths, labels=[str(width) for width in widths])
    right.xaxis.minorticks_off()
    right.legend(loc="lower left", fontsize=7)
    return figure


def _mark_data(axes: Axes, dataset: xr.Dataset) -> None:
    for angle in dataset.datum.values:
        axes.axvline(angle, color="gray", lw=0.6, ls=":")
