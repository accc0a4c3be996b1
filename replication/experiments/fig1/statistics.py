"""The statistics of Figure 1, for its claims and figures."""

import math

import numpy as np
import xarray as xr

from ...study.experiment import select
from ...study.measures import MeanOf, Measure, SizeOfMean, VarianceOf


def initial_kernels(dataset: xr.Dataset, width: int) -> np.ndarray:
    """Θ at t = 0 along the circle, from each of the turned points x(φ): (seeds, turns, angles).

    They belong to the ensemble that is measured at t = 0 only, if it has this width, otherwise to the trained networks.
    """
    networks = select(dataset, variant="initial", width=width)
    if networks.sizes["network"] == 0:
        networks = select(dataset, variant="main", width=width)
    kernels: np.ndarray = networks.theta_rotated.values.astype(float)
    return kernels


spread = VarianceOf(math.sqrt)
"""sd over seeds, rms over γ and turns; NaN for a single seed."""

common = SizeOfMean()
"""The size of the mean over seeds, rms over γ."""


def roughness(limit: np.ndarray, angles: np.ndarray) -> Measure:
    """rms over seeds, turns and γ of ∂_γ(Θ − Θ_∞), from differences between neighbouring angles."""

    def squares(kernels: np.ndarray) -> np.ndarray:
        slopes = np.diff(kernels - limit, axis=-1) / np.diff(angles)
        mean: np.ndarray = np.square(slopes).mean(axis=(1, 2))
        return mean

    return MeanOf(squares, math.sqrt)


def change(dataset: xr.Dataset, width: int, variant: str = "main") -> np.ndarray:
    """sup_γ|Θ_t − Θ_0| / sup_γ|Θ_0| for each network, (seeds,)."""
    theta = select(dataset, variant=variant, width=width).theta.values.astype(float)
    before, after = theta[:, 0], theta[:, -1]
    relative: np.ndarray = np.abs(after - before).max(axis=1) / np.abs(before).max(axis=1)
    return relative


def changes(dataset: xr.Dataset, width: int) -> np.ndarray:
    """Θ_t − Θ_0 along the circle for each network, (seeds, angles)."""
    theta = select(dataset, variant="main", width=width).theta.values.astype(float)
    difference: np.ndarray = theta[:, -1] - theta[:, 0]
    return difference
