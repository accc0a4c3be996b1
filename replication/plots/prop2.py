"""Proposition 2: the smallest eigenvalue of Θ_∞ against the depth, and cases in which it is 0."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ..experiments.prop2 import POLYNOMIAL, bound, general
from .palette import BLUE, MANY

COLORS = MANY


def figures(dataset: xr.Dataset) -> dict[str, Figure]:
    """prop2: λ_min against L, the rank for polynomial σ against L, λ_min on antipodal pairs without biases."""
    figure = Figure(figsize=(9.6, 3.3))
    left, middle, right = figure.subplots(1, 3)
    depths, tiny = dataset.depth.values, bound(dataset)
    smallest = dataset.smallest.sel(place="sphere").min("configuration")
    for color, name in zip(COLORS, general(dataset), strict=False):
        values = np.maximum(smallest.sel(sigma=name).values, tiny / 30)
        left.semilogy(depths, values, "o-", color=color, ms=4, lw=0.8, label=name)
    for name in POLYNOMIAL:
        values = np.maximum(smallest.sel(sigma=name).values, tiny / 30)
        left.semilogy(depths, values, "x", color="gray", ms=5)
    left.semilogy([], [], "x", color="gray", ms=5, label="polynomial")
    left.axhline(tiny, color="black", lw=0.8, ls="--", label="rounding")
    left.set(xlabel="depth $L$", title=r"smallest $\lambda_{\min} / \lambda_{\max}$ of $\Theta_\infty$ on the sphere")
    low, high = left.get_ylim()
    left.set_ylim(low, high * (high / low) ** 0.45)
    left.legend(fontsize=7, ncols=2, loc="upper right")
    for color, name in zip(COLORS, POLYNOMIAL, strict=False):
        middle.plot(
            depths, dataset.predicted.sel(polynomial=name), "-", color=color, lw=0.9, label=f"{name}, predicted"
        )
        middle.plot(depths, dataset["rank"].sel(sigma=name).max("configuration"), "o", color=color, ms=4, label=name)
    ranks = dataset.attrs["ranks"]
    middle.set(xlabel="depth $L$", title=f"rank, $N = {ranks['points']}$, $n_0 = {ranks['n_0']}$")
    middle.legend(fontsize=7)
    pairs = dataset.pairs.values
    for values in dataset.antipodal.values:
        right.semilogy(pairs, np.maximum(np.abs(values), 1e-18), "_", color=BLUE, ms=8, alpha=0.5)
    right.axhline(tiny, color="black", lw=0.8, ls="--", label="rounding")
    right.axvline(dataset.attrs["n_0"] + 0.5, color="gray", lw=0.8, ls=":", label="$m > n_0$ predicted singular")
    right.set(xlabel="antipodal pairs $m$", title=r"ReLU, $\beta = 0$, $L = 2$: $|\lambda_{\min}| / \lambda_{\max}$")
    right.set_xticks(pairs)
    right.legend(fontsize=7, loc="center left")
    for axes in (left, middle):
        axes.set_xticks(depths)
    return {"prop2": figure}
