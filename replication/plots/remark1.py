"""Remark 1: the two parametrizations side by side, the share of the biases, and quantities that grow with the width."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator

from ..experiments.remark1.claims import (
    DOUBLINGS,
    TRAINED_ROUNDING,
    compared,
    initial,
    share,
    single_ratio,
    usual_share,
    usual_single_ratio,
)
from ..experiments.remark1.settings import RUNS
from ..study.statistics import geometric
from . import points, power_law
from .palette import BLUE, ORANGE, RED, TEAL

LABELS = {
    "scaled": "usual, $b \\sim N(0, \\beta^2)$",
    "zero": "usual, $b = 0$",
    "unit": "usual, $b \\sim N(0, 1)$",
    "slow": "usual, rate ÷ 10",
}
COLORS = {"scaled": BLUE, "zero": TEAL, "unit": RED, "slow": "gray"}
OURS, USUAL = BLUE, ORANGE


def figures(dataset: xr.Dataset) -> dict[str, Figure]:
    """remark1: the exact map; cost and initial speed beside usual networks; the share of the biases; growth with n."""
    figure = Figure(figsize=(9.6, 6.0))
    top, bottom = figure.subplots(2, 3)
    _map(top[0], dataset)
    _costs(top[1], dataset)
    _speeds(top[2], dataset)
    _shares(bottom[0], dataset)
    widths, beta = dataset.attrs["widths"], dataset.attrs["network"]["beta"]
    groups = [initial(dataset, width, beta) for width in widths]
    limit = "remark1.limit:exponent of λ_max"
    single = "remark1.balance:exponent of the derivative in one weight"
    _growth(
        bottom[1], widths, [group.largest.values for group in groups], 0, OURS, "NTK parametrization", f"{limit} of Θ"
    )
    _growth(bottom[1], widths, [group.largest_usual.values for group in groups], 1, USUAL, "usual", f"{limit} without")
    bottom[1].set(xlabel="width $n$", title=r"$\lambda_{\max}$ of the kernel of one rate")
    _growth(bottom[2], widths, [single_ratio(group) for group in groups], -0.5, OURS, "NTK parametrization", single)
    _growth(bottom[2], widths, [usual_single_ratio(group) for group in groups], 0, USUAL, "usual", "")
    bottom[2].set(xlabel="width $n$", title="rms derivative: one weight ÷ one bias")
    for axes in bottom[1:]:
        low, high = axes.get_ylim()
        axes.set_ylim(low, high * (high / low) ** 0.45)  # room for the legend
        axes.legend(fontsize=7, loc="upper left")
    bottom[2].yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    bottom[2].yaxis.set_major_formatter(FormatStrFormatter("%g"))
    for axes in (*top, *bottom):
        axes.minorticks_off()
    return {"remark1": figure}


def _map(axes: Axes, dataset: xr.Dataset) -> None:
    cases = zip(dataset.mapped_hidden.values, dataset.mapped_sigma.values, dataset.mapped_beta.values, strict=True)
    names = [f"{hidden}\n{sigma}, $\\beta = {beta:g}$" for hidden, sigma, beta in cases]
    order = list(dict.fromkeys(names))
    rows = [order.index(name) for name in names]
    axes.semilogx(np.maximum(dataset.single.values, 1e-17), rows, "x", color=USUAL, ms=4, label="one rate $\\eta/n$")
    label = "rates $\\eta/n_l$, $\\eta\\beta^2$"
    axes.semilogx(np.maximum(dataset.exact.values, 1e-17), rows, "o", color=OURS, ms=3, label=label)
    axes.axvline(TRAINED_ROUNDING, color="gray", lw=0.8, ls=":")
    axes.set_yticks(range(len(order)), labels=order, fontsize=6)
    axes.set(ylim=(len(order) + 1, -0.6), title="largest distance of $f$ ÷ its change")
    axes.legend(fontsize=7, loc="lower left", ncols=2, columnspacing=0.8, handletextpad=0.2)


def _costs(axes: Axes, dataset: xr.Dataset) -> None:
    width = dataset.attrs["width"]
    cost = compared(dataset, width, 2).cost
    time = dataset.attrs["learning_rate"] * np.arange(dataset.sizes["step"])
    axes.semilogy(time, np.median(cost.sel(trained="ours"), axis=0), color="black", lw=1.6, label="NTK parametrization")
    for run in RUNS:
        axes.semilogy(time, np.median(cost.sel(trained=run), axis=0), color=COLORS[run], label=LABELS[run])
    axes.set(xlabel="steps", title=f"median cost, $n = {width}$")
    axes.legend(fontsize=6.5)


def _speeds(axes: Axes, dataset: xr.Dataset) -> None:
    width, inputs = dataset.attrs["width"], dataset.attrs["inputs"]
    for run in ("scaled", "zero", "unit"):
        groups = [compared(dataset, width, n_0).doublings.sel(run=run).values for n_0 in inputs]
        means, spreads = [group.mean() for group in groups], [group.std() for group in groups]
        bars = [2 ** np.subtract(means, spreads), 2 ** np.add(means, spreads)]
        middle = 2 ** np.array(means)
        errors = np.abs(np.array(bars) - middle)
        shift = {"scaled": 0.92, "zero": 1.0, "unit": 1.08}[run]
        axes.errorbar(
            shift * np.array(inputs), middle, errors, fmt="o", color=COLORS[run], ms=4, lw=0.9, label=LABELS[run]
        )
    axes.axhspan(2**-DOUBLINGS, 2**DOUBLINGS, color="gray", alpha=0.15, lw=0)
    axes.axhline(1, color="gray", lw=0.8, ls="--")
    axes.set(xscale="log", yscale="log", xlabel="dimension $n_0$ of the inputs")
    axes.set(title=f"initial speed, usual ÷ NTK, $n = {width}$ ($\\pm$ sd)")
    axes.set_xticks(inputs, labels=[str(n_0) for n_0 in inputs])
    axes.set_ylim(0.3, 2000)
    axes.legend(fontsize=7, loc="upper left")


def _shares(axes: Axes, dataset: xr.Dataset) -> None:
    betas, widths = dataset.attrs["betas"], dataset.attrs["widths"]
    shades = np.linspace(0.3, 1.0, len(widths))
    for width, alpha in zip(widths, shades, strict=True):
        label = {"label": f"NTK, $n = {width}$"} if width in (widths[0], widths[-1]) else {}
        means = [share(initial(dataset, width, beta)).mean() for beta in betas]
        axes.loglog(betas, means, "o", color=OURS, alpha=alpha, ms=4, **label)
        label = {"label": f"usual, $n = {width}$"} if width in (widths[0], widths[-1]) else {}
        means = [usual_share(initial(dataset, width, beta)).mean() for beta in betas]
        axes.loglog(betas, means, "x", color=USUAL, alpha=alpha, ms=5, **label)
    axes.loglog(betas, dataset.share_inf, "--", color="gray", lw=0.8, label="limit")
    axes.set(xlabel=r"$\beta$", title=r"share of the biases in $\Theta(x, x)$")
    low, _ = axes.get_ylim()
    axes.set_ylim(low, 30)
    axes.legend(fontsize=7, ncols=2, loc="upper left", columnspacing=0.8)


def _growth(
    axes: Axes, widths: list[int], groups: list[np.ndarray], theory: float, color: str, label: str, claimed: str
) -> None:
    label = f"{label}: {power_law(widths, groups, geometric, claimed)}"
    values = points(axes, widths, groups, geometric, color=color, label=label)
    line = values[-1] * (np.asarray(widths) / widths[-1]) ** theory
    axes.loglog(widths, line, "--", color=color, lw=0.8, label=f"$n^{{{theory:g}}}$")
    axes.set_xticks(widths, labels=[str(width) for width in widths])
