"""Remark 4 (paper §4.2): each activation moves less in a wider network, and the lower layers learn all the same.

The networks are those of Theorem 2's experiment, with the directions that its preset has: how far the activations of
each hidden layer move, and how much of ∂_tf is due to the parameters of each layer, against the terms of the recursion
for Θ_∞.
"""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import xarray as xr

from ..study.claims import Claim, Control
from ..study.statistics import Statistic, geometric, mean, rate
from . import theorem2
from .theorem2 import Cell, Config, assemble, cells, compute, select, work

__all__ = ["CLAIMS", "NAME", "VERSION", "Cell", "Config", "assemble", "cells", "compute", "metrics", "work"]

NAME = "remark4"
VERSION = theorem2.VERSION
SHARE = 0.05
"""Largest deviation of a layer's share of the learning from that in the limit."""


def metrics(dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
    """How far the last hidden layer's activations move, and the lower layers' share of the learning, against n."""
    for width in dataset.attrs["widths"]:
        for sigma in dataset.attrs["nonlinearities"]:
            networks = select(dataset, "least_squares", sigma, width)
            yield (
                float(width),
                {
                    f"moved/{sigma}": geometric(networks.moved.values[:, -1]),
                    f"lower_share/{sigma}": float(1 - networks.share.values[:, -1].mean()),
                },
            )


def layers(dataset: xr.Dataset) -> range:
    """The hidden layers, from 0."""
    return range(dataset.sizes["layer"])


def _check_activations(dataset: xr.Dataset) -> list[Statistic]:
    widths = dataset.attrs["widths"]
    found = []
    for sigma in dataset.attrs["nonlinearities"]:
        for l in layers(dataset):
            groups = [select(dataset, "least_squares", sigma, width).moved.values[:, l] for width in widths]
            found.append(rate(f"movement of α⁽{l + 1}⁾ ({sigma})", geometric, widths, groups, (-0.65, -0.35)))
    return found


def _check_learning(dataset: xr.Dataset) -> list[Statistic]:
    """The deviation of every layer's share at the largest width, and that the function is learned at all."""
    width = dataset.attrs["widths"][-1]
    found = []
    for sigma in dataset.attrs["nonlinearities"]:
        networks = select(dataset, "least_squares", sigma, width)
        gap = (networks.share - networks.share_limit).values
        for l in range(dataset.sizes["parameters"]):
            name = f"share of W⁽{l}⁾, b⁽{l}⁾ less the limit's ({sigma}, n={width})"
            found.append(mean(name, gap[:, l], (-SHARE, SHARE)))
        found.append(mean(f"rms change of f ({sigma}, n={width})", networks.learned.values, (0.1, math.inf)))
    return found


def _last_layer(dataset: xr.Dataset) -> xr.Dataset:
    """As if the last layer alone were trained."""
    share = np.zeros_like(dataset.share.values)
    share[:, -1] = 1
    return dataset.assign(share=(dataset.share.dims, share))


CLAIMS = (
    Claim(
        id="remark4.activations",
        place="Remark 4",
        statement="The wider a hidden layer, the less each of its activations moves during training.",
        paper="of order n^{−1/2} (Appendix A.2)",
        criterion="the exponent in n of the rms change of an activation (geometric mean over networks) lies in "
        "[−0.65, −0.35], for every hidden layer and σ",
        figure="remark4",
        check=_check_activations,
        controls=(Control("mean-field scaling", theorem2._mean_field),),
    ),
    Claim(
        id="remark4.learning",
        place="Remark 4",
        statement="Together they move enough: what each layer contributes to ∂_tf tends to its term of the recursion.",
        paper="Σ is the last layer's learning, Θ_∞ Σ̇ that of the lower layers",
        criterion=f"at the largest width every layer's mean share of dᵀΘd at t = 0 is within {SHARE} of that in the "
        "limit, and f changes by more than 0.1 (rms) in training",
        figure="remark4",
        check=_check_learning,
        controls=(Control("only the last layer trained: Σ alone", _last_layer),),
    ),
)
