"""The drift of the NTK (beyond Theorem 2): predicted and measured, against the width, along the circle, on average."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..experiments.drift import EXPERIMENT
from ..experiments.drift.bias_claim import biases, constants, extrapolated
from ..experiments.drift.claims import (
    PARTIAL,
    diagonals,
    inflations,
    kinked,
    remains,
)
from ..study.experiment import select
from ..study.statistics import geometric
from . import points, power_law
from .palette import BLUE, CYAN, ORANGE, PURPLE, RED, TEAL

COLORS = {"erf": BLUE, "tanh": TEAL, "softplus": PURPLE, "relu": RED}
MARKS = dict(zip(PARTIAL, ("x", "+", "1"), strict=True))
TERMS = {
    "flow": (r"$\Theta_t - \Theta_0$", "black"),
    "second": ("predicted", ORANGE),
    "linear": ("of it, from $K_3$ ($A$)", BLUE),
    "quartic": ("of it, from $K_4$ ($B_1 + B_2$)", RED),
}


def figures(dataset: xr.Dataset) -> dict[str, Figure]:
    """The figures of the dataset's claims for which there are networks.

    drift: the drift, and the part not predicted, against n; drift_circle: one network; drift_mean: mean over networks;
    drift_relu: σ with kinks, and Figure 1's inflation; initial_bias: the mean at t = 0.
    """
    wanted = {claim.figure for claim in EXPERIMENT.claims_of(dataset.attrs.get("claims"))}
    drawn = {}
    if "drift" in wanted:
        drawn["drift"] = _widths(dataset)
        if "change" in dataset:
            drawn["drift_circle"] = _circle(dataset)
    if "drift_mean" in wanted and dataset.attrs["pairs"]:
        drawn["drift_mean"] = _mean(dataset)
    if "drift_relu" in wanted and dataset.attrs["kinked"] and dataset.attrs["figure1"]:
        drawn["drift_relu"] = _relu(dataset)
    if "initial_bias" in wanted and dataset.attrs["bias"]:
        drawn["initial_bias"] = _bias(dataset)
    return drawn


def _widths(dataset: xr.Dataset) -> Figure:
    figure = Figure(figsize=(8.6, 3.9))
    left, right = figure.subplots(1, 2)
    widths, sigmas = dataset.attrs["widths"], dataset.attrs["nonlinearities"]
    first = sigmas[0]
    drifts = [select(dataset, nonlinearity=first, width=width).drift.values for width in widths]
    sizes = {name: [r * d for r, d in zip(remains(dataset, first, name), drifts, strict=True)] for name in PARTIAL}
    rest = [r * d for r, d in zip(remains(dataset, first), drifts, strict=True)]
    top = points(left, widths, drifts, geometric, color="black", label=f"drift: {power_law(widths, drifts, geometric)}")
    for name, words in PARTIAL.items():
        label = f"error of the prediction {words}"
        points(left, widths, sizes[name], geometric, color="gray", label=label, style=MARKS[name])
    label = f"error of the prediction: {power_law(widths, rest, geometric)}"
    bottom = points(left, widths, rest, geometric, color=COLORS.get(first, BLUE), label=label)
    _slope(left, widths, top[0], -1)
    _slope(left, widths, bottom[0], -2)
    left.set(xlabel="width $n$", title=f"$\\sigma$ = {first}")
    left.set_ylabel(r"size (Frobenius norm) $\div \|\Theta_0\|_F$")
    for sigma in sigmas:
        groups = remains(dataset, sigma)
        label = f"{sigma}: {power_law(widths, groups, geometric, f'drift.order:exponent of left ÷ drift ({sigma})')}"
        values = points(right, widths, groups, geometric, color=COLORS.get(sigma, CYAN), label=label)
        for width, group in zip(widths, groups, strict=True):
            right.loglog([width] * len(group), group, "_", color=COLORS.get(sigma, CYAN), ms=5, alpha=0.25)
    _slope(right, widths, values[0], -1)
    right.set(xlabel="width $n$", ylabel=r"error of the prediction $\div$ drift", title="relative to the drift")
    for axes in (left, right):
        low, high = axes.get_ylim()
        axes.set_ylim(low / (100 if axes is left else 10), high)
        axes.legend(fontsize=7, loc="lower left")
    return figure


def _slope(axes: Axes, widths: list[int], start: float, power: int) -> None:
    line = start * (np.asarray(widths) / widths[0]) ** power
    axes.loglog(widths, line, "--" if power == -1 else ":", color="gray", lw=0.8, label=f"$n^{{{power}}}$")


def _circle(dataset: xr.Dataset) -> Figure:
    figure = Figure(figsize=(5.4, 3.3))
    axes = figure.subplots()
    curve = dataset.change.isel(curve=0)
    parts = {"linear": curve.sel(term="linear"), "quartic": curve.sel(term="quadratic") + curve.sel(term="bent")}
    for name, values in parts.items():
        label, color = TERMS[name]
        axes.plot(dataset.angle, values, color=color, lw=0.8, alpha=0.7, label=label)
    axes.plot(dataset.angle, curve.sel(term="second"), color=ORANGE, lw=3.5, alpha=0.6, label="predicted")
    axes.plot(dataset.angle, curve.sel(term="flow"), color="black", lw=1.0, label="after training")
    width = int(dataset.curve_width.values[0])
    axes.set(xlabel=r"$\gamma$", ylabel=r"$\Theta_t(x_0, x(\gamma)) - \Theta_0(x_0, x(\gamma))$")
    axes.set_title(f"one network, $\\sigma$ = {dataset.attrs['nonlinearities'][0]}, $n = {width}$")
    axes.set_xlim(float(dataset.angle[0]), float(dataset.angle[-1]))
    axes.legend(fontsize=7)
    return figure


def _mean(dataset: xr.Dataset) -> Figure:
    figure = Figure(figsize=(6.4, 3.2))
    axes = figure.subplots()
    widths, sigmas = dataset.attrs["pairs"], dataset.attrs["nonlinearities"]
    for i, sigma in enumerate(sigmas):
        for k, width in enumerate(widths):
            terms = diagonals(dataset, sigma, width)
            values = {name: terms.sel(term=name).values for name in ("flow", "second", "linear")}
            values["quartic"] = (terms.sel(term="quadratic") + terms.sel(term="bent")).values
            for j, (name, (label, color)) in enumerate(TERMS.items()):
                x = i + 0.18 * (j - 1.5) + 0.04 * (k - (len(widths) - 1) / 2)
                error = values[name].std() / np.sqrt(len(values[name]))
                shown = label if i == k == 0 else None
                axes.errorbar(x, values[name].mean(), 2 * error, fmt="o", color=color, ms=3, lw=0.8, label=shown)
    axes.axhline(0, color="gray", lw=0.8)
    axes.set_xticks(range(len(sigmas)), labels=sigmas)
    axes.set(ylabel=r"$n$ × mean change of $\Theta(x, x)$")
    axes.set_title(f"$n = {', '.join(map(str, widths))}$ (left to right), ± 2 standard errors")
    axes.legend(fontsize=7)
    return figure


def _relu(dataset: xr.Dataset) -> Figure:
    figure = Figure(figsize=(8.6, 3.3))
    left, right = figure.subplots(1, 2)
    widths = dataset.attrs["kinked"]
    claimed = "drift.relu:exponent of left ÷ drift almost everywhere"
    for formula, words, color in (
        ("almost_everywhere", "ReLU, derivatives almost everywhere", RED),
        ("second", "ReLU, second Picard iterate", ORANGE),
    ):
        groups = kinked(dataset, formula)
        found = power_law(widths, groups, geometric, claimed if formula == "almost_everywhere" else "")
        label = f"{words}: {found}"
        points(left, widths, groups, geometric, color=color, label=label, style="o-")
    switched = [select(dataset, "kinked", kinked_width=width).switched.values for width in widths]
    label = f"part of the neurons that switch: {power_law(widths, switched, geometric)}"
    points(left, widths, switched, geometric, color="gray", label=label, style="s--")
    first = dataset.attrs["nonlinearities"][0]
    smooth = [(n, geometric(r)) for n, r in zip(dataset.attrs["widths"], remains(dataset, first), strict=True)]
    smooth = [(n, value) for n, value in smooth if n <= widths[-1]]
    left.loglog(*zip(*smooth, strict=True), "o-", color=COLORS.get(first, BLUE), ms=4, lw=0.8, label=first)
    left.set(xlabel="width $n$", ylabel=r"error of the prediction $\div$ drift")
    low, high = left.get_ylim()
    left.set_ylim(low / 15, high)
    left.legend(fontsize=7, loc="lower left")
    shades = np.linspace(0.15, 0.75, len(dataset.attrs["figure1"]))
    for shade, width in zip(shades, dataset.attrs["figure1"], strict=True):
        trained, second, first_iterate = (
            1 + inflations(dataset, width, origin) for origin in ("trained", "second", "first")
        )
        right.plot(trained, second, "o", color=str(shade), ms=3.5, label=f"$n = {width}$")
        right.plot(trained, first_iterate, "x", color=RED, ms=3.5, alpha=0.5)
    right.plot([], [], "x", color=RED, ms=3.5, label=r"along $\theta_1$ alone")
    low, high = right.get_xlim()
    right.plot([low, high], [low, high], "--", color="gray", lw=0.8)
    right.set(xlabel=r"inflation $\Theta_t \div \Theta_0$ in training", ylabel="predicted", title="Figure 1's networks")
    right.legend(fontsize=7)
    return figure


def _bias(dataset: xr.Dataset) -> Figure:
    figure = Figure(figsize=(4.4, 3.6))
    axes = figure.subplots()
    for sigma in dataset.attrs["bias_nonlinearities"]:
        groups = biases(dataset, sigma)
        n, m = dataset.attrs["bias"]
        measured = extrapolated(groups, dataset.attrs["bias"])
        narrow, wide = (group.std(axis=0, ddof=1) / np.sqrt(len(group)) for group in groups)
        error = np.hypot(m * wide, n * narrow) / (m - n)
        color = COLORS.get(sigma, CYAN)
        axes.errorbar(constants(dataset, sigma), measured, 2 * error, fmt="o", color=color, ms=3, lw=0.8, label=sigma)
    low, high = axes.get_xlim()
    axes.plot([low, high], [low, high], "--", color="gray", lw=0.8, zorder=0)
    axes.set(xlabel="$c$, derived", ylabel=r"$n\,(E[\Theta_n] - \Theta_\infty)$, $n \to \infty$")
    axes.legend(fontsize=7)
    return figure
