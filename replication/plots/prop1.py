"""Proposition 1: covariance and kurtosis of the outputs against the width, and the dependence of two of them."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from scipy.special import gammaincinv

from ..experiments.prop1.claims import distance, kurtosis, products, relative
from ..study.experiment import select
from ..study.statistics import rms
from . import points, power_law
from .palette import BLUE, PURPLE, RED, TEAL

COLORS = (BLUE, RED, TEAL, PURPLE)


def figures(dataset: xr.Dataset) -> dict[str, Figure]:
    """prop1: ‖q − Σ‖ and the excess kurtosis against n; the law of fᵀΣ⁻¹f; two outputs of narrow networks."""
    figure = Figure(figsize=(11.5, 3.4))
    left, middle, joint, right = figure.subplots(1, 4, width_ratios=(1.2, 1.2, 0.9, 0.9))
    inputs = int(dataset.diagonal.sum())
    widths = dataset.attrs["widths"]
    for color, depth in zip(COLORS, dataset.depth.values, strict=False):
        for axes, groups, measure, theory, claimed in (
            (left, [distance(dataset, depth, width) for width in widths], rms, -0.5, "covariance:exponent of ‖q − Σ‖"),
            (
                middle,
                [relative(dataset, "main", depth, width) for width in widths],
                kurtosis,
                -1.0,
                "gaussian:exponent of excess kurtosis",
            ),
        ):
            label = f"$L = {depth}$: {power_law(widths, groups, measure, f'prop1.{claimed} (L={depth})')}"
            values = points(axes, widths, groups, measure, color=color, label=label)
            line = values[0] * (np.asarray(widths) / widths[0]) ** theory
            axes.loglog(widths, line, "--", color="gray", lw=0.8)
        sizes = np.sort(products(dataset, depth)[:, :2].ravel())
        expected = 2 * gammaincinv(inputs / 2, (np.arange(len(sizes)) + 0.5) / max(len(sizes), 1)) / inputs
        joint.plot(expected, sizes, ".", color=color, ms=2, label=f"$L = {depth}$")
        shared = [kurtosis(relative(dataset, "shared", depth, width)) for width in dataset.attrs["shared"]]
        middle.loglog(dataset.attrs["shared"], shared, "x", color=color, ms=5)
    left.loglog([], [], "--", color="gray", lw=0.8, label="$n^{-1/2}$")
    middle.loglog([], [], "--", color="gray", lw=0.8, label="$n^{-1}$")
    middle.loglog([], [], "x", color="black", ms=5, label="one shared weight")
    left.set(xlabel="width $n$", title=r"covariance: $\|q - \Sigma\| \div \|\Sigma\|$")
    middle.set(xlabel="width $n$", title="excess kurtosis of an output")
    joint.axline((0, 0), slope=1, color="gray", lw=0.8, ls="--")
    joint.set(xlabel=r"quantiles of $\chi^2_N / N$", title=r"$f^T \Sigma^{-1} f / N$, wide networks")
    joint.legend(fontsize=7, loc="upper left")
    for axes in (left, middle):
        axes.legend(fontsize=7, loc="lower left")
    width, depth = dataset.attrs["outputs"][0], int(dataset.depth.values[-1])
    f = select(dataset, variant="outputs", L=depth, width=width).f.values[:2500, :, 0]
    right.plot(f[:, 0], f[:, 1], ".", color=BLUE, ms=2, alpha=0.4)
    reach = 1.05 * float(np.abs(f).max())
    right.set(xlabel="$f_1(x)$", ylabel="$f_2(x)$", xlim=(-reach, reach), ylim=(-reach, reach))
    right.set_title(f"two outputs, $n = {width}$, $L = {depth}$")
    right.set_aspect("equal")
    return {"prop1": figure}
