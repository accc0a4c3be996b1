"""Theorem 2: the change of the NTK during training, against the width and against time."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..experiments.theorem2 import EXPERIMENT
from ..experiments.theorem2.claims import by_width, imbalance, largest_change, relu_switches, runs, total
from ..study.experiment import select
from ..study.statistics import geometric
from . import points, power_law, remark4
from .palette import BLUE, CYAN, ORANGE, PURPLE, RED, TEAL

COLORS = (BLUE, TEAL, PURPLE, RED, ORANGE, CYAN)
NAMES = {"least_squares": "least squares", "cross_entropy": "cross-entropy", "adversarial": "from a discriminator"}


def figures(dataset: xr.Dataset) -> dict[str, Figure]:
    """The figures of the dataset's claims, or all figures if it names none.

    theorem2: the change of Θ; theorem2_switches: the neurons that switch on and off, for ReLU; remark4.
    """
    drawn: dict[str, Figure] = {}
    for name in dict.fromkeys(claim.figure for claim in EXPERIMENT.claims_of(dataset.attrs.get("claims"))):
        if name == "remark4":
            drawn |= remark4.figures(dataset)
        elif name == "theorem2":
            drawn[name] = _changes(dataset)
        elif relu_switches(dataset):
            drawn[name] = _switches(dataset)
    return drawn


def _changes(dataset: xr.Dataset) -> Figure:
    """sup_t ‖Θ(t) − Θ(0)‖/‖Θ(0)‖ against n by nonlinearity and by direction; and against t, with ‖Θ(t) − Θ_∞‖/‖Θ_∞‖."""
    figure = Figure(figsize=(9.6, 3.5))
    left, middle, right = figure.subplots(1, 3)
    everything = runs(dataset)
    first = dataset.attrs["nonlinearities"][0]
    _against_width(left, dataset, [run for run in everything if run[0] == "least_squares"], 1)
    _against_width(middle, dataset, [run for run in everything if run[1] == first], 0)
    left.set_title("least squares")
    middle.set_title(f"$\\sigma$ = {first}")
    left.set_ylabel(r"$\sup_t \|\Theta(t) - \Theta(0)\| \div \|\Theta(0)\|$")
    for axes in (left, middle):
        low, high = axes.get_ylim()
        axes.set_ylim(low / 30, high)
        axes.legend(fontsize=7, loc="lower left")
    last = dataset.attrs["widths"][-1]
    for shade, width in zip(np.linspace(0.2, 0.8, len(dataset.attrs["widths"])), dataset.attrs["widths"], strict=True):
        networks = select(dataset, direction="least_squares", nonlinearity=first, width=width)
        t = dataset.time.values * dataset.attrs["setting"]["t"]
        values = np.exp(np.log(np.maximum(networks.change.values[:, 1:], 1e-300)).mean(axis=0))
        right.semilogy(t[1:], values, "o-", color=str(1 - shade), ms=3, lw=0.9, label=f"$n = {width}$")
        distance = np.exp(np.log(networks.distance.values).mean(axis=0))
        right.semilogy(
            t, distance, ":", color=str(1 - shade), lw=0.9, label=r"to $\Theta_\infty$" if width == last else "_"
        )
    right.set(xlabel="$t$", title=f"$\\sigma$ = {first}, least squares")
    low, high = right.get_ylim()
    right.set_ylim(low / 30, high)
    right.legend(fontsize=7, ncols=2, loc="lower center")
    return figure


def _switches(dataset: xr.Dataset) -> Figure:
    figure = Figure(figsize=(6.8, 3.1))
    left, right = figure.subplots(1, 2)
    widths, groups = dataset.attrs["widths"], relu_switches(dataset)
    for i, (name, color) in enumerate((("on", BLUE), ("off", RED))):
        counts = [group[:, i : i + 1] for group in groups]
        label = f"{name}: {power_law(widths, counts, total)}"
        values = points(left, widths, counts, total, color=color, label=label)
    line = values[-1] * (np.asarray(widths) / widths[-1]) ** -0.5
    left.loglog(widths, line, "--", color="gray", lw=0.8, label="$n^{-0.5}$")
    left.set(xlabel="width $n$", title="part of the neurons that switch")
    left.legend(fontsize=7)
    for width, group in zip(widths, groups, strict=True):
        right.semilogx([width] * len(group), imbalance(group), "_", color=BLUE, ms=8, alpha=0.5)
    right.semilogx(widths, [imbalance(group).mean() for group in groups], "o", color="black", ms=4, label="mean")
    right.axhline(0, color="gray", lw=0.8, ls="--", label="as many on as off")
    right.set(xlabel="width $n$", title="(off − on) ÷ (off + on)")
    right.legend(fontsize=7)
    return figure


def _against_width(axes: Axes, dataset: xr.Dataset, chosen: list[tuple[str, str]], label: int) -> None:
    widths = dataset.attrs["widths"]
    for color, run in zip(COLORS, chosen, strict=False):
        changes = [largest_change(networks) for networks in by_width(dataset, *run)]
        claim = "relu" if run[1] == "relu" else "constant" if run[0] == "least_squares" else "directions"
        claimed = f"theorem2.{claim}:exponent of change of Θ ({run[1]}, {run[0].replace('_', ' ')})"
        name = f"{NAMES.get(run[label], run[label])}: {power_law(widths, changes, geometric, claimed)}"
        values = points(axes, widths, changes, geometric, color=color, label=name)
        if run == chosen[0]:
            for theory, style in ((-1.0, "--"), (-0.5, ":")):
                line = values[0] * (np.asarray(widths) / widths[0]) ** theory
                axes.loglog(widths, line, style, color="gray", lw=0.8, label=f"$n^{{{theory:g}}}$")
    sizes = dataset.attrs["mean_field"]
    moved = [geometric(largest_change(select(dataset, direction="mean_field", width=width))) for width in sizes]
    axes.loglog(sizes, moved, "x", color="black", ms=5, label="mean-field scaling")
    axes.set_xlabel("width $n$")
