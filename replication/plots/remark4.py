"""Remark 4: the movement of activations against the width, and each layer's share of the learning."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ..experiments.theorem2.claims import by_width, layers
from ..study.experiment import select
from ..study.statistics import geometric
from . import points, power_law
from .palette import MANY

COLORS = MANY


def figures(dataset: xr.Dataset) -> dict[str, Figure]:
    """remark4: rms change of an activation against n, layer by layer, and the shares of the layers in dᵀΘd."""
    figure = Figure(figsize=(8.6, 3.3))
    left, right = figure.subplots(1, 2)
    widths, sigma = dataset.attrs["widths"], dataset.attrs["nonlinearities"][0]
    groups = by_width(dataset, "least_squares", sigma)
    claimed = "remark4.activations:exponent of movement of"
    for color, l in zip(COLORS, layers(dataset), strict=False):
        moves = [group.moved.values[:, l] for group in groups]
        fitted = power_law(widths, moves, geometric, f"{claimed} α⁽{l + 1}⁾ ({sigma})")
        label = f"$\\alpha^{{({l + 1})}}$: {fitted}"
        values = points(left, widths, moves, geometric, color=color, label=label)
    line = values[0] * (np.asarray(widths) / widths[0]) ** -0.5
    left.loglog(widths, line, "--", color="gray", lw=0.8, label="$n^{-0.5}$")
    sizes = dataset.attrs["mean_field"]
    moved = [geometric(select(dataset, direction="mean_field", width=n).moved.values[:, -1]) for n in sizes]
    left.loglog(sizes, moved, "x", color="black", ms=5, label="mean-field scaling, last layer")
    left.set(xlabel="width $n$", title=f"rms change of an activation, $\\sigma$ = {sigma}")
    left.legend(fontsize=7)
    for color, l in zip(COLORS, range(dataset.sizes["parameters"]), strict=False):
        means = [float(group.share.values[:, l].mean()) for group in groups]
        spreads = [float(group.share.values[:, l].std()) for group in groups]
        right.errorbar(widths, means, spreads, fmt="o", color=color, ms=4, lw=0.9, label=f"$W^{{({l})}}, b^{{({l})}}$")
        right.axhline(float(groups[-1].share_limit.values[:, l].mean()), color=color, lw=0.8, ls="--")
    right.set(
        xscale="log", xlabel="width $n$", ylim=(0, 0.8), title="share of the learning, with $\\pm$ sd (dashed: limit)"
    )
    right.legend(fontsize=7, ncols=2, loc="upper right")
    return {"remark4": figure}
